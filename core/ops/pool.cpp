// Max and average pooling.
#include "kernels/pool.h"

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::ops {

namespace {

PoolGeometry geometry_of(const char* op, const Tensor& x, Window window, Stride stride,
                         Padding padding) {
  const Shape& xs = x.shape();
  if (xs.rank() != 4) {
    throw ShapeError(fmt::format("{}: x must be [n, h, w, c] but is {}", op, xs.str()));
  }
  const PoolGeometry geometry{.n = xs[0],
                              .h = xs[1],
                              .w = xs[2],
                              .c = xs[3],
                              .kh = window.h,
                              .kw = window.w,
                              .stride_h = stride.h,
                              .stride_w = stride.w,
                              .top = padding.top,
                              .bottom = padding.bottom,
                              .left = padding.left,
                              .right = padding.right};
  check(geometry);
  return geometry;
}

}  // namespace

Tensor max_pool2d(Context& context, const Tensor& x, Window window, Stride stride,
                  Padding padding) {
  const PoolGeometry geometry = geometry_of("max_pool2d", x, window, stride, padding);
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, geometry.y_shape(), x.dtype());
  const Tensor argmax = Tensor::empty(device, geometry.y_shape(), DType::kU8);
  device.pool().max_forward(queue, geometry, x.cview(), y.view(), argmax.view());
  if (context.tape != nullptr) {
    context.tape->record("max_pool2d", y, {x},
                         [&device, &queue, geometry, argmax](const Tensor& dy, GradSink& sink) {
                           const Tensor dx = sink.make(0);
                           device.pool().max_backward(queue, geometry, dy.cview(), argmax.cview(),
                                                      dx.view());
                           sink.put(0, dx);
                         });
  }
  return y;
}

Tensor average_pool2d(Context& context, const Tensor& x, Window window, Stride stride,
                      Padding padding) {
  const PoolGeometry geometry = geometry_of("average_pool2d", x, window, stride, padding);
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, geometry.y_shape(), x.dtype());
  device.pool().average_forward(queue, geometry, x.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record("average_pool2d", y, {x},
                         [&device, &queue, geometry](const Tensor& dy, GradSink& sink) {
                           const Tensor dx = sink.make(0);
                           device.pool().average_backward(queue, geometry, dy.cview(), dx.view());
                           sink.put(0, dx);
                         });
  }
  return y;
}

}  // namespace gentrain::ops
