// The watchdog: a thread of each rank that ends the job when a rank is dead, stopped or stuck, and
// says which one and where it was. What is slow but goes on is left alone.
//
// A rank that gets nowhere with its own work says so of itself (comm/idle_clock.h). A rank whose
// signs of life (comm/signs.h) fail to come is named by its neighbours in the ring. When all wait
// for each other, the job ends with what for.
#pragma once

#include <memory>

#include "comm/communicator.h"

namespace gentrain::comm {

/// Seconds in which a thread hangs in MPI after which ranks of this host that are stopped are
/// named: one that was stopped in the middle of a message lets its reader wait for ever. Without
/// one the rank itself is stuck, after so many seconds more than otherwise.
inline constexpr double kDeafSeconds = 5.5;
inline constexpr double kDeafDoubt = 1.5;
/// Seconds of waiting after which ranks that get nowhere are named in a warning.
inline constexpr double kWarnSeconds = 6;
/// Seconds without progress of any rank after which the job ends: so many (kStuckWritingSeconds
/// while one of them writes or flushes a file), one more per rank, and at least kPauses times the
/// longest such pause so far.
inline constexpr double kDeadlockSeconds = 20;

class Watchdog {
 public:
  /// Collective, by the thread that owns the communicator, which must outlive the watchdog. An
  /// alarm is one line on stderr and to the activity's log, then
  /// Communicator::abort(kRankTroubleCode). Throws CommError.
  explicit Watchdog(Communicator& communicator);
  /// Collective, unless an exception passes: watches until all ranks are here.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  class Thread;
  Communicator& communicator_;
  int exceptions_;
  std::unique_ptr<Thread> thread_;
};

}  // namespace gentrain::comm
