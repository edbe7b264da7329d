// Optimizer: the update rule and its state for the part of an arena that one rank owns.
//
// State (momentum, moments) exists only for the owned ranges: over all ranks there is one copy.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/optim/options.h"
#include "core/tensor.h"

namespace gentrain::optim {

/// One update of a range of the arena.
struct OptimizerStep {
  std::size_t rule = 0;   // index of the update rule
  double lr = 0;          // learning rate
  std::int64_t step = 0;  // number of the step, from 0
  double grad_scale = 1;  // gradients are multiplied by it
};

class Optimizer {
 public:
  /// A piece of the arena with its state.
  struct Segment {
    std::int64_t first = 0;  // elements of the arena
    std::int64_t last = 0;
    std::vector<Tensor> state;  // state_names() gives their order; zero at the start
  };

  /// `rules`: one at least; a range is updated by one of them. `owned`: ascending, disjoint
  /// [first, last) pairs.
  Optimizer(Device& device, Queue& queue, std::vector<OptimizerOptions> rules,
            const std::vector<std::pair<std::int64_t, std::int64_t>>& owned);

  /// Names of the state tensors that some rule needs, of "momentum", "moment1", "moment2" (of
  /// rmsprop too) in this order.
  [[nodiscard]] const std::vector<std::string>& state_names() const { return state_names_; }
  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }

  /// Updates `weights`, elements [first, first + gradient.elements()) of the arena. Throws
  /// ShapeError if the range is not inside one owned segment.
  void apply(Queue& queue, std::int64_t first, const Tensor& gradient, const Tensor& weights,
             const OptimizerStep& step);

 private:
  [[nodiscard]] const Segment& owner(std::int64_t first, std::int64_t last) const;

  Device& device_;
  std::vector<OptimizerOptions> rules_;
  std::vector<std::string> state_names_;
  std::vector<Segment> segments_;
};

/// statistic = decay * statistic + (1 - decay) * newest, elementwise; the two do not overlap.
void follow(Device& device, Queue& queue, const Tensor& newest, const Tensor& statistic,
            double decay);

}  // namespace gentrain::optim
