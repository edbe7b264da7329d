// Transposed convolution: the passes of a convolution with the roles of images and results
// exchanged. A convolution's kernels have no bias on that side, so those of normalisation add it.
#include <optional>

#include <fmt/format.h>

#include "core/ops/conv.h"
#include "core/ops/parts.h"
#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/norm.h"

namespace gentrain::ops {

namespace {

void check_channels(const Tensor& x, const Tensor& weights, const Tensor& bias,
                    std::int64_t groups) {
  const Shape& xs = x.shape();
  const Shape& ws = weights.shape();
  if (xs.rank() != 4 || ws.rank() != 4) {
    throw ShapeError(
        fmt::format("conv2d_transpose: x must be [n, h, w, c] and weights [c, kh, kw, out / "
                    "groups], but they are {} and {}",
                    xs.str(), ws.str()));
  }
  if (weights.elements() == 0) {
    throw ShapeError(fmt::format("conv2d_transpose: weights {} have no elements", ws.str()));
  }
  if (ws[0] != xs[3]) {
    throw ShapeError(
        fmt::format("conv2d_transpose: weights have {} input channels but x has {}", ws[0], xs[3]));
  }
  if (groups < 1 || groups > xs[3] || xs[3] % groups != 0) {
    throw ShapeError(fmt::format("conv2d_transpose: {} groups do not divide the {} channels of x",
                                 groups, xs[3]));
  }
  if (const Shape out{ws[3] * groups}; bias.defined() && bias.shape() != out) {
    throw ShapeError(fmt::format("conv2d_transpose: bias must have shape {} but has {}", out.str(),
                                 bias.shape().str()));
  }
}

/// The convolution from the result to x.
ConvGeometry geometry_of(const Tensor& x, const Tensor& weights,
                         const ConvTransposeOptions& options) {
  const Shape& xs = x.shape();
  const Shape& ws = weights.shape();
  if (options.to_h < 1 || options.to_w < 1) {
    throw ShapeError(
        fmt::format("conv2d_transpose: a result of {} x {} pixels, at least 1 x 1 needed",
                    options.to_h, options.to_w));
  }
  ConvGeometry geometry = geometry_of_kernel(ws, options);
  geometry.n = xs[0];
  geometry.h = options.to_h;
  geometry.w = options.to_w;
  geometry.c = ws[3] * options.groups;
  check(geometry);
  if (geometry.oh() != xs[1] || geometry.ow() != xs[2]) {
    throw ShapeError(fmt::format(
        "conv2d_transpose: a convolution of {} x {} pixels gives {} x {}, but x has {} x {}",
        options.to_h, options.to_w, geometry.oh(), geometry.ow(), xs[1], xs[2]));
  }
  return geometry;
}

/// Adds a value to each channel: the normalisation with mean 0 and variance 0, whose epsilon of 1
/// makes the divisor exactly 1.
class ChannelBias {
 public:
  ChannelBias(Device& device, Queue& queue, const Tensor& bias)
      : device_(device),
        queue_(queue),
        bias_(bias),
        zeros_(Tensor::empty(device, bias.shape(), bias.dtype())) {
    device.elementwise().fill(queue, 0, zeros_.view());
  }

  void add_to(const Tensor& y) const {
    const NormSources sources{.x = y.cview(),
                              .mean = zeros_.cview(),
                              .variance = zeros_.cview(),
                              .gamma = {},
                              .beta = bias_.cview(),
                              .residual = {}};
    device_.norm().normalize(queue_, kRule, sources, y.view());
  }

  /// db = sum of dy over its pixels
  void gradient(const Tensor& dy, const Tensor& db) const {
    const NormGradientSources sources{.x = dy.cview(),
                                      .y = {},
                                      .dy = dy.cview(),
                                      .mean = zeros_.cview(),
                                      .variance = zeros_.cview(),
                                      .gamma = {}};
    device_.norm().normalize_backward(
        queue_, kRule, sources, {.dx = {}, .dgamma = {}, .dbeta = db.view(), .dresidual = {}});
  }

 private:
  static constexpr NormRule kRule{.epsilon = 1, .slope = 1, .of_batch = false};

  Device& device_;
  Queue& queue_;
  Tensor bias_, zeros_;
};

/// What the backward pass reads.
struct TransposePass {
  Device& device;
  Queue& queue;
  ConvGeometry geometry;  // images are the result, results are x
  Tensor x, weights;
  std::optional<ChannelBias> bias;

  void backward(const Tensor& dy, GradSink& sink) const {
    if (sink.wants(1)) {
      const Tensor dw = sink.make(1);
      device.conv().backward_weights(queue, geometry, dy.cview(), x.cview(), dw.view(), {});
      sink.put(1, dw);
    }
    if (sink.wants(2)) {
      const Tensor db = sink.make(2);
      bias->gradient(dy, db);
      sink.put(2, db);
    }
    if (sink.wants(0)) {
      const Tensor dx = sink.make(0);
      device.conv().forward(queue, geometry, dy.cview(), weights.weights(), {}, Activation::kNone,
                            dx.view());
      sink.put(0, dx);
    }
  }
};

}  // namespace

Tensor conv2d_transpose(Context& context, const Tensor& x, const Tensor& weights,
                        const Tensor& bias, const ConvTransposeOptions& options) {
  one_shard_only(context, "conv2d_transpose");
  check_channels(x, weights, bias, options.groups);
  TransposePass pass{.device = context.device,
                     .queue = context.queue,
                     .geometry = geometry_of(x, weights, options),
                     .x = x,
                     .weights = weights,
                     .bias = {}};
  Tensor y = Tensor::empty(pass.device, pass.geometry.x_shape(), x.dtype());
  pass.device.conv().backward_data(pass.queue, pass.geometry, x.cview(), weights.weights(),
                                   y.view());
  if (bias.defined()) {
    pass.bias.emplace(pass.device, pass.queue, bias);
    pass.bias->add_to(y);
  }
  if (context.tape != nullptr) {
    context.tape->record("conv2d_transpose", y, {x, weights, bias},
                         [pass](const Tensor& dy, GradSink& sink) { pass.backward(dy, sink); });
  }
  return y;
}

}  // namespace gentrain::ops
