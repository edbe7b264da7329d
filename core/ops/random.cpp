// Noise and dropout.
#include "kernels/random.h"

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::ops {

Tensor normal(Context& context, const Shape& shape, std::uint64_t op, DType dtype) {
  Tensor y = Tensor::empty(context.device, shape, dtype);
  RandomKernels& random = context.device.random();
  if (context.shards == nullptr) {
    random.normal(context.queue, context.key.fold(op), 0, 1, y.view());
    return y;
  }
  const auto& [rows, keys] = *context.shards;
  const std::int64_t n = shape.rank() == 0 ? 0 : shape[0];
  check_shards("normal", rows, n);
  const std::int64_t row = n == 0 ? 0 : shape.elements() / n;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] > 0) {
      const Tensor part = y.slice(first * row, {rows[i] * row});
      random.normal(context.queue, keys[i].fold(op), 0, 1, part.view());
    }
    first += rows[i];
  }
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
  one_shard_only(context, "dropout");
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
