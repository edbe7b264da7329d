// Learning rates as pure functions of the step.
#pragma once

#include <cstdint>

#include "core/optim/options.h"

namespace gentrain::optim {

/// The learning rate of step `step` >= 0 of a stage; `lr` is the optimizer's. See ScheduleOptions
/// for the formulas; warm-up multiplies any of them. `every` must be at least 1 where the name is
/// kStep, `total` where it is kCosine: they divide. Jobs are checked for it when they are read.
double learning_rate(const ScheduleOptions& schedule, double lr, std::int64_t step);

}  // namespace gentrain::optim
