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
  /// weights       [n], of each row, or absent: then all are 1, with the same bits
  /// probabilities [n, k] = softmax(logits)
  /// sums          [2]: sum over rows of -weight log p(label), in a fixed order; number of rows
  ///               whose first largest logit is the label, whatever their weights
  virtual void softmax_cross_entropy(Queue& queue, ConstView logits, ConstView labels,
                                     ConstView weights, View probabilities, View sums) = 0;
  /// dlogits [n, k] = scale * weight * (probabilities - onehot(labels)); weights may be absent
  virtual void softmax_cross_entropy_backward(Queue& queue, ConstView probabilities,
                                              ConstView labels, ConstView weights, double scale,
                                              View dlogits) = 0;
  /// probabilities [n, k] = softmax(logits [n, k]), row by row.
  virtual void softmax(Queue& queue, ConstView logits, View probabilities) = 0;

  /// Sigmoid and cross entropy of n rows with k independent targets.
  ///
  /// logits  [n, k]
  /// targets [n, k], probabilities (the caller has checked)
  /// losses  [n]: sum over the row of max(x, 0) - x t + log(1 + e^-|x|), in a fixed order
  virtual void sigmoid_cross_entropy(Queue& queue, ConstView logits, ConstView targets,
                                     View losses) = 0;
  /// dlogits [n, k] = scale * (sigmoid(logits) - targets)
  virtual void sigmoid_cross_entropy_backward(Queue& queue, ConstView logits, ConstView targets,
                                              double scale, View dlogits) = 0;

  /// Squared distances of n rows with k values.
  ///
  /// x, target [n, k]
  /// losses    [n]: sum over the row of (x - target)^2, in a fixed order
  virtual void squared_error(Queue& queue, ConstView x, ConstView target, View losses) = 0;
  /// dx [n, k] = 2 * scale * (x - target)
  virtual void squared_error_backward(Queue& queue, ConstView x, ConstView target, double scale,
                                      View dx) = 0;

  /// A sample of n normal distributions over k values, and how far they are from N(0, I).
  ///
  /// latent     [n, 2 k]: the means, then the logarithms of the variances
  /// noise      [n, k], standard normal
  /// z          [n, k] = mean + e^(log_variance / 2) * noise
  /// divergence [n] = sum over the row of (e^log_variance + mean^2 - 1 - log_variance) / 2, in a
  ///            fixed order
  ///
  /// Source: Kingma and Welling 2014, arXiv:1312.6114, appendix B.
  virtual void gaussian_sample(Queue& queue, ConstView latent, ConstView noise, View z,
                               View divergence) = 0;
  /// dlatent [n, 2 k]: what comes through z, and `scale` times the gradient of the divergence.
  /// dmean = dz + scale * mean
  /// dlog_variance = (dz * noise * e^(log_variance / 2) + scale * (e^log_variance - 1)) / 2
  virtual void gaussian_sample_backward(Queue& queue, ConstView latent, ConstView noise,
                                        ConstView dz, double scale, View dlatent) = 0;
};

}  // namespace gentrain
