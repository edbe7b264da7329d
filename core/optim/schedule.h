// Learning rates as pure functions of the step.
#pragma once

#include <cstdint>

#include "core/optim/options.h"

namespace gentrain::optim {

/// The learning rate of step `step` (from 0) of a stage; `lr` is the optimizer's. See
/// ScheduleOptions for the formulas; warm-up multiplies any of them.
double learning_rate(const ScheduleOptions& schedule, double lr, std::int64_t step);

}  // namespace gentrain::optim
