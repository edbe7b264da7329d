// A lock on a file or folder, by flock(2): it dies with its owner.
#pragma once

#include <filesystem>

namespace gentrain::net {

/// Held while the object is there. Where a file system knows no locks, nothing is held.
class FileLock {
 public:
  /// Makes the file if nothing is there. Throws IoError naming it if it cannot be opened or another
  /// process holds the lock.
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace gentrain::net
