// Optimizer: the update rule and its state for the part of an arena that one rank owns.
//
// State (momentum, moments) exists only for the owned ranges: over all ranks there is one copy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/optim/options.h"
#include "core/tensor.h"

namespace gentrain::optim {

class Optimizer {
 public:
  /// A piece of the arena with its state.
  struct Segment {
    std::int64_t first = 0;  // elements of the arena
    std::int64_t last = 0;
    std::vector<Tensor> state;  // state_names() gives their order; zero at the start
  };

  /// `owned`: ascending, disjoint [first, last) pairs.
  Optimizer(Device& device, Queue& queue, const OptimizerOptions& options,
            const std::vector<std::pair<std::int64_t, std::int64_t>>& owned);

  /// Names of the state tensors: {} for plain SGD, {"momentum"}, {"moment1", "moment2"}.
  [[nodiscard]] std::vector<std::string> state_names() const;
  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }

  /// Updates `weights`, elements [first, first + gradient.elements()) of the arena, with step
  /// number `step` (from 0), learning rate `lr` and gradients multiplied by `grad_scale`. Throws
  /// ShapeError if the range is not inside one owned segment.
  void apply(Queue& queue, std::int64_t first, const Tensor& gradient, const Tensor& weights,
             double lr, std::int64_t step, double grad_scale);

 private:
  Device& device_;
  OptimizerOptions options_;
  std::vector<Segment> segments_;
};

}  // namespace gentrain::optim
