// What a job says about optimizers and learning-rate schedules: plain values, read by jobs, used by
// core/optim.
#pragma once

#include <cstdint>

namespace gentrain {

/// Which update rule, and its constants; kernels/update.h states the formulas.
struct OptimizerOptions {
  enum class Name : std::uint8_t { kSgd, kAdam, kAdamW, kRmsprop };
  Name name = Name::kSgd;
  double lr = 0.01;  // of step 0, before the schedule's factor
  // sgd
  double momentum = 0;    // 0 <= momentum < 1
  bool nesterov = false;  // needs momentum
  // all: L2 for sgd, adam and rmsprop, decoupled for adamw
  double weight_decay = 0;
  // adam, adamw
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;  // rmsprop too; Keras has 1e-7 there
  // rmsprop: v = rho * v + (1 - rho) * g^2; w -= lr * g / (sqrt(v) + epsilon), as Keras has it
  double rho = 0.9;
  friend bool operator==(const OptimizerOptions&, const OptimizerOptions&) = default;
};

/// The learning rate of step t = 0, 1, ... of a stage, from the optimizer's lr.
struct ScheduleOptions {
  enum class Name : std::uint8_t {
    kConstant,     // lr
    kInverseTime,  // lr / (1 + decay * t)
    kStep,         // lr * factor^floor(t / every)
    kCosine,       // floor + (lr - floor) * (1 + cos(pi * min(t, total) / total)) / 2
  };
  Name name = Name::kConstant;
  double decay = 0;         // inverse_time
  std::int64_t every = 0;   // step: steps, >= 1 there
  double factor = 0.1;      // step
  std::int64_t total = 0;   // cosine: steps, >= 1 there
  double floor = 0;         // cosine: the lowest rate, an absolute one
  std::int64_t warmup = 0;  // any: the rate is multiplied by min(1, (t + 1) / warmup); 0 is off
  friend bool operator==(const ScheduleOptions&, const ScheduleOptions&) = default;
};

}  // namespace gentrain
