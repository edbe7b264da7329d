// Optimizer: state per owned segment and one fused kernel per range.
#include "core/optim/optimizer.h"

#include <fmt/format.h>

#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/update.h"

namespace gentrain::optim {

Optimizer::Optimizer(Device& device, Queue& queue, const OptimizerOptions& options,
                     const std::vector<std::pair<std::int64_t, std::int64_t>>& owned)
    : device_(device), options_(options) {
  const std::size_t states = state_names().size();
  for (const auto& [first, last] : owned) {
    Segment segment{first, last, {}};
    for (std::size_t i = 0; i < states; ++i) {
      segment.state.push_back(Tensor::empty(device, {last - first}));
      device.elementwise().fill(queue, 0.0, segment.state.back().view());
    }
    segments_.push_back(std::move(segment));
  }
}

std::vector<std::string> Optimizer::state_names() const {
  if (options_.name != OptimizerOptions::Name::kSgd) {
    return {"moment1", "moment2"};
  }
  if (options_.momentum > 0) {
    return {"momentum"};
  }
  return {};
}

void Optimizer::apply(Queue& queue, std::int64_t first, const Tensor& gradient,
                      const Tensor& weights, double lr, std::int64_t step, double grad_scale) {
  const std::int64_t last = first + gradient.elements();
  const Segment* owner = nullptr;
  for (const Segment& segment : segments_) {
    if (segment.first <= first && last <= segment.last) {
      owner = &segment;
    }
  }
  if (owner == nullptr) {
    throw ShapeError(
        fmt::format("optimizer: elements [{}, {}) are not inside an owned segment", first, last));
  }
  const auto state = [&](std::size_t i) {
    return owner->state[i].slice(first - owner->first, gradient.shape()).view();
  };
  if (options_.name == OptimizerOptions::Name::kSgd) {
    const SgdStep rule{.lr = lr,
                       .momentum = options_.momentum,
                       .weight_decay = options_.weight_decay,
                       .nesterov = options_.nesterov,
                       .grad_scale = grad_scale};
    device_.update().sgd(queue, rule, gradient.cview(), options_.momentum > 0 ? state(0) : View{},
                         weights.view());
    return;
  }
  const AdamStep rule{.lr = lr,
                      .beta1 = options_.beta1,
                      .beta2 = options_.beta2,
                      .epsilon = options_.epsilon,
                      .weight_decay = options_.weight_decay,
                      .decoupled = options_.name == OptimizerOptions::Name::kAdamW,
                      .step = step + 1,
                      .grad_scale = grad_scale};
  device_.update().adam(queue, rule, gradient.cview(), state(0), state(1), weights.view());
}

}  // namespace gentrain::optim
