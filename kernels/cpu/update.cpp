// Optimizer updates: checks and constants, then the vector kernels.
#include "kernels/update.h"

#include <cmath>

#include <fmt/format.h>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/simd.h"
#include "kernels/error.h"

namespace gentrain::cpu {

namespace {

float narrow(double value) {
  return static_cast<float>(value);
}

simd::AdamConstants constants_of(const AdamStep& step) {
  const auto t = static_cast<double>(step.step);
  const double first_bias = 1 - std::pow(step.beta1, t);
  const double second_bias = 1 - std::pow(step.beta2, t);
  return {.rate = narrow(step.lr / first_bias),
          .inverse_root = narrow(1 / std::sqrt(second_bias)),
          .beta1 = narrow(step.beta1),
          .one_minus_beta1 = narrow(1 - step.beta1),
          .beta2 = narrow(step.beta2),
          .one_minus_beta2 = narrow(1 - step.beta2),
          .epsilon = narrow(step.epsilon),
          .weight_decay = step.decoupled ? 0 : narrow(step.weight_decay),
          .keep = step.decoupled ? narrow(1 - step.lr * step.weight_decay) : 1,
          .grad_scale = narrow(step.grad_scale)};
}

class Update final : public UpdateKernels {
 public:
  explicit Update(const Backend& backend) : table_(backend.simd->update) {}

  void sgd(Queue& /*queue*/, const SgdStep& step, ConstView gradient, View velocity,
           View w) override {
    const Arguments arguments("sgd");
    arguments.require_elements("w", w, w.elements());
    arguments.require_elements("gradient", gradient, w.elements());
    const bool moves = step.momentum != 0;
    if (moves) {
      arguments.require_elements("velocity", velocity, w.elements());
    }
    table_.sgd({narrow(step.lr), narrow(step.momentum), narrow(step.weight_decay),
                narrow(step.grad_scale), step.nesterov},
               gradient.as<float>(), moves ? velocity.as<float>() : nullptr, w.as<float>(),
               w.elements());
  }

  void adam(Queue& /*queue*/, const AdamStep& step, ConstView gradient, View first_moment,
            View second_moment, View w) override {
    if (step.step < 1) {
      throw ShapeError(fmt::format("adam: step {}: steps count from 1", step.step));
    }
    const Arguments arguments("adam");
    arguments.require_elements("w", w, w.elements());
    arguments.require_elements("gradient", gradient, w.elements());
    if (step.beta1 != 0 || first_moment.present()) {
      arguments.require_elements("first_moment", first_moment, w.elements());
    }
    arguments.require_elements("second_moment", second_moment, w.elements());
    table_.adam(constants_of(step), gradient.as<float>(), first_moment.as<float>(),
                second_moment.as<float>(), w.as<float>(), w.elements());
  }

 private:
  const simd::UpdateTable& table_;
};

}  // namespace

std::unique_ptr<UpdateKernels> make_update(const Backend& backend) {
  return std::make_unique<Update>(backend);
}

}  // namespace gentrain::cpu
