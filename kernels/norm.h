// The contract for routines that have parameters per channel: batch normalisation and PReLU. The
// last extent of a tensor is its number of channels c; all extents before it together are its rows.
// Determinism: as in conv.h; sums over rows go over fixed blocks of rows in a fixed order.
#pragma once

#include "kernels/view.h"

namespace gentrain {

class Queue;

/// How a batch is normalised.
struct NormRule {
  double epsilon = 1e-3;  // added to the variance, above 0
  /// Of the activation behind it: z above 0, slope * z elsewhere, 0 <= slope <= 1. 1 is none, 0 is
  /// ReLU.
  double slope = 1;
  /// Whether mean and variance are those of x, so that gradients go through them too. If not they
  /// are constants.
  bool of_batch = true;
};

/// What a normalisation reads.
struct NormSources {
  ConstView x;         // [..., c]
  ConstView mean;      // [c]
  ConstView variance;  // [c], at least 0
  ConstView gamma;     // [c], or absent for 1
  ConstView beta;      // [c], or absent for 0
  ConstView residual;  // as x, or absent for 0
};

/// What the backward pass of a normalisation reads.
struct NormGradientSources {
  ConstView x;         // [..., c]
  ConstView y;         // as x: the result; may be absent where slope is 1
  ConstView dy;        // as x
  ConstView mean;      // [c]
  ConstView variance;  // [c]
  ConstView gamma;     // [c], or absent for 1
};

/// What it writes; any of them may be absent. None may be one of the sources.
struct NormGradients {
  View dx;         // as x
  View dgamma;     // [c]
  View dbeta;      // [c]
  View dresidual;  // as x
};

/// f32 on every backend, f64 on the reference backend, bf16 on the CPU as struct Bf16 says. Every
/// routine throws ShapeError if a view is missing or has another shape or type than is stated here,
/// if x has no axis or no elements, or if epsilon is not above 0 or a slope not in [0, 1].
class NormKernels {
 public:
  virtual ~NormKernels() = default;

  /// mean [c] and variance [c] of x [..., c] over its rows; the variance is the mean of the squared
  /// distances from the mean (biased).
  ///
  /// Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance".
  virtual void statistics(Queue& queue, ConstView x, View mean, View variance) = 0;

  /// y [..., c] = activation(gamma (x - mean) / sqrt(variance + epsilon) + beta + residual). y may
  /// be x or the residual.
  ///
  /// Source: Ioffe and Szegedy 2015, arXiv:1502.03167.
  virtual void normalize(Queue& queue, const NormRule& rule, const NormSources& sources,
                         View y) = 0;
  /// With g = dy * (y > 0 ? 1 : slope), x' = (x - mean) / sqrt(variance + epsilon) and m rows:
  /// dresidual = g, dbeta = sum of g over rows, dgamma = sum of g x' over rows,
  /// dx = gamma / sqrt(variance + epsilon) * (g - dbeta / m - x' dgamma / m), where the statistics
  /// are not of_batch without the last two terms.
  virtual void normalize_backward(Queue& queue, const NormRule& rule,
                                  const NormGradientSources& sources,
                                  const NormGradients& results) = 0;

  /// y [..., c] = x > 0 ? x : alpha [c] * x. y may be x.
  ///
  /// Source: He et al. 2015, arXiv:1502.01852.
  virtual void prelu(Queue& queue, ConstView x, ConstView alpha, View y) = 0;
  /// dx [..., c] = dy * (x > 0 ? 1 : alpha), which may be dy; dalpha [c] = sum over rows of
  /// (x > 0 ? 0 : dy * x). Either may be absent.
  virtual void prelu_backward(Queue& queue, ConstView x, ConstView alpha, ConstView dy, View dx,
                              View dalpha) = 0;
};

}  // namespace gentrain
