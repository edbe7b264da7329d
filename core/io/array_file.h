// Files of gentrain's own, models, checkpoints and packs of images: named arrays and a JSON header
// in one HDF5 file whose user block holds the SHA-256 of everything behind it. Written under a
// temporary name, synced, renamed; verified before HDF5 opens it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/io/posix_file.h"
#include "kernels/shape.h"

namespace gentrain::io {

/// Format version written and the newest one read, of all kinds.
inline constexpr int kArrayFormat = 1;

enum class FileKind { kModel, kCheckpoint, kPack };

/// "model", "checkpoint", "pack"
const char* name_of(FileKind kind);

struct NamedArray {
  std::string name;  // HDF5 path below the kind's group, /weights, /state or /data: "conv1/weight"
  Shape shape;
  std::vector<float> values;
};

/// The array of this name; null if there is none.
const NamedArray* find_array(std::span<const NamedArray> arrays, std::string_view name);

// NOLINTNEXTLINE(bugprone-exception-escape): json's move cannot throw, its assertions look as if.
struct ArrayFile {
  FileKind kind = FileKind::kModel;
  nlohmann::json header;           // what the kind's reader needs beside the arrays
  std::vector<NamedArray> arrays;  // in the writer's order
};

/// Throws IoError naming the file and the failed step; what stood under the name is untouched then,
/// as write_file_atomically() says, before_rename too. Bytes of the header's texts that are not
/// UTF-8 become U+FFFD.
void write_array_file(const std::filesystem::path& path, const ArrayFile& file,
                      const std::function<void()>& before_rename = {});

/// Throws IoError naming the file: missing, not of this kind (which it is, and what for),
/// truncated, damaged (a hash differs), a newer format.
ArrayFile read_array_file(const std::filesystem::path& path, FileKind kind);

/// A file that lies in memory, whole, as read_file() gives it; of any kind unless one is given.
/// Throws IoError as read_array_file(), with `name` in the path's place.
ArrayFile parse_array_file(const std::string& name, const Bytes& bytes,
                           std::optional<FileKind> kind = std::nullopt);

/// f32, u8 and little-endian i32.
enum class ElementType { kF32, kU8, kI32 };
/// Bytes of an element.
std::size_t bytes_of(ElementType type);

/// An array of any type that lies somewhere else: in the writer's memory, in a file that was read.
struct ArrayView {
  std::string name;
  Shape shape;
  ElementType type = ElementType::kF32;
  std::span<const std::byte> bytes;
};

// NOLINTNEXTLINE(bugprone-exception-escape): as ArrayFile.
struct ArrayViews {
  FileKind kind = FileKind::kModel;
  nlohmann::json header;
  std::vector<ArrayView> arrays;  // in the writer's order
};

/// The array where it lies; it must outlive the view.
ArrayView view_of(const NamedArray& array);

/// As write_array_file().
void write_array_views(const std::filesystem::path& path, const ArrayViews& file,
                       const std::function<void()>& before_rename = {});

/// The arrays of a file that lies in memory, without a copy: `bytes` must outlive them. Throws as
/// parse_array_file(), and names each damaged array where the content is not what was written.
ArrayViews view_array_file(const std::string& name, const Bytes& bytes,
                           std::optional<FileKind> kind = std::nullopt);

/// Whether a regular file is there that begins as one of this kind does. Throws IoError naming one
/// that cannot be read.
bool begins_as(const std::filesystem::path& path, FileKind kind);

/// What is wrong with a file of any kind and where, one line each; empty if it is whole. Never
/// throws for a damaged file: the array whose hash differs is named.
std::vector<std::string> verify_array_file(const std::filesystem::path& path);

}  // namespace gentrain::io
