// When a rank is stuck: time without progress while it has work of its own, counted so that neither
// a stopped nor a starved process, nor one that waits for others, takes itself for stuck.
#pragma once

#include <cstdint>

#include "comm/activity.h"

namespace gentrain::comm {

/// What was seen of this process since the last look.
struct Sample {
  double elapsed = 0;          // s
  double cpu = 0;              // s of processor time that the process used
  std::uint64_t progress = 0;  // pieces of work finished so far
  std::uint64_t polls = 0;     // looks of the communicator's thread for what others did, so far
  bool main_runs = false;      // the communicator's thread runs or wants to
  bool others_run = false;     // another thread does
  bool flushing = false;       // a disk is being flushed
  bool output_blocks = false;  // nobody reads what is printed
};

/// Seconds of one sample that count at most: a process that was stopped did not see the others.
inline constexpr double kMostPerSample = 0.5;
/// Without progress for so many seconds a rank is stuck, unless it has shown longer pauses.
inline constexpr double kStuckSeconds = 7;
/// The same while a file is written or flushed, which a disk may do in one go.
inline constexpr double kStuckWritingSeconds = 60;
/// An endless loop may have to share its core with so many others, itself included.
inline constexpr double kCoreShares = 2;
/// A rank is stuck after this many of its longest pauses so far.
inline constexpr double kPauses = 3;

class IdleClock {
 public:
  /// Takes a sample. Time counts by these rules:
  /// - at most kMostPerSample; nothing while the output blocks;
  /// - not while the communicator's thread polls and no shards are computed: others are waited for;
  /// - while a thread with work runs or wants to, processor time counts instead, kCoreShares times
  ///   and no more than all: an endless loop uses it, a starved process does not. In preparation
  ///   such threads do not count at all.
  void add(const Sample& sample, Phase phase);

  /// Seconds, as counted, since the last progress with own work outstanding.
  [[nodiscard]] double stuck() const { return stuck_; }
  /// How many of them are too many, in this phase and with what the last sample says.
  [[nodiscard]] double limit(Phase phase) const;
  /// Seconds since the last progress, own work or not; at most kMostPerSample a sample.
  [[nodiscard]] double idle() const { return idle_; }
  /// What the last sample added to idle() or would have without progress.
  [[nodiscard]] double last() const { return last_; }
  /// Whether others were waited for in the last sample.
  [[nodiscard]] bool waits() const { return waits_; }

 private:
  std::uint64_t progress_ = 0;
  std::uint64_t polls_ = 0;
  double stuck_ = 0;
  double idle_ = 0;
  double last_ = 0;
  double longest_ = 0;  // pause in own work after which it went on
  bool waits_ = false;
  bool flushing_ = false;
};

}  // namespace gentrain::comm
