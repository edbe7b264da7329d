// Files by descriptor: opened, read and written whole, with errors that name path, step and reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "kernels/error.h"

namespace gentrain::io {

/// The medium itself failed (EIO): what lies there is lost, what lies elsewhere is not.
class MediumError : public IoError {
 public:
  using IoError::IoError;
};

/// Whether a file or folder is there. Throws IoError naming path and reason where nobody can tell,
/// as when a folder above it may not be searched.
bool is_there(const std::filesystem::path& path);

/// A file descriptor that closes itself.
class PosixFile {
 public:
  /// `flags` and `mode` as open(2) takes them. Throws IoError naming path and reason.
  explicit PosixFile(const std::filesystem::path& path, int flags, unsigned mode = 0);
  /// An empty file in memory, without a name. Throws IoError.
  static PosixFile in_memory();
  ~PosixFile();
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  /// A path under which this process can open it once more, whatever its name is.
  [[nodiscard]] std::string open_path() const;
  /// Bytes in the file now. Like all that follow, throws IoError naming path, step and reason.
  /// The medium's failure to read is a MediumError.
  [[nodiscard]] std::size_t size() const;
  /// Throws IoError unless it is a regular file: a pipe has no size.
  void require_regular() const;
  /// Reads up to `size` bytes from where the last call ended; fewer only at the end of the file.
  std::size_t read(void* data, std::size_t size);
  /// Reads exactly `size` bytes from `offset` on; fewer are an error.
  void read_at(std::size_t offset, void* data, std::size_t size) const;
  /// Writes all of it.
  void write(const void* data, std::size_t size);
  /// Cuts the file to `size` bytes.
  void resize(std::size_t size);
  /// Forces content and size to disk.
  void sync();

 private:
  PosixFile(std::filesystem::path path, int descriptor, std::nullptr_t);
  [[noreturn]] void fail(const char* step) const;

  std::filesystem::path path_;
  int descriptor_;
};

/// Memory of a known size: what a file is read into.
struct Bytes {
  std::shared_ptr<std::uint8_t[]> data;
  std::size_t size = 0;
};

/// `size` uninitialised bytes; 0 is fine. Throws std::bad_alloc.
Bytes make_bytes(std::size_t size);

/// A whole regular file. Throws IoError, MediumError.
Bytes read_file(const std::filesystem::path& path);

/// What a folder holds, in no order. Where it cannot be read, to its end or at all, `error` says
/// why, and what is returned is not all of it.
std::vector<std::filesystem::directory_entry> entries_of(const std::filesystem::path& folder,
                                                         std::error_code& error);

/// Makes the names of a folder's files safe: after files were created or removed there. Throws
/// IoError.
void sync_folder(const std::filesystem::path& folder);

}  // namespace gentrain::io
