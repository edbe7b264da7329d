// Dense layers.
#include <fmt/format.h>

#include "core/ops/ops.h"
#include "core/ops/parts.h"
#include "kernels/error.h"
#include "kernels/matmul.h"

namespace gentrain::ops {

namespace {

void check_linear(const Tensor& x, const Tensor& weights, const Tensor& bias) {
  const Shape& xs = x.shape();
  const Shape& ws = weights.shape();
  if (xs.rank() != 2 || ws.rank() != 2) {
    throw ShapeError(fmt::format(
        "linear: x must be [n, k] and weights [m, k], but they are {} and {}", xs.str(), ws.str()));
  }
  if (xs[0] < 1) {
    throw ShapeError(fmt::format("linear: x {} has no rows", xs.str()));
  }
  if (ws[1] != xs[1]) {
    throw ShapeError(fmt::format("linear: weights take {} inputs but x has {}", ws[1], xs[1]));
  }
  if (bias.defined() && bias.shape() != Shape{ws[0]}) {
    throw ShapeError(
        fmt::format("linear: bias must have shape [{}] but has {}", ws[0], bias.shape().str()));
  }
}

}  // namespace

Tensor linear(Context& context, const Tensor& x, const Tensor& weights, const Tensor& bias,
              Activation activation) {
  check_linear(x, weights, bias);
  Device& device = context.device;
  Queue& queue = context.queue;
  const ShardRows shards = context.shards == nullptr ? ShardRows{} : context.shards->rows;
  Tensor y = Tensor::empty(device, {x.shape()[0], weights.shape()[0]}, x.dtype());
  device.matmul().linear_forward(queue, x.cview(), weights.weights(), optional(bias), activation,
                                 y.view(), shards);
  if (context.tape == nullptr) {
    return y;
  }
  context.tape->record(
      "linear", y, {x, weights, bias},
      [&device, &queue, activation, x, weights, shards,
       y = activation == Activation::kNone ? Tensor{} : y](const Tensor& dy, GradSink& sink) {
        const Tensor dz = before_activation(device, queue, activation, y, dy);
        put_weight_gradients(sink, [&](View dw, View db) {
          device.matmul().linear_backward_weights(queue, x.cview(), dz.cview(), dw, db, shards);
        });
        if (sink.wants(0)) {
          const Tensor dx = sink.make(0);
          device.matmul().linear_backward_data(queue, dz.cview(), weights.weights(), dx.view(),
                                               shards);
          sink.put(0, dx);
        }
      });
  return y;
}

}  // namespace gentrain::ops
