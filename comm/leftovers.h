// The shared memory of a process: in a folder of its own whose name tells whether the process that
// made it still lives, so that what a killed one left is found and removed.
#pragma once

#include <filesystem>

namespace gentrain::comm {

/// Removes the folders of shared memory that dead processes of this user left on this host, and
/// returns how many there were. What cannot be removed stays.
int remove_leftovers();
/// The same in another folder than /dev/shm.
int remove_leftovers(const std::filesystem::path& parent);

/// A folder in /dev/shm (or `parent`) for as long as the object lives, named
/// gentrain.USER.PIDNAMESPACE.PID.START; user, pid and start (clock ticks since boot) in decimals.
class SharedMemoryFolder {
 public:
  explicit SharedMemoryFolder(const std::filesystem::path& parent = "/dev/shm");
  ~SharedMemoryFolder();
  SharedMemoryFolder(const SharedMemoryFolder&) = delete;
  SharedMemoryFolder& operator=(const SharedMemoryFolder&) = delete;

  /// Empty if it could not be made.
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace gentrain::comm
