// Pauses of a thread that polls: short at first, so that what is quick is not delayed, then long
// enough to leave the core to others.
#pragma once

#include <chrono>
#include <thread>

namespace gentrain::comm {

class Backoff {
 public:
  void pause() {
    if (++count_ < kYields) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(count_ < kShort ? 20 : 100));
    }
  }

 private:
  static constexpr int kYields = 50;
  static constexpr int kShort = 500;
  int count_ = 0;
};

}  // namespace gentrain::comm
