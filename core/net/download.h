// Fetching files over HTTP: into a folder, whole or not at all, or into memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/net/transfer.h"

namespace gentrain::net {

/// What a file is.
struct FileFacts {
  std::uint64_t bytes = 0;
  std::string sha256;
};

/// A file that is not what it should be.
class WrongFileError : public IoError {
 public:
  using IoError::IoError;
};

/// Compares a file with what is known of it, and hashes it. Throws WrongFileError naming the file,
/// what it is and what was needed; IoError if it cannot be read.
FileFacts check_file(const std::filesystem::path& path, const Expected& expected);

/// Fetches a URL into a file. Bytes go to PATH.part, and what they belong to to PATH.part.json;
/// both stay if the transfer breaks off, and the next call goes on with them. The file appears
/// under its name, in place of what is there, once size and hashes are right; with a wrong hash all
/// that came is removed. Folders above it must be there. One process at a time for each path.
///
/// Throws as transfer(); TransferError with the words of check_file(); IoError naming the path if
/// it cannot be written or read, or another process is fetching it.
FileFacts download(const std::string& url, const std::filesystem::path& path,
                   const Expected& expected = {}, const Limits& limits = {},
                   const Progress& progress = {});

/// What a URL names, in memory; for images and other small things, so by default at most 64 MiB and
/// a minute. Throws as transfer().
std::vector<std::uint8_t> fetch_bytes(const std::string& url,
                                      const Limits& limits = {std::uint64_t{64} << 20, 15, 60, 15});

}  // namespace gentrain::net
