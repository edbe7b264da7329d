// The differentiable operations. Each is one free function: checks, forward, then the backward
// closure right under it. Images are NHWC. Every op works on every device; f32, or f64 where the
// device has it. Those of networks take bf16 too where the device has it: images, rows and their
// gradients; weights, values per channel and losses are f32 then.
#pragma once

#include <cstdint>
#include <span>

#include "core/context.h"
#include "core/ops/conv.h"
#include "core/tensor.h"
#include "kernels/activation.h"

namespace gentrain::ops {

struct Window {
  std::int64_t h = 2;
  std::int64_t w = 2;
};

/// The largest (max) or mean value (average) of each window; padding is left out of both.
///
/// x      [n, h, w, c]
/// result [n, oh, ow, c]
///
/// Throws ShapeError if x is not an image or a result extent would be below 1.
Tensor max_pool2d(Context& context, const Tensor& x, Window window, Stride stride,
                  Padding padding = {});
Tensor average_pool2d(Context& context, const Tensor& x, Window window, Stride stride,
                      Padding padding = {});

/// Pixel shuffle: the channels of a pixel become a square of r x r pixels, then the activation.
///
/// x      [n, h, w, c r r]
/// result [n, h r, w r, c]: element (n, h r + i, w r + j, c) is x(n, h, w, (c r + i) r + j)
///
/// This order of channels, c before i and j, is PyTorch's pixel_shuffle; TensorFlow's
/// depth_to_space takes (i r + j) c instead.
/// Throws ShapeError if x is not an image or empty, r is below 1 or r r does not divide its
/// channels. Source: Shi et al. 2016, arXiv:1609.05158.
Tensor pixel_shuffle(Context& context, const Tensor& x, std::int64_t r,
                     Activation activation = Activation::kNone);

/// Tensors side by side along their last axis, the channels.
///
/// xs     one or more tensors [..., c] that differ in c alone
/// result [..., sum of c], the channels of xs[0] first
///
/// Throws ShapeError if there is none, one has no axis or no elements, or other extents or element
/// types differ.
Tensor concat(Context& context, std::span<const Tensor> xs);

/// Images 1 / r as high and wide: weighted means around the middle of each r x r square, by a
/// Gaussian whose standard deviation is `sigma` pixels of x, over the pixels inside the image and
/// at most 3 sigma + r / 2 off in either direction; along h first. Has no gradient.
///
/// x      [n, h, w, c], h and w multiples of r; r in [1, 64], sigma in [0.1, 64]
/// result [n, h / r, w / r, c]
///
/// Throws ShapeError for another x, r or sigma; Error when a gradient of it is asked for.
Tensor gaussian_shrink(Context& context, const Tensor& x, std::int64_t r, double sigma);

/// A dense layer: activation(x weights^T + bias).
///
/// x       [n, k]
/// weights [m, k]
/// bias    [m], or undefined for none
/// result  [n, m]
///
/// Throws ShapeError if the extents do not fit.
Tensor linear(Context& context, const Tensor& x, const Tensor& weights, const Tensor& bias,
              Activation activation = Activation::kNone);

/// Pointwise functions; the result has the shape of x.
Tensor activate(Context& context, const Tensor& x, Activation activation);
/// x above 0, slope * x elsewhere. Throws ShapeError unless slope is above 0.
Tensor leaky_relu(Context& context, const Tensor& x, double slope);
/// activation(a + b) and a * b, element by element. Throws ShapeError if the shapes differ.
Tensor add(Context& context, const Tensor& a, const Tensor& b,
           Activation activation = Activation::kNone);
Tensor multiply(Context& context, const Tensor& a, const Tensor& b);
/// factor * x
Tensor scale(Context& context, const Tensor& x, double factor);
/// The sum of all elements, shape [].
Tensor sum(Context& context, const Tensor& x);
/// The same elements under another shape. Throws ShapeError if their number differs.
Tensor reshape(Context& context, const Tensor& x, const Shape& shape);

/// x itself, shape and elements; backward writes the sum of squares of the gradient that comes
/// through here to `square_sum`, which must live until then.
Tensor probe(Context& context, const Tensor& x, double& square_sum);

/// What a network begins and ends with: x as bf16 where the context says so, else x itself; and y
/// as f32 if it is bf16, else y itself. So losses and pictures never see bf16.
Tensor into_network(Context& context, const Tensor& x);
Tensor out_of_network(Context& context, const Tensor& y);

/// Bytes as floats: x (u8) * factor + shift, f32. Has no gradient.
Tensor from_bytes(Context& context, const Tensor& x, double factor, double shift);
/// softmax of the rows of logits [n, k]. Has no gradient: train with softmax_cross_entropy.
Tensor softmax(Context& context, const Tensor& logits);
/// Whether no element is NaN or infinite.
bool all_finite(Context& context, const Tensor& x);

/// Copies the elements of `source` into the memory of `target`. No gradient. Throws ShapeError if
/// the shapes differ.
void copy(Context& context, const Tensor& source, const Tensor& target);

/// Standard normal numbers: a function of the context's key, `op` and the element's index. They
/// have no gradient. f64 (on the reference device) holds the numbers of f32.
Tensor normal(Context& context, const Shape& shape, std::uint64_t op, DType dtype = DType::kF32);

/// In training, zero with probability `rate` and x / (1 - rate) otherwise; else x itself.
/// 0 <= rate < 1. `op` distinguishes the dropouts of a network: the mask depends on the context's
/// key and on it only.
///
/// Source: Srivastava et al. 2014, "Dropout".
Tensor dropout(Context& context, const Tensor& x, double rate, std::uint64_t op);

/// Softmax and cross entropy of a batch of rows.
struct CrossEntropy {
  Tensor loss;           // []: scale * sum over rows of -weight log p(label); has the history
  Tensor sums;           // [2]: that sum unscaled; rows whose first largest logit is the label
  Tensor probabilities;  // [n, k]
};

/// logits [n, k]
/// labels [n], i32, 0 <= label < k (not checked here: data sets check when they load)
/// scale  usually 1 / (images of the global batch)
/// weights [n], of each row, of the logits' type; has no gradient. Undefined: all are 1
///
/// Throws ShapeError if the extents or types do not fit or n is 0.
CrossEntropy softmax_cross_entropy(Context& context, const Tensor& logits, const Tensor& labels,
                                   double scale, const Tensor& weights = {});

/// Sigmoid and cross entropy of a batch of rows.
struct SigmoidCrossEntropy {
  Tensor loss;  // []: scale * sum over rows; has the history
  Tensor rows;  // [n]: of each row, nats, unscaled
};

/// logits  [n, k]
/// targets [n, k], probabilities; have no gradient
/// scale   usually 1 / (images of the global batch)
///
/// Throws ShapeError if the extents do not fit or are 0.
SigmoidCrossEntropy sigmoid_cross_entropy(Context& context, const Tensor& logits,
                                          const Tensor& targets, double scale);
/// The same with one target for all logits.
SigmoidCrossEntropy sigmoid_cross_entropy(Context& context, const Tensor& logits, double target,
                                          double scale);

/// Squared distances of a batch from what it should be.
struct SquaredError {
  Tensor loss;  // []: scale * sum over rows; has the history
  Tensor rows;  // [n]: of each image the sum over its elements of (x - target)^2, unscaled
};

/// x      [n, ...]
/// target as x, or one number for all elements: a constant, into which no gradient goes even if it
///        has a history
/// scale  usually 1 / (elements of the global batch): the mean
///
/// Throws ShapeError if the shapes differ, x has no axis or no elements.
SquaredError squared_error(Context& context, const Tensor& x, const Tensor& target, double scale);
SquaredError squared_error(Context& context, const Tensor& x, double target, double scale);

/// A sample of the normal distribution that an encoder gives for each image.
struct GaussianSample {
  Tensor z;     // [n, k] = mean + standard deviation * noise; has the history
  Tensor rows;  // [n]: divergence of the distribution from N(0, I), nats
};

/// latent [n, 2 k]: means, then logarithms of variances
/// noise  [n, k], standard normal; has no gradient
/// scale  of the divergence in the loss: its gradient joins what comes back through z, so that the
///        loss that backward begins with must not hold it again
///
/// Throws ShapeError if the extents do not fit or are 0.
/// Source: Kingma and Welling 2014, arXiv:1312.6114.
GaussianSample gaussian_sample(Context& context, const Tensor& latent, const Tensor& noise,
                               double scale);

}  // namespace gentrain::ops
