// The differentiable operations with parameters per channel: batch normalisation and PReLU.
#pragma once

#include "core/context.h"
#include "core/tensor.h"
#include "kernels/activation.h"

namespace gentrain::ops {

/// What batch normalisation learns and keeps, each [c].
struct BatchNormParameters {
  Tensor gamma;  // or undefined for 1
  Tensor beta;   // or undefined for 0
  Tensor running_mean;
  Tensor running_var;
};

struct BatchNormOptions {
  double epsilon = 1e-3;  // added to the variance, above 0
  Activation activation = Activation::kNone;
  /// Of ReLU below zero, 0 to 1: with kRelu and 0.2 the activation is a leaky ReLU.
  double slope = 0;
  /// This shard's share in the running statistics: images of the shard / images of the batch,
  /// divided by the number of times that a recording normalises with the same parameters.
  double weight = 1;
  /// Whether training takes the batch's statistics. If not, it takes the running ones too, as a
  /// frozen layer does.
  bool batch_statistics = true;
};

/// activation(gamma (x - mean) / sqrt(variance + epsilon) + beta + residual).
///
/// x        [n, h, w, c] or [n, c]
/// residual as x, or undefined for none
/// result   as x
///
/// In training mean and (biased) variance are those of each channel over x, that is over one shard.
/// The gradient goes through them. Otherwise they are running_mean and running_var, as constants.
///
/// The running statistics are inputs of the op whose "gradient" is what they are to follow: weight
/// times the mean and weight times the variance used. The batch's variance is handed on without
/// bias, times m / (m - 1) for m = n h w values above 1. So summing over shards gives the weighted
/// mean of the shards' statistics, and a layer that uses the running ones hands on what leaves them
/// as they are. Only where the loss depends on the result is anything handed on but 0.
///
/// Throws ShapeError if x is of another rank or empty, a shape does not fit, epsilon is not above 0
/// or slope not in [0, 1].
/// Source: Ioffe and Szegedy 2015, arXiv:1502.03167; the running variance as in PyTorch.
Tensor batch_norm(Context& context, const Tensor& x, const BatchNormParameters& parameters,
                  const BatchNormOptions& options = {}, const Tensor& residual = {});

/// x above 0, alpha * x elsewhere, with one alpha for each channel.
///
/// x      [..., c]
/// alpha  [c]
/// result as x
///
/// Throws ShapeError if the shapes do not fit or x is empty.
/// Source: He et al. 2015, arXiv:1502.01852.
Tensor prelu(Context& context, const Tensor& x, const Tensor& alpha);

}  // namespace gentrain::ops
