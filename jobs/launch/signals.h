// Signals that ask the launcher to end, received one by one instead of interrupting.
#pragma once

namespace gentrain::jobs {

/// Blocks SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGCHLD for this process as long as it lives; those
/// of the terminal (SIGINT, SIGHUP) not if they are ignored, as nohup and shells without job
/// control have it. Those that nobody has received by its end are forgotten.
class Signals {
 public:
  /// Throws DeviceError if the system refuses.
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// Can be read, as poll(2) sees it, when a signal is there.
  [[nodiscard]] int descriptor() const { return descriptor_; }
  /// The next signal that asks to end, 0 if there is none. Does not wait.
  int next() const;
  /// Waits for the next signal that asks to end, or until `seconds` have passed: 0.
  int wait(double seconds) const;

 private:
  int descriptor_ = -1;
};

/// "SIGTERM", for those above.
const char* signal_name(int number);

}  // namespace gentrain::jobs
