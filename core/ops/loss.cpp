// Losses.
#include "kernels/loss.h"

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"

namespace gentrain::ops {

CrossEntropy softmax_cross_entropy(Context& context, const Tensor& logits, const Tensor& labels,
                                   double scale) {
  const Shape& shape = logits.shape();
  if (shape.rank() != 2 || shape[0] < 1 || shape[1] < 1 || labels.shape() != Shape{shape[0]} ||
      labels.dtype() != DType::kI32) {
    throw ShapeError(
        fmt::format("softmax_cross_entropy: logits must be [n, k] with n >= 1 and labels [n] of "
                    "i32, but they are {} and {} of {}",
                    shape.str(), labels.shape().str(), name_of(labels.dtype())));
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  CrossEntropy result;
  result.probabilities = Tensor::empty(device, shape, logits.dtype());
  result.sums = Tensor::empty(device, {2}, logits.dtype());
  device.loss().softmax_cross_entropy(queue, logits.cview(), labels.cview(),
                                      result.probabilities.view(), result.sums.view());
  result.loss = Tensor::empty(device, {}, logits.dtype());
  device.elementwise().scale(queue, scale, result.sums.slice(0, {}).cview(), result.loss.view());
  if (context.tape != nullptr) {
    context.tape->record(
        "softmax_cross_entropy", result.loss, {logits},
        [&device, &queue, labels, scale, probabilities = result.probabilities](const Tensor& dy,
                                                                               GradSink& sink) {
          // The loss is the end of the graph (dy = 1) unless losses were weighted and added.
          const double seed = dy.dtype() == DType::kF64
                                  ? copy_to_host<double>(device, queue, dy)[0]
                                  : static_cast<double>(copy_to_host<float>(device, queue, dy)[0]);
          const Tensor dlogits = sink.make(0);
          device.loss().softmax_cross_entropy_backward(queue, probabilities.cview(), labels.cview(),
                                                       scale * seed, dlogits.view());
          sink.put(0, dlogits);
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
