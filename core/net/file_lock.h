// A lock on a file or folder, by flock(2): it dies with its owner.
#pragma once

#include <cstdint>
#include <filesystem>

namespace gentrain::net {

/// What a lock is for.
enum class LockFor : std::uint8_t {
  kFetching,   // a file, which is made if nothing is there
  kUnpacking,  // a folder, which has to be there
};

/// Held while the object is there. Where a file system knows no locks, nothing is held.
class FileLock {
 public:
  /// Throws IoError naming the path if it cannot be opened, as a link cannot, or another process
  /// holds the lock.
  FileLock(const std::filesystem::path& path, LockFor what);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace gentrain::net
