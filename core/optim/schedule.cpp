// Learning-rate schedules.
#include "core/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gentrain::optim {

double learning_rate(const ScheduleOptions& schedule, double lr, std::int64_t step) {
  const auto t = static_cast<double>(step);
  double rate = lr;
  switch (schedule.name) {
    case ScheduleOptions::Name::kConstant:
      break;
    case ScheduleOptions::Name::kInverseTime:
      rate = lr / (1.0 + schedule.decay * t);
      break;
    case ScheduleOptions::Name::kStep: {
      const std::int64_t drops = step / schedule.every;
      rate = lr * std::pow(schedule.factor, static_cast<double>(drops));
      break;
    }
    case ScheduleOptions::Name::kCosine: {
      const auto total = static_cast<double>(schedule.total);
      const double phase = std::numbers::pi * std::min(t, total) / total;
      rate = schedule.floor + (lr - schedule.floor) * (1.0 + std::cos(phase)) / 2.0;
      break;
    }
  }
  if (schedule.warmup > 0) {
    rate *= std::min(1.0, (t + 1.0) / static_cast<double>(schedule.warmup));
  }
  return rate;
}

}  // namespace gentrain::optim
