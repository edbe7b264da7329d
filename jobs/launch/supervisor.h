// Restarts: what an end of the ranks calls for, how often, on which hosts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobs/launch/attempt.h"
#include "jobs/launch/options.h"

namespace gentrain::jobs {

enum class Verdict : std::uint8_t {
  kDone,       // the run is finished
  kRequested,  // ended on request; the same command goes on
  kFinal,      // nothing that a restart would mend
  kRestart,
};

/// What an attempt's end calls for; `finished` is what the run's folder says.
Verdict judge(const AttemptEnd& end, bool finished);

/// Counts restarts and decides when they lead nowhere.
class RestartRule {
 public:
  /// Gives up after `max_restarts` restarts in a row without progress; `step` is where the run
  /// stood before the first attempt.
  RestartRule(int max_restarts, std::int64_t step) : max_restarts_(max_restarts), best_(step) {}

  /// After an attempt that calls for a restart: `step` is the highest that the run's folder tells
  /// of. Progress is a step beyond all before. Whether to restart.
  bool again(std::int64_t step);
  /// Restarts until now, the one that again() last allowed included.
  [[nodiscard]] int restarts() const { return restarts_; }
  /// Restarts in a row, up to now, that brought nothing.
  [[nodiscard]] int fruitless() const { return fruitless_; }
  /// Seconds to wait before the restart: none after progress, then 1, 2, 4, ... up to 30.
  [[nodiscard]] double pause() const;

 private:
  int max_restarts_;
  std::int64_t best_;
  int restarts_ = 0;
  int fruitless_ = 0;
};

/// Runs the job until it is finished, asked to end or hopeless, and returns the exit code: 0; 75
/// after a request; the ranks' own where a restart mends nothing, or of the last attempt after
/// giving up; 128 + n where signal n ended the ranks at once.
/// Throws DeviceError if mpirun cannot be started, IoError if there is no room for its files.
int supervise(const LaunchOptions& options);

}  // namespace gentrain::jobs
