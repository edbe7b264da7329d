// What a process does around MPI itself: it dies with its launcher, keeps its shared memory where
// the next start finds it, and neither waits for ever in MPI's own start and end nor stays stopped
// there.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>

#include <sys/types.h>

#include "comm/leftovers.h"

namespace gentrain::comm {

/// Lets the kernel kill this process, stopped or not, when the mpirun or orted that started it
/// dies. Does nothing under another parent.
void die_with_launcher();

/// Lets OpenMPI keep this process's shared memory in a folder of its own, unless the environment
/// says otherwise, for as long as the object lives.
class MpiSharedMemory {
 public:
  MpiSharedMemory();

  /// Whether a window of so many bytes finds room where OpenMPI would keep it.
  [[nodiscard]] bool has_room_for(std::size_t bytes) const;

 private:
  SharedMemoryFolder folder_;
};

/// Ends the process with `exit_code` if `what` takes more than `seconds`, not counting the time in
/// which the process was stopped.
class TimeLimit {
 public:
  TimeLimit(const char* what, double seconds, int exit_code);
  ~TimeLimit();
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;
};

/// A child process that kills this one, with a word on stderr, if it is stopped for `seconds` on
/// end: for the times in which no other rank can notice.
class StopGuard {
 public:
  StopGuard(const char* what, int seconds);
  ~StopGuard();
  StopGuard(const StopGuard&) = delete;
  StopGuard& operator=(const StopGuard&) = delete;

 private:
  pid_t child_;
};

}  // namespace gentrain::comm
