// Noise and dropout.
#include "kernels/random.h"

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::ops {

Tensor normal(Context& context, const Shape& shape, std::uint64_t op, DType dtype) {
  Tensor y = Tensor::empty(context.device, shape, dtype);
  context.device.random().normal(context.queue, context.key.fold(op), 0, 1, y.view());
  return y;
}

Tensor dropout(Context& context, const Tensor& x, double rate, std::uint64_t op) {
  if (!(rate >= 0.0 && rate < 1.0)) {
    throw ShapeError(
        fmt::format("dropout: the rate must be at least 0 and below 1 but is {}", rate));
  }
  if (!context.training || rate == 0.0) {
    return x;
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  const double keep = 1.0 - rate;
  const RngKey key = context.key.fold(op);
  Tensor y = Tensor::empty(device, x.shape(), x.dtype());
  device.random().dropout(queue, key, keep, x.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record("dropout", y, {x},
                         [&device, &queue, key, keep](const Tensor& dy, GradSink& sink) {
                           const Tensor dx = sink.make(0);
                           device.random().dropout(queue, key, keep, dy.cview(), dx.view());
                           sink.put(0, dx);
                         });
  }
  return y;
}

}  // namespace gentrain::ops
