// Files of gentrain's own, models and checkpoints: named arrays and a JSON header in one HDF5 file
// whose user block holds the SHA-256 of everything behind it. Written under a temporary name,
// synced, renamed; verified before HDF5 opens it.
#pragma once

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

/// Format version written and the newest one read, of both kinds.
inline constexpr int kArrayFormat = 1;

enum class FileKind { kModel, kCheckpoint };

/// "model", "checkpoint"
const char* name_of(FileKind kind);

struct NamedArray {
  std::string name;  // HDF5 path below the kind's group, /weights or /state: "conv1/weight"
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

/// What is wrong with a file of either kind and where, one line each; empty if it is whole. Never
/// throws for a damaged file: the array whose hash differs is named.
std::vector<std::string> verify_array_file(const std::filesystem::path& path);

}  // namespace gentrain::io
