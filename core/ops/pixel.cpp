// Pixel shuffle, and images made smaller.
#include "kernels/pixel.h"

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "core/ops/parts.h"
#include "kernels/error.h"

namespace gentrain::ops {

Tensor pixel_shuffle(Context& context, const Tensor& x, std::int64_t r, Activation activation) {
  const Shape& xs = x.shape();
  constexpr std::int64_t kLargest = 1 << 20;  // so that its square can be counted
  if (xs.rank() != 4 || xs.elements() == 0 || r < 1 || r > kLargest || xs[3] % (r * r) != 0) {
    throw ShapeError(fmt::format(
        "pixel_shuffle: x must be [n, h, w, c r r], not empty, with r at least 1, but is {} with "
        "r = {}",
        xs.str(), r));
  }
  if (activation != Activation::kNone && activation != Activation::kRelu) {
    return activate(context, pixel_shuffle(context, x, r), activation);
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  const double slope = activation == Activation::kRelu ? 0 : 1;
  Tensor y = Tensor::empty(device, {xs[0], xs[1] * r, xs[2] * r, xs[3] / (r * r)}, x.dtype());
  device.pixel().shuffle(queue, r, slope, x.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record("pixel_shuffle", y, {x},
                         [&device, &queue, r, slope, y = slope == 1 ? Tensor{} : y](
                             const Tensor& dy, GradSink& sink) {
                           const Tensor dx = sink.make(0);
                           device.pixel().shuffle_backward(queue, r, slope, optional(y), dy.cview(),
                                                           dx.view());
                           sink.put(0, dx);
                         });
  }
  return y;
}

Tensor gaussian_shrink(Context& context, const Tensor& x, std::int64_t r, double sigma) {
  const Shape& xs = x.shape();
  if (xs.rank() != 4 || xs.elements() == 0 || r < 1 || xs[1] % r != 0 || xs[2] % r != 0) {
    throw ShapeError(
        fmt::format("gaussian_shrink: x must be [n, h, w, c], not empty, with h and w multiples of "
                    "r, but is {} "
                    "with r = {}",
                    xs.str(), r));
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  const std::int64_t h = xs[1] / r;
  const std::int64_t w = xs[2] / r;
  const Tensor rows = Tensor::empty(device, {xs[0], h, xs[2] * xs[3]}, x.dtype());
  device.pixel().gaussian_shrink(queue, r, sigma, x.reshaped({xs[0], xs[1], xs[2] * xs[3]}).cview(),
                                 rows.view());
  Tensor y = Tensor::empty(device, {xs[0], h, w, xs[3]}, x.dtype());
  device.pixel().gaussian_shrink(queue, r, sigma, rows.reshaped({xs[0] * h, xs[2], xs[3]}).cview(),
                                 y.reshaped({xs[0] * h, w, xs[3]}).view());
  if (context.tape != nullptr) {
    context.tape->record("gaussian_shrink", y, {x}, [](const Tensor& /*dy*/, GradSink& /*sink*/) {
      throw Error("gaussian_shrink has no gradient: it makes images of the input smaller");
    });
  }
  return y;
}

}  // namespace gentrain::ops
