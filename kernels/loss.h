// The contract for losses. Determinism: as in conv.h.
#pragma once

#include "kernels/view.h"

namespace gentrain {

class Queue;

/// f32 on every backend, f64 on the reference backend. Every routine throws ShapeError if a view is
/// missing or has another shape or type than is stated here, or n or k is 0.
class LossKernels {
 public:
  virtual ~LossKernels() = default;

  /// Softmax and cross entropy of n rows with k classes.
  ///
  /// logits        [n, k]
  /// labels        [n], i32, 0 <= label < k (the caller has checked)
  /// probabilities [n, k] = softmax(logits)
  /// sums          [2]: sum over rows of -log p(label), in a fixed order; number of rows
  ///               whose first largest logit is the label
  virtual void softmax_cross_entropy(Queue& queue, ConstView logits, ConstView labels,
                                     View probabilities, View sums) = 0;
  /// dlogits [n, k] = scale * (probabilities - onehot(labels))
  virtual void softmax_cross_entropy_backward(Queue& queue, ConstView probabilities,
                                              ConstView labels, double scale, View dlogits) = 0;
  /// probabilities [n, k] = softmax(logits [n, k]), row by row.
  virtual void softmax(Queue& queue, ConstView logits, View probabilities) = 0;
};

}  // namespace gentrain
