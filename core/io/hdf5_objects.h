// Reading HDF5 files of other programs: objects by path, without following links to elsewhere;
// texts in attributes; arrays of numbers, whose size is held against the file's before memory is
// taken. Everything is called under Hdf5Lock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/io/hdf5.h"
#include "kernels/shape.h"

namespace gentrain::io {

/// The group or array of this path, names joined by '/', below an open group; "" is the group
/// itself. Throws IoError("WHERE: reason"): there is none, a name is empty or ".", or one of them
/// is a soft or external link.
Hdf5Handle open_hdf5_object(const Hdf5Handle& group, const std::string& path,
                            const std::string& where);

/// Whether an object is a group.
bool is_hdf5_group(const Hdf5Handle& object);

/// The texts of an attribute, of fixed or of variable length; nothing if there is no such
/// attribute. An array without elements has no texts, whatever its type. Throws IoError("WHERE:
/// attribute NAME: reason"): its elements are no texts or too many.
std::optional<std::vector<std::string>> read_hdf5_texts(const Hdf5Handle& object,
                                                        const std::string& name,
                                                        const std::string& where);

/// An array of numbers in an open file.
class Hdf5Array {
 public:
  /// `where` begins all messages; `file_bytes` is the file's size. Throws IoError if the object is
  /// no array, has more extents than Shape::kMaxRank or a product of them above
  /// Shape::kMaxElements.
  Hdf5Array(Hdf5Handle object, std::string where, std::uint64_t file_bytes);

  [[nodiscard]] const Shape& shape() const { return shape_; }
  /// The elements as f32, row-major. f16 is exact; f64 is rounded, to infinity beyond f32's range.
  /// Throws IoError: the elements are no floating-point numbers, lie in another file, were never
  /// written, are more than the file can hold, are packed by other filters than deflate, shuffle
  /// and fletcher32, or cannot be read.
  [[nodiscard]] std::vector<float> read() const;

 private:
  void check_storage() const;
  void check_chunks(std::int64_t properties, std::uint64_t bytes) const;

  std::string where_;
  std::uint64_t file_bytes_;
  Hdf5Handle object_;
  Hdf5Handle space_;
  Hdf5Handle type_;
  Shape shape_;
};

}  // namespace gentrain::io
