// Convolutions by columns: the rule, the weights' layouts once per version, scratch.
#include "kernels/cpu/conv_columns.h"

#include <functional>

#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

/// The weights that reach a pixel depend on strides and padding.
Layout turned_layout(const ConvGeometry& g) {
  const auto part = [](std::int64_t value, int shift) {
    return static_cast<Layout>(value) << shift;
  };
  return kTurnedColumnsLayout | part(g.stride_h, 8) | part(g.stride_w, 16) |
         part(g.top % g.stride_h, 24) | part(g.left % g.stride_w, 32);
}

}  // namespace

ConvColumns::ConvColumns(const Backend& backend)
    : table_(backend.simd->conv_columns), gemm_(backend.simd->gemm), weights_(*backend.weights) {}

simd::ConvColumnsShape ConvColumns::shape_of(const ConvGeometry& g) {
  return {g.n,  g.h,  g.w,        g.c,        g.oh(), g.ow(), g.oc,
          g.kh, g.kw, g.stride_h, g.stride_w, g.top,  g.left};
}

// Measured on one thread of a Zen 3 core (tests/bench/conv_columns_bench.cpp), against oneDNN's
// direct convolution, which reads NHWC images of many channels slowly:
// - Gradients of weights from 3 channels to 64 win 1.4 to 2.7 on maps of 96x96, where oneDNN waits
//   for memory; they are even on 24x24, and lose with 32 result channels and fewer.
// - With stride 2 forward wins 1.4 to 2.4 from 16 channels on, gradients of weights 1.1 to 2.2 from
//   64 on (16: 0.8), those of images 0.9 to 2.0 from 64 on (16: 0.5). Two threads widen that. A
//   kernel of 1x1 wins in the gradients of weights alone.
// - Kernels of 9x9 forward: 1.2 to 1.6 from 3 channels to 64, and 14 from 64 to 3, for which oneDNN
//   has no vector kernel. The gradients of images lose in both.
bool ConvColumns::wins(Operation operation, const ConvGeometry& g) {
  if (!g.plain()) {
    return false;
  }
  if (operation == Operation::kConvBackwardWeights && g.c <= 4) {
    return g.oc >= 64 && g.n * g.oh() * g.ow() >= 4096;
  }
  if (operation == Operation::kConvForward && g.kh * g.kw >= 81) {
    return (g.c <= 4 && g.oc >= 64) || (g.c >= 64 && g.oc <= 4);
  }
  const std::int64_t least = operation == Operation::kConvForward ? 16 : 64;
  const bool kernel = g.kh * g.kw > 1 || operation == Operation::kConvBackwardWeights;
  return kernel && g.stride_h == 2 && g.stride_w == 2 && g.c >= least && g.oc >= least;
}

void ConvColumns::forward(CpuQueue& queue, const ConvGeometry& g, ConstView x, const Weights& w,
                          ConstView bias, Activation activation, View y) const {
  const simd::ConvColumnsShape shape = shape_of(g);
  const std::int64_t taps = simd::taps_of(shape);
  const auto pack = [&](float* to) { gemm_.pack_transposed(w.values.as<float>(), g.oc, taps, to); };
  const PackedWeights packed(queue, weights_,
                             {w, kPackedLayout, gemm_.packed_floats(g.oc, taps), std::ref(pack)},
                             static_cast<std::size_t>(table_.forward_scratch(shape)));
  table_.forward(shape,
                 {x.as<float>(), packed.weights(), bias.as<float>(), static_cast<int>(activation),
                  y.as<float>()},
                 packed.work());
}

void ConvColumns::backward_data(CpuQueue& queue, const ConvGeometry& g, ConstView dy,
                                const Weights& w, View dx) const {
  const simd::ConvColumnsShape shape = shape_of(g);
  const auto pack = [&](float* to) { table_.pack_turned(shape, w.values.as<float>(), to); };
  const PackedWeights packed(queue, weights_,
                             {w, turned_layout(g), table_.turned_floats(shape), std::ref(pack)},
                             static_cast<std::size_t>(table_.backward_data_scratch(shape)));
  table_.backward_data(shape, dy.as<float>(), packed.weights(), dx.as<float>(), packed.work());
}

void ConvColumns::backward_weights(CpuQueue& queue, const ConvGeometry& g, ConstView x,
                                   ConstView dy, View dw, View dbias) const {
  const simd::ConvColumnsShape shape = shape_of(g);
  const std::int64_t bytes = table_.backward_weights_scratch(shape);
  table_.backward_weights(shape, x.as<float>(), dy.as<float>(), dw.as<float>(), dbias.as<float>(),
                          queue.scratch(static_cast<std::size_t>(bytes)));
}

}  // namespace gentrain::cpu
