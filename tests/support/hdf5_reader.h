// Reads golden files: numeric data sets and attributes of an HDF5 file, as doubles.
#pragma once

#include <string>
#include <vector>

#include "core/io/hdf5.h"
#include "kernels/shape.h"

namespace gentrain::test {

struct Hdf5Array {
  Shape shape;
  std::vector<double> values;
};

class Hdf5Reader {
 public:
  /// Throws IoError naming the file if it cannot be opened.
  explicit Hdf5Reader(std::string path);

  /// A data set of any numeric type. Throws IoError naming file and data set if there is none.
  [[nodiscard]] Hdf5Array read(const std::string& data_set) const;
  /// A numeric scalar attribute of a data set. Throws IoError if there is none.
  [[nodiscard]] double attribute(const std::string& data_set, const std::string& name) const;

 private:
  std::string path_;
  io::Hdf5Handle file_;
};

}  // namespace gentrain::test
