// Losses.
#include "kernels/loss.h"

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "core/ops/parts.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/reduce.h"

namespace gentrain::ops {

namespace {

/// The gradient of a loss: 1 at the end of the graph unless losses were weighted and added.
double value_of(Device& device, Queue& queue, const Tensor& dy) {
  return dy.dtype() == DType::kF64 ? copy_to_host<double>(device, queue, dy)[0]
                                   : static_cast<double>(copy_to_host<float>(device, queue, dy)[0]);
}

Tensor constant_like(Context& context, const Tensor& x, double value) {
  Tensor result = Tensor::empty(context.device, x.shape(), x.dtype());
  context.device.elementwise().fill(context.queue, value, result.view());
  return result;
}

}  // namespace

CrossEntropy softmax_cross_entropy(Context& context, const Tensor& logits, const Tensor& labels,
                                   double scale, const Tensor& weights) {
  one_shard_only(context, "softmax_cross_entropy");
  const Shape& shape = logits.shape();
  if (shape.rank() != 2 || shape[0] < 1 || shape[1] < 1 || labels.shape() != Shape{shape[0]} ||
      labels.dtype() != DType::kI32) {
    throw ShapeError(
        fmt::format("softmax_cross_entropy: logits must be [n, k] with n >= 1 and labels [n] of "
                    "i32, but they are {} and {} of {}",
                    shape.str(), labels.shape().str(), name_of(labels.dtype())));
  }
  if (weights.defined() &&
      (weights.shape() != Shape{shape[0]} || weights.dtype() != logits.dtype())) {
    throw ShapeError(fmt::format(
        "softmax_cross_entropy: weights must be [{}] of {}, but are {} of "
        "{}",
        shape[0], name_of(logits.dtype()), weights.shape().str(), name_of(weights.dtype())));
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  CrossEntropy result;
  result.probabilities = Tensor::empty(device, shape, logits.dtype());
  result.sums = Tensor::empty(device, {2}, logits.dtype());
  device.loss().softmax_cross_entropy(queue, logits.cview(), labels.cview(), optional(weights),
                                      result.probabilities.view(), result.sums.view());
  result.loss = Tensor::empty(device, {}, logits.dtype());
  device.elementwise().scale(queue, scale, result.sums.slice(0, {}).cview(), result.loss.view());
  if (context.tape != nullptr) {
    context.tape->record("softmax_cross_entropy", result.loss, {logits},
                         [&device, &queue, labels, weights, scale,
                          probabilities = result.probabilities](const Tensor& dy, GradSink& sink) {
                           const Tensor dlogits = sink.make(0);
                           device.loss().softmax_cross_entropy_backward(
                               queue, probabilities.cview(), labels.cview(), optional(weights),
                               scale * value_of(device, queue, dy), dlogits.view());
                           sink.put(0, dlogits);
                         });
  }
  return result;
}

SigmoidCrossEntropy sigmoid_cross_entropy(Context& context, const Tensor& logits,
                                          const Tensor& targets, double scale) {
  const Shape& shape = logits.shape();
  if (shape.rank() != 2 || shape.elements() == 0 || targets.shape() != shape) {
    throw ShapeError(fmt::format(
        "sigmoid_cross_entropy: logits and targets must be [n, k], both at least 1, but they are "
        "{} and {}",
        shape.str(), targets.shape().str()));
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  SigmoidCrossEntropy result;
  result.rows = Tensor::empty(device, {shape[0]}, logits.dtype());
  device.loss().sigmoid_cross_entropy(queue, logits.cview(), targets.cview(), result.rows.view());
  result.loss = Tensor::empty(device, {}, logits.dtype());
  device.reduce().sum(queue, result.rows.cview(), result.loss.view());
  device.elementwise().scale(queue, scale, result.loss.cview(), result.loss.view());
  if (context.tape != nullptr) {
    context.tape->record(
        "sigmoid_cross_entropy", result.loss, {logits},
        [&device, &queue, logits, targets, scale](const Tensor& dy, GradSink& sink) {
          const Tensor dlogits = sink.make(0);
          device.loss().sigmoid_cross_entropy_backward(queue, logits.cview(), targets.cview(),
                                                       scale * value_of(device, queue, dy),
                                                       dlogits.view());
          sink.put(0, dlogits);
        });
  }
  return result;
}

SigmoidCrossEntropy sigmoid_cross_entropy(Context& context, const Tensor& logits, double target,
                                          double scale) {
  return sigmoid_cross_entropy(context, logits, constant_like(context, logits, target), scale);
}

SquaredError squared_error(Context& context, const Tensor& x, const Tensor& target, double scale) {
  if (x.shape().rank() == 0 || x.elements() == 0 || target.shape() != x.shape()) {
    throw ShapeError(fmt::format(
        "squared_error: x and target must have the same shape [n, ...] that is not empty, but they "
        "are {} and {}",
        x.shape().str(), target.shape().str()));
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  const std::int64_t n = x.shape()[0];
  const Shape rows{n, x.elements() / n};
  const Tensor values = x.reshaped(rows);
  const Tensor wanted = target.reshaped(rows);
  SquaredError result;
  result.rows = Tensor::empty(device, {n}, x.dtype());
  device.loss().squared_error(queue, values.cview(), wanted.cview(), result.rows.view());
  result.loss = Tensor::empty(device, {}, x.dtype());
  device.reduce().sum(queue, result.rows.cview(), result.loss.view());
  device.elementwise().scale(queue, scale, result.loss.cview(), result.loss.view());
  if (context.tape != nullptr) {
    context.tape->record(
        "squared_error", result.loss, {x},
        [&device, &queue, values, wanted, scale](const Tensor& dy, GradSink& sink) {
          const Tensor dx = sink.make(0);
          device.loss().squared_error_backward(queue, values.cview(), wanted.cview(),
                                               scale * value_of(device, queue, dy),
                                               dx.reshaped(values.shape()).view());
          sink.put(0, dx);
        });
  }
  return result;
}

SquaredError squared_error(Context& context, const Tensor& x, double target, double scale) {
  return squared_error(context, x, constant_like(context, x, target), scale);
}

GaussianSample gaussian_sample(Context& context, const Tensor& latent, const Tensor& noise,
                               double scale) {
  const Shape& shape = noise.shape();
  if (shape.rank() != 2 || shape.elements() == 0 ||
      latent.shape() != Shape{shape[0], 2 * shape[1]}) {
    throw ShapeError(fmt::format(
        "gaussian_sample: latent must be [n, 2 k] and noise [n, k], both at least 1, but they are "
        "{} and {}",
        latent.shape().str(), shape.str()));
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  GaussianSample result;
  result.z = Tensor::empty(device, shape, latent.dtype());
  result.rows = Tensor::empty(device, {shape[0]}, latent.dtype());
  device.loss().gaussian_sample(queue, latent.cview(), noise.cview(), result.z.view(),
                                result.rows.view());
  if (context.tape != nullptr) {
    context.tape->record("gaussian_sample", result.z, {latent},
                         [&device, &queue, latent, noise, scale](const Tensor& dz, GradSink& sink) {
                           const Tensor dlatent = sink.make(0);
                           device.loss().gaussian_sample_backward(queue, latent.cview(),
                                                                  noise.cview(), dz.cview(), scale,
                                                                  dlatent.view());
                           sink.put(0, dlatent);
                         });
  }
  return result;
}

Tensor softmax(Context& context, const Tensor& logits) {
  if (logits.shape().rank() != 2) {
    throw ShapeError(
        fmt::format("softmax: logits must be [n, k] but are {}", logits.shape().str()));
  }
  Tensor probabilities = Tensor::empty(context.device, logits.shape(), logits.dtype());
  context.device.loss().softmax(context.queue, logits.cview(), probabilities.view());
  return probabilities;
}

}  // namespace gentrain::ops
