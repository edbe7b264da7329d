// HDF5 files whose arrays grow row by row, for results that need not fit into memory; and arrays of
// any HDF5 file, read row by row.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/shape.h"

namespace gentrain::io {

/// Writes an HDF5 file that appears whole or not at all: under its name at commit(). The same calls
/// give the same bytes. Not thread-safe; everything throws IoError naming the file, and the array.
class RowFileWriter {
 public:
  /// Nothing may be read or written under `path` meanwhile; what is there stays until commit().
  explicit RowFileWriter(const std::filesystem::path& path);
  ~RowFileWriter();
  RowFileWriter(const RowFileWriter&) = delete;
  RowFileWriter& operator=(const RowFileWriter&) = delete;

  /// New arrays without rows, and their numbers for append(); slashes in a name make groups.
  /// [n, row...] of f32
  int add_floats(const std::string& name, const Shape& row);
  /// [n] of little-endian i32
  int add_integers(const std::string& name);
  /// [n] of texts of variable length, UTF-8
  int add_texts(const std::string& name);

  /// The next row. Up to 256 KiB of an array, or a row, wait in memory.
  void append(int array, std::span<const float> row);
  void append(int array, std::int32_t value);
  /// Bytes that are not UTF-8 become U+FFFD; it ends at a zero.
  void append(int array, const std::string& text);

  /// A text beside the arrays, as an attribute of the file.
  void set_attribute(const std::string& name, const std::string& text);
  /// The last call.
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Arrays of an HDF5 file. Thread-safe; everything throws IoError naming the file, and the array.
class RowFileReader {
 public:
  /// Opens arrays [n, ...] of numbers. Throws too if one is missing, has no axis, more than
  /// Shape::kMaxRank, or other elements than numbers.
  RowFileReader(const std::filesystem::path& path, const std::vector<std::string>& arrays);
  ~RowFileReader();
  RowFileReader(const RowFileReader&) = delete;
  RowFileReader& operator=(const RowFileReader&) = delete;

  [[nodiscard]] std::int64_t rows(std::size_t array) const;
  [[nodiscard]] const Shape& row_shape(std::size_t array) const;
  /// Row `index` as f32: `values` has row_shape().elements() numbers.
  void read(std::size_t array, std::int64_t index, std::span<float> values) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gentrain::io
