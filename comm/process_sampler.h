// What a process sees of itself: processor time, threads that run, output that blocks.
#pragma once

#include <chrono>
#include <cstdint>

#include "comm/idle_clock.h"

namespace gentrain::comm {

class ProcessSampler {
 public:
  /// For the thread that owns the communicator.
  ProcessSampler();

  /// What happened since the last call; for one other thread, which is not counted among those that
  /// run. The threads are looked at only if there was no progress.
  Sample take(std::uint64_t progress, std::uint64_t polls);

 private:
  void look_at_threads(Sample& sample) const;

  int main_thread_;
  std::chrono::steady_clock::time_point last_;
  double last_cpu_;
  std::uint64_t last_progress_ = 0;
};

}  // namespace gentrain::comm
