// The rules by which time without progress counts.
#include "comm/idle_clock.h"

#include <algorithm>
#include <utility>

namespace gentrain::comm {

void IdleClock::add(const Sample& sample, Phase phase) {
  const bool polls = std::exchange(polls_, sample.polls) != sample.polls;
  const bool preparing = phase == Phase::kPreparing;
  flushing_ = sample.flushing;
  waits_ = polls && phase != Phase::kComputing;
  last_ = sample.output_blocks ? 0 : std::min(sample.elapsed, kMostPerSample);
  if (std::exchange(progress_, sample.progress) != sample.progress) {
    if (!preparing) {
      longest_ = std::max(longest_, stuck_);
    }
    stuck_ = 0;
    idle_ = 0;
    return;
  }
  idle_ += last_;
  if (waits_) {
    stuck_ = 0;
  } else if (!sample.others_run && (polls || !sample.main_runs)) {
    stuck_ += last_;
  } else if (!preparing) {
    stuck_ += std::min(kCoreShares * sample.cpu, last_);
  }
}

double IdleClock::limit(Phase phase) const {
  const bool writing = flushing_ || phase == Phase::kWriting;
  const double least = writing ? kStuckWritingSeconds : kStuckSeconds;
  return std::max(least, kPauses * longest_);
}

}  // namespace gentrain::comm
