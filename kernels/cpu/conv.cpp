// Convolutions: 3x3, 1x7, 7x1 and the like by own Winograd kernels where they win, others by an own
// matrix product of windows where that wins, the rest by oneDNN's direct one, single-threaded;
// small ones that a 2x2 max pooling follows by an own fused kernel. Groups and dilation are
// oneDNN's alone. Behind it activations are own passes: its own differ from the contract's (and its
// ReLU turns NaN into 0).
#include "kernels/conv.h"

#include <fmt/format.h>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/conv_columns.h"
#include "kernels/cpu/conv_rule.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/winograd.h"
#include "kernels/cpu/winograd_line.h"
#include "kernels/error.h"

namespace gentrain::cpu {

namespace {

class Conv final : public ConvKernels {
 public:
  explicit Conv(const Backend& backend)
      : simd_(*backend.simd),
        onednn_(*backend.onednn),
        winograd_(backend),
        lines_(backend),
        columns_(backend) {}

  void forward(Queue& queue, const ConvGeometry& g, ConstView x, const Weights& w, ConstView bias,
               Activation activation, View y) override {
    check(g);
    const Arguments arguments("convolution forward");
    arguments.require("x", x, g.x_shape());
    arguments.require("w", w.values, g.w_shape());
    require_bias(arguments, "bias", g, bias);
    arguments.require("y", y, g.y_shape());
    switch (conv_kind(Operation::kConvForward, g)) {
      case ConvKind::kWinograd:
        winograd_.forward(cpu_queue(queue), g, x, w, bias, activation, y);
        break;
      case ConvKind::kWinogradLine:
        lines_.forward(cpu_queue(queue), g, x, w, bias, activation, y);
        break;
      case ConvKind::kColumns:
        columns_.forward(cpu_queue(queue), g, x, w, bias, activation, y);
        break;
      case ConvKind::kOneDnn:
        const Program& program = onednn_.conv(Operation::kConvForward, g, bias.present());
        onednn_.execute(program, cpu_queue(queue),
                        {x.data, w.values.data, bias.data, y.data, w.version});
        if (activation != Activation::kNone) {
          simd_.elementwise.activate(static_cast<int>(activation), y.as<float>(), y.as<float>(),
                                     y.elements());
        }
    }
  }

  void backward_data(Queue& queue, const ConvGeometry& g, ConstView dy, const Weights& w,
                     View dx) override {
    check(g);
    const Arguments arguments("convolution backward data");
    arguments.require("dy", dy, g.y_shape());
    arguments.require("w", w.values, g.w_shape());
    arguments.require("dx", dx, g.x_shape());
    switch (conv_kind(Operation::kConvBackwardData, g)) {
      case ConvKind::kWinograd:
        winograd_.backward_data(cpu_queue(queue), g, dy, w, dx);
        break;
      case ConvKind::kWinogradLine:
        lines_.backward_data(cpu_queue(queue), g, dy, w, dx);
        break;
      case ConvKind::kColumns:
        columns_.backward_data(cpu_queue(queue), g, dy, w, dx);
        break;
      case ConvKind::kOneDnn:
        const Program& program = onednn_.conv(Operation::kConvBackwardData, g, false);
        onednn_.execute(program, cpu_queue(queue),
                        {dx.data, w.values.data, nullptr, dy.data, w.version});
    }
  }

  void backward_weights(Queue& queue, const ConvGeometry& g, ConstView x, ConstView dy, View dw,
                        View dbias) override {
    check(g);
    const Arguments arguments("convolution backward weights");
    arguments.require("x", x, g.x_shape());
    arguments.require("dy", dy, g.y_shape());
    arguments.require("dw", dw, g.w_shape());
    require_bias(arguments, "dbias", g, dbias);
    switch (conv_kind(Operation::kConvBackwardWeights, g)) {
      case ConvKind::kWinograd:
        winograd_.backward_weights(cpu_queue(queue), g, x, dy, dw, dbias);
        break;
      case ConvKind::kColumns:
        columns_.backward_weights(cpu_queue(queue), g, x, dy, dw, dbias);
        break;
      case ConvKind::kWinogradLine:  // takes no gradients of weights
      case ConvKind::kOneDnn:
        const Program& program = onednn_.conv(Operation::kConvBackwardWeights, g, dbias.present());
        onednn_.execute(program, cpu_queue(queue), {x.data, dw.data, dbias.data, dy.data, 0});
    }
  }

  [[nodiscard]] bool fuses_max_pool(const ConvGeometry& g) const override {
    const bool bare = g.plain() && g.stride_h == 1 && g.stride_w == 1 && g.top == 0 &&
                      g.bottom == 0 && g.left == 0 && g.right == 0;
    return bare && g.oh() >= 2 && g.ow() >= 2 && simd_.conv_pool.takes(fused_shape(g));
  }

  void pool_forward(Queue& queue, const ConvGeometry& g, ConstView x, const Weights& w,
                    ConstView bias, Activation activation, PooledViews result) override {
    const Arguments arguments("fused convolution and max pooling forward");
    require_fused(g);
    arguments.require("x", x, g.x_shape());
    arguments.require("w", w.values, g.w_shape());
    require_bias(arguments, "bias", g, bias);
    arguments.require("y", result.y, g.pooled_shape());
    arguments.require("argmax", result.argmax, g.pooled_shape(), DType::kU8);
    simd_.conv_pool.forward(fused_shape(g), x.as<float>(), w.values.as<float>(), bias.as<float>(),
                            static_cast<int>(activation), result.y.as<float>(),
                            result.argmax.as<std::uint8_t>(), scratch(queue, g));
  }

  void pool_backward_data(Queue& queue, const ConvGeometry& g, ConstView dp, ConstView argmax,
                          const Weights& w, View dx) override {
    const Arguments arguments("fused convolution and max pooling backward data");
    require_fused(g);
    arguments.require("dp", dp, g.pooled_shape());
    arguments.require("argmax", argmax, g.pooled_shape(), DType::kU8);
    arguments.require("w", w.values, g.w_shape());
    arguments.require("dx", dx, g.x_shape());
    simd_.conv_pool.backward_data(fused_shape(g), dp.as<float>(), argmax.as<std::uint8_t>(),
                                  w.values.as<float>(), dx.as<float>(), scratch(queue, g));
  }

  void pool_backward_weights(Queue& queue, const ConvGeometry& g, ConstView x, ConstView dp,
                             ConstView argmax, View dw, View dbias) override {
    const Arguments arguments("fused convolution and max pooling backward weights");
    require_fused(g);
    arguments.require("x", x, g.x_shape());
    arguments.require("dp", dp, g.pooled_shape());
    arguments.require("argmax", argmax, g.pooled_shape(), DType::kU8);
    arguments.require("dw", dw, g.w_shape());
    require_bias(arguments, "dbias", g, dbias);
    simd_.conv_pool.backward_weights(fused_shape(g), x.as<float>(), dp.as<float>(),
                                     argmax.as<std::uint8_t>(), dw.as<float>(), dbias.as<float>(),
                                     scratch(queue, g));
  }

 private:
  static simd::ConvPoolShape fused_shape(const ConvGeometry& g) {
    return {g.n, g.h, g.w, g.c, g.oc, g.kh, g.kw};
  }

  static void require_bias(const Arguments& arguments, std::string_view name, const ConvGeometry& g,
                           ConstView bias) {
    if (bias.present()) {
      arguments.require(name, bias, {g.oc});
    }
  }

  void require_fused(const ConvGeometry& g) const {
    check(g);
    if (!fuses_max_pool(g)) {
      throw ShapeError(fmt::format(
          "convolution of images {} with weights {}, stride {} x {}: not one that is fused with "
          "max pooling",
          g.x_shape().str(), g.w_shape().str(), g.stride_h, g.stride_w));
    }
  }

  void* scratch(Queue& queue, const ConvGeometry& g) const {
    const std::int64_t bytes = simd_.conv_pool.scratch_bytes(fused_shape(g));
    return cpu_queue(queue).scratch(static_cast<std::size_t>(bytes));
  }

  const simd::Kernels& simd_;
  OneDnn& onednn_;
  Winograd winograd_;
  WinogradLine lines_;
  ConvColumns columns_;
};

}  // namespace

ConvKind conv_kind(Operation pass, const ConvGeometry& g) {
  if (Winograd::wins(pass, g)) {
    return ConvKind::kWinograd;
  }
  if (WinogradLine::wins(pass, g)) {
    return ConvKind::kWinogradLine;
  }
  return ConvColumns::wins(pass, g) ? ConvKind::kColumns : ConvKind::kOneDnn;
}

std::string_view name_of(ConvKind kind) {
  switch (kind) {
    case ConvKind::kWinograd:
      return "Winograd";
    case ConvKind::kWinogradLine:
      return "Winograd along lines";
    case ConvKind::kColumns:
      return "columns";
    case ConvKind::kOneDnn:
      break;
  }
  return "oneDNN";
}

std::unique_ptr<ConvKernels> make_conv(const Backend& backend) {
  return std::make_unique<Conv>(backend);
}

}  // namespace gentrain::cpu
