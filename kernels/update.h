// The contract for optimizer updates: one fused pass over a range of the arena. Each element
// depends on its own values only. Determinism: as in conv.h.
#pragma once

#include <cstdint>

#include "kernels/view.h"

namespace gentrain {

class Queue;

/// One step of stochastic gradient descent: g = grad_scale * gradient + weight_decay * w;
/// v = momentum * v + g; w -= lr * (nesterov ? g + momentum * v : v). Without momentum v is absent.
struct SgdStep {
  double lr = 0;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
  double grad_scale = 1;  // from clipping
};

/// One step of Adam. `decoupled` gives AdamW: w -= lr * weight_decay * w apart from the moments.
///
/// Source: Kingma and Ba 2014, arXiv:1412.6980 (algorithm 1); Loshchilov and Hutter 2017,
/// arXiv:1711.05101.
struct AdamStep {
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;
  std::int64_t step = 1;  // counts from 1, for the bias correction
  double grad_scale = 1;
};

/// f32 on every backend, f64 on the reference backend. All views have the same number of elements.
/// Every routine throws ShapeError if a view is missing or has another type or number of elements.
class UpdateKernels {
 public:
  virtual ~UpdateKernels() = default;

  /// Takes one step of SGD: w and, with momentum, velocity are read and written. Without momentum
  /// velocity is ignored and may be absent.
  virtual void sgd(Queue& queue, const SgdStep& step, ConstView gradient, View velocity,
                   View w) = 0;
  /// Takes one step of Adam: w and both moments are read and written. With beta1 = 0 the first one
  /// is the gradient, and may be absent. Throws ShapeError if step.step is below 1.
  virtual void adam(Queue& queue, const AdamStep& step, ConstView gradient, View first_moment,
                    View second_moment, View w) = 0;
};

}  // namespace gentrain
