// Convolution, alone and fused with the max pooling behind it.
#include "kernels/conv.h"

#include <fmt/format.h>

#include "core/ops/conv.h"
#include "core/ops/ops.h"
#include "core/ops/parts.h"
#include "kernels/error.h"
#include "kernels/pool.h"

namespace gentrain::ops {

namespace {

void check_input_channels(const char* op, std::int64_t weights, std::int64_t x,
                          std::int64_t groups) {
  if (groups == 1 && weights != x) {
    throw ShapeError(
        fmt::format("{}: weights have {} input channels but x has {}", op, weights, x));
  }
  if (groups < 1 || x % groups != 0 || weights != x / groups) {
    throw ShapeError(
        fmt::format("{}: weights have {} input channels for each of {} groups but x has {}", op,
                    weights, groups, x));
  }
}

ConvGeometry geometry_of(const char* op, const Tensor& x, const Tensor& weights, const Tensor& bias,
                         const ConvOptions& options) {
  if (x.shape().rank() != 4 || weights.shape().rank() != 4) {
    throw ShapeError(fmt::format(
        "{}: x must be [n, h, w, c] and weights [oc, kh, kw, c / groups], but they are {} and {}",
        op, x.shape().str(), weights.shape().str()));
  }
  const Shape& xs = x.shape();
  const Shape& ws = weights.shape();
  check_input_channels(op, ws[3], xs[3], options.groups);
  if (bias.defined() && bias.shape() != Shape{ws[0]}) {
    throw ShapeError(
        fmt::format("{}: bias must have shape [{}] but has {}", op, ws[0], bias.shape().str()));
  }
  ConvGeometry geometry = geometry_of_kernel(ws, options);
  geometry.n = xs[0];
  geometry.h = xs[1];
  geometry.w = xs[2];
  geometry.c = xs[3];
  check(geometry);
  return geometry;
}

}  // namespace

Tensor conv2d(Context& context, const Tensor& x, const Tensor& weights, const Tensor& bias,
              const ConvOptions& options) {
  one_shard_only(context, "conv2d");
  const Activation activation = options.activation;
  const ConvGeometry geometry = geometry_of("conv2d", x, weights, bias, options);
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, geometry.y_shape(), x.dtype());
  device.conv().forward(queue, geometry, x.cview(), weights.weights(), optional(bias), activation,
                        y.view());
  if (context.tape == nullptr) {
    return y;
  }
  context.tape->record(
      "conv2d", y, {x, weights, bias},
      [&device, &queue, geometry, activation, x, weights,
       y = activation == Activation::kNone ? Tensor{} : y](const Tensor& dy, GradSink& sink) {
        const Tensor dz = before_activation(device, queue, activation, y, dy);
        put_weight_gradients(sink, [&](View dw, View db) {
          device.conv().backward_weights(queue, geometry, x.cview(), dz.cview(), dw, db);
        });
        if (sink.wants(0)) {
          const Tensor dx = sink.make(0);
          device.conv().backward_data(queue, geometry, dz.cview(), weights.weights(), dx.view());
          sink.put(0, dx);
        }
      });
  return y;
}

Tensor conv2d_max_pool(Context& context, const Tensor& x, const Tensor& weights, const Tensor& bias,
                       const ConvOptions& options) {
  one_shard_only(context, "conv2d_max_pool");
  const Activation activation = options.activation;
  const ConvGeometry geometry = geometry_of("conv2d_max_pool", x, weights, bias, options);
  Device& device = context.device;
  Queue& queue = context.queue;
  if (geometry.oh() < 2 || geometry.ow() < 2) {
    throw ShapeError(
        fmt::format("conv2d_max_pool: a 2x2 window does not fit into the convolution's result {}",
                    geometry.y_shape().str()));
  }
  if (!device.conv().fuses_max_pool(geometry)) {
    // The activations known here never fall, so pooling first gives the same values.
    ConvOptions plain = options;
    plain.activation = Activation::kNone;
    const Tensor z = conv2d(context, x, weights, bias, plain);
    const Tensor p = max_pool2d(context, z, {2, 2}, {2, 2});
    return activation == Activation::kNone ? p : activate(context, p, activation);
  }
  const Shape pooled = geometry.pooled_shape();
  Tensor y = Tensor::empty(device, pooled, x.dtype());
  const Tensor argmax = Tensor::empty(device, pooled, DType::kU8);
  device.conv().pool_forward(queue, geometry, x.cview(), weights.weights(), optional(bias),
                             activation, {y.view(), argmax.view()});
  if (context.tape == nullptr) {
    return y;
  }
  context.tape->record(
      "conv2d_max_pool", y, {x, weights, bias},
      [&device, &queue, geometry, activation, x, weights, argmax,
       y = activation == Activation::kNone ? Tensor{} : y](const Tensor& dy, GradSink& sink) {
        const Tensor dp = before_activation(device, queue, activation, y, dy);
        put_weight_gradients(sink, [&](View dw, View db) {
          device.conv().pool_backward_weights(queue, geometry, x.cview(), dp.cview(),
                                              argmax.cview(), dw, db);
        });
        if (sink.wants(0)) {
          const Tensor dx = sink.make(0);
          device.conv().pool_backward_data(queue, geometry, dp.cview(), argmax.cview(),
                                           weights.weights(), dx.view());
          sink.put(0, dx);
        }
      });
  return y;
}

}  // namespace gentrain::ops
