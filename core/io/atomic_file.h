// Files that appear whole or not at all: temporary name in the same folder, fsync, rename, fsync of
// the folder.
#pragma once

#include <filesystem>
#include <string_view>

namespace gentrain::io {

/// Throws IoError naming path, step and reason; then whatever stood under the name is untouched.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// The last steps for a file that was written under `temporary`: fsync, rename to `path`, fsync of
/// the folder. Throws IoError.
void commit_file(const std::filesystem::path& temporary, const std::filesystem::path& path);

}  // namespace gentrain::io
