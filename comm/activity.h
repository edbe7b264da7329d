// What a rank is doing, said by the thread that does it and read by the watchdog's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace gentrain::comm {

enum class Phase : std::uint8_t {
  kPreparing,   // data, model, preflight
  kComputing,   // shards of this rank are under way
  kExchanging,  // all own shards are done, sums and weights are moving
  kAfterStep,   // observers
  kEvaluating,
  kWriting,  // a file that may take long
  kEnding,
};

class Activity {
 public:
  /// Of the thread that owns the communicator; all others may read. Steps count from 1 over all
  /// stages.
  void set_step(std::int64_t step) { step_.store(step, std::memory_order_relaxed); }
  void enter(Phase phase) { phase_.store(phase, std::memory_order_relaxed); }
  /// The first bucket that the exchange waits for.
  void set_bucket(std::int32_t bucket) { bucket_.store(bucket, std::memory_order_relaxed); }

  /// The thread that owns the communicator looks for what others did: it does not hang.
  void look() {
    looks_.store(looks_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  [[nodiscard]] std::uint64_t looks() const { return looks_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t step() const { return step_.load(std::memory_order_relaxed); }
  [[nodiscard]] Phase phase() const { return phase_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::int32_t bucket() const { return bucket_.load(std::memory_order_relaxed); }

  /// Where the watchdog's words go beside stderr; `ends`: they end the job. Called by its thread.
  using Log = std::function<void(const std::string& words, bool ends)>;
  /// An empty one: nowhere. On return nobody is in the last one.
  void set_log(Log log);
  void log(const std::string& words, bool ends);

 private:
  std::atomic<std::uint64_t> looks_{0};
  std::atomic<std::int64_t> step_{0};
  std::atomic<Phase> phase_{Phase::kPreparing};
  std::atomic<std::int32_t> bucket_{0};
  std::mutex mutex_;
  Log log_;
};

/// A phase for as long as the object lives, then the one before again.
class PhaseScope {
 public:
  PhaseScope(Activity& activity, Phase phase) : activity_(activity), before_(activity.phase()) {
    activity.enter(phase);
  }
  ~PhaseScope() { activity_.enter(before_); }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Activity& activity_;
  Phase before_;
};

/// "preparation", "step 12, exchanging bucket 3".
std::string describe(Phase phase, std::int64_t step, std::int32_t bucket);

}  // namespace gentrain::comm
