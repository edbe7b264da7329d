// What a rank is doing, in words.
#include "comm/activity.h"

#include <utility>

#include <fmt/format.h>

namespace gentrain::comm {

void Activity::set_log(Log log) {
  const std::lock_guard lock(mutex_);
  log_ = std::move(log);
}

void Activity::log(const std::string& words, bool ends) {
  const std::lock_guard lock(mutex_);
  if (log_) {
    log_(words, ends);
  }
}

std::string describe(Phase phase, std::int64_t step, std::int32_t bucket) {
  switch (phase) {
    case Phase::kPreparing:
      return "preparation";
    case Phase::kComputing:
      return fmt::format("step {}, computing", step);
    case Phase::kExchanging:
      return fmt::format("step {}, exchanging bucket {}", step, bucket);
    case Phase::kAfterStep:
      return fmt::format("step {}, after its exchange", step);
    case Phase::kEvaluating:
      return fmt::format("step {}, evaluation", step);
    case Phase::kWriting:
      return fmt::format("step {}, writing a file", step);
    case Phase::kEnding:
      return "the run's end";
  }
  return "";
}

}  // namespace gentrain::comm
