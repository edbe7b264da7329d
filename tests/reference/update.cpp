// Optimizer updates.
#include "kernels/update.h"

#include <cmath>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/reference/families.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

namespace {

class Update final : public UpdateKernels {
 public:
  void sgd(Queue& /*queue*/, const SgdStep& step, ConstView gradient, View velocity,
           View w) override {
    const Call call("sgd", w.dtype);
    const Values gradients = call.load_elements("gradient", gradient, w.elements());
    Values weights = call.load_elements("w", w, w.elements());
    const bool with_momentum = step.momentum != 0;
    Values v = with_momentum ? call.load_elements("velocity", velocity, w.elements())
                             : Values({w.elements()});
    for (std::int64_t i = 0; i < weights.elements(); ++i) {
      const double g = step.grad_scale * gradients[i] + step.weight_decay * weights[i];
      v[i] = step.momentum * v[i] + g;
      weights[i] -= step.lr * (step.nesterov ? g + step.momentum * v[i] : v[i]);
    }
    if (with_momentum) {
      call.store_elements("velocity", v, velocity);
    }
    call.store_elements("w", weights, w);
  }

  void adam(Queue& /*queue*/, const AdamStep& step, ConstView gradient, View first_moment,
            View second_moment, View w) override {
    if (step.step < 1) {
      throw ShapeError(fmt::format("adam: step {}: steps count from 1", step.step));
    }
    const Call call("adam", w.dtype);
    const Values gradients = call.load_elements("gradient", gradient, w.elements());
    const bool kept = step.beta1 != 0 || first_moment.present();
    Values m = kept ? call.load_elements("first_moment", first_moment, w.elements())
                    : Values({w.elements()});
    Values v = call.load_elements("second_moment", second_moment, w.elements());
    Values weights = call.load_elements("w", w, w.elements());
    const double m_bias = 1 - std::pow(step.beta1, static_cast<double>(step.step));
    const double v_bias = 1 - std::pow(step.beta2, static_cast<double>(step.step));
    const double coupled_decay = step.decoupled ? 0 : step.weight_decay;
    const double decoupled_decay = step.decoupled ? step.weight_decay : 0;
    for (std::int64_t i = 0; i < weights.elements(); ++i) {
      const double g = step.grad_scale * gradients[i] + coupled_decay * weights[i];
      m[i] = step.beta1 * m[i] + (1 - step.beta1) * g;
      v[i] = step.beta2 * v[i] + (1 - step.beta2) * g * g;
      const double change = (m[i] / m_bias) / (std::sqrt(v[i] / v_bias) + step.epsilon);
      weights[i] -= step.lr * (change + decoupled_decay * weights[i]);
    }
    if (kept) {
      call.store_elements("first_moment", m, first_moment);
    }
    call.store_elements("second_moment", v, second_moment);
    call.store_elements("w", weights, w);
  }
};

}  // namespace

std::unique_ptr<UpdateKernels> make_update() {
  return std::make_unique<Update>();
}

}  // namespace gentrain::reference
