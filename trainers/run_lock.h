// The lock of a run's output: one run at a time writes there, on whatever host, and one that lost
// the lock finds out before it renames anything.
//
// The file lock.json names its owner and is held by flock(2), which ends with the process. Where
// file systems do not carry flock from host to host, the owner's sign of life counts: it touches
// the file every second.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "kernels/error.h"

namespace gentrain::trainers {

/// The lock is no longer this run's: it must end and write nothing more.
class LostLockError : public IoError {
 public:
  using IoError::IoError;
};

class RunLock {
 public:
  /// Takes the lock of a folder that exists. An owner that is ending is waited for (`patience`),
  /// and so is the sign of life of an owner on another host (`silence`). Throws IoError naming the
  /// owner if there is one, or path and reason.
  explicit RunLock(const std::filesystem::path& folder,
                   std::chrono::milliseconds patience = std::chrono::seconds(3),
                   std::chrono::milliseconds silence = std::chrono::seconds(12));
  /// Gives the lock back: the file goes, unless it is another's by now.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// The run's id: 32 digits of hex, another one for every start.
  [[nodiscard]] const std::string& id() const { return id_; }
  /// Throws LostLockError, naming the owner, if the folder's lock is not that of the run `id` or is
  /// gone; IoError if it cannot be read.
  /// To be called before anything is renamed.
  static void require(const std::filesystem::path& folder, const std::string& id);

  /// The id of the run that holds the folder's lock, as this host sees it; none if nobody does.
  static std::optional<std::string> owner(const std::filesystem::path& folder);

 private:
  [[nodiscard]] bool try_flock();
  void wait_for_silence(std::chrono::milliseconds silence);
  void write_owner();

  std::filesystem::path path_;
  std::string id_;
  int descriptor_ = -1;
  bool without_flock_ = false;
  std::jthread signs_;
};

}  // namespace gentrain::trainers
