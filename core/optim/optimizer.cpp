// Optimizer: state per owned segment and one fused kernel per range.
#include "core/optim/optimizer.h"

#include <algorithm>

#include <fmt/format.h>

#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/update.h"

namespace gentrain::optim {

namespace {

bool is_sgd(const OptimizerOptions& rule) {
  return rule.name == OptimizerOptions::Name::kSgd;
}

bool is_rmsprop(const OptimizerOptions& rule) {
  return rule.name == OptimizerOptions::Name::kRmsprop;
}

bool has_momentum(const OptimizerOptions& rule) {
  return is_sgd(rule) && rule.momentum > 0;
}

bool has_first_moment(const OptimizerOptions& rule) {
  return !is_sgd(rule) && !is_rmsprop(rule);
}

/// RMSprop is Adam without the mean of the gradients, so late that no bias is left to correct.
AdamStep adam_step(const OptimizerOptions& options, const OptimizerStep& step) {
  constexpr std::int64_t kLate = std::int64_t{1} << 40;
  const bool rmsprop = is_rmsprop(options);
  return {.lr = step.lr,
          .beta1 = rmsprop ? 0 : options.beta1,
          .beta2 = rmsprop ? options.rho : options.beta2,
          .epsilon = options.epsilon,
          .weight_decay = options.weight_decay,
          .decoupled = options.name == OptimizerOptions::Name::kAdamW,
          .step = rmsprop ? kLate : step.step + 1,
          .grad_scale = step.grad_scale};
}

std::vector<std::string> names_of_states(const std::vector<OptimizerOptions>& rules) {
  std::vector<std::string> names;
  if (std::any_of(rules.begin(), rules.end(), has_momentum)) {
    names.emplace_back("momentum");
  }
  if (std::any_of(rules.begin(), rules.end(), has_first_moment)) {
    names.emplace_back("moment1");
  }
  if (!std::all_of(rules.begin(), rules.end(), is_sgd)) {
    names.emplace_back("moment2");
  }
  return names;
}

}  // namespace

Optimizer::Optimizer(Device& device, Queue& queue, std::vector<OptimizerOptions> rules,
                     const std::vector<std::pair<std::int64_t, std::int64_t>>& owned)
    : device_(device), rules_(std::move(rules)), state_names_(names_of_states(rules_)) {
  for (const auto& [first, last] : owned) {
    Segment segment{first, last, {}};
    for (std::size_t i = 0; i < state_names_.size(); ++i) {
      segment.state.push_back(Tensor::empty(device, {last - first}));
      device.elementwise().fill(queue, 0.0, segment.state.back().view());
    }
    segments_.push_back(std::move(segment));
  }
}

const Optimizer::Segment& Optimizer::owner(std::int64_t first, std::int64_t last) const {
  for (const Segment& segment : segments_) {
    if (segment.first <= first && last <= segment.last) {
      return segment;
    }
  }
  throw ShapeError(
      fmt::format("optimizer: elements [{}, {}) are not inside an owned segment", first, last));
}

void Optimizer::apply(Queue& queue, std::int64_t first, const Tensor& gradient,
                      const Tensor& weights, const OptimizerStep& step) {
  const Segment& segment = owner(first, first + gradient.elements());
  const auto state = [&](std::size_t i) {
    return segment.state[i].slice(first - segment.first, gradient.shape()).view();
  };
  const OptimizerOptions& options = rules_.at(step.rule);
  if (is_sgd(options)) {
    const SgdStep rule{.lr = step.lr,
                       .momentum = options.momentum,
                       .weight_decay = options.weight_decay,
                       .nesterov = options.nesterov,
                       .grad_scale = step.grad_scale};
    device_.update().sgd(queue, rule, gradient.cview(), has_momentum(options) ? state(0) : View{},
                         weights.view());
    return;
  }
  const std::size_t second = state_names_.size() - 1;
  device_.update().adam(queue, adam_step(options, step), gradient.cview(),
                        has_first_moment(options) ? state(second - 1) : View{}, state(second),
                        weights.view());
}

void follow(Device& device, Queue& queue, const Tensor& newest, const Tensor& statistic,
            double decay) {
  // Descent along (statistic - newest).
  const SgdStep rule{.lr = 1 - decay, .weight_decay = 1, .grad_scale = -1};
  device.update().sgd(queue, rule, newest.cview(), View{}, statistic.view());
}

}  // namespace gentrain::optim
