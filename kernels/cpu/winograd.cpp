// Winograd's convolutions: the rule, the weights' transforms once per version, scratch.
#include "kernels/cpu/winograd.h"

#include <algorithm>
#include <functional>

#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

simd::WinogradShape shape_of(const ConvGeometry& g) {
  return {g.n, g.h, g.w, g.c, g.oh(), g.ow(), g.oc, g.top, g.left};
}

/// Of the convolution of dy with the turned weights, which gives dx.
simd::WinogradShape turned_shape_of(const ConvGeometry& g) {
  return {g.n, g.oh(), g.ow(), g.oc, g.h, g.w, g.c, 2 - g.top, 2 - g.left};
}

}  // namespace

Winograd::Winograd(const Backend& backend)
    : table_(backend.simd->winograd), weights_(*backend.weights) {}

// Measured on one thread of a Zen 3 core (tests/bench/winograd_bench.cpp), against oneDNN's direct
// convolution. A tile costs as much as 36 of the 144 products that its 16 results have by
// definition, and with the transforms around it as much as 6 to 9 of those results:
// - Maps whose tiles reach far over the edge win nothing: 5x5 (6 results a tile) is even, 6x6 (9)
//   lies between 0.7 and 1.5, 7x7 (12) between 1.1 and 2.4 where there are 32 channels.
// - Reading the weights, four times those of the definition, costs as much as one tile for every
//   256 x 256 channels: with 512 channels four tiles lose, nine win 1.4.
// - Channels to sum over: 16 to 16 win 2; with 3 the transform of the results eats more than is
//   gained (0.4 to 0.7). Channels to compute: 3 win 1.6 to 3.3, since oneDNN is slow there.
// - Gradients of weights store and transform one sum for each of those weights as well: four tiles
//   win or lose, nine win at least 1.5.
bool Winograd::wins(Operation operation, const ConvGeometry& g) {
  constexpr std::int64_t kLeastResults = 10;       // of a tile
  constexpr std::int64_t kWeightsOfATile = 65536;  // pairs of channels
  constexpr std::int64_t kLeastInputs = 16;        // channels
  constexpr std::int64_t kLeastOutputs = 3;
  const bool possible = g.plain() && g.kh == 3 && g.kw == 3 && g.stride_h == 1 && g.stride_w == 1 &&
                        std::max({g.top, g.bottom, g.left, g.right}) <= 2;
  // Backward by data computes the image's tiles from the results.
  const bool to_image = operation == Operation::kConvBackwardData;
  const std::int64_t inputs = to_image ? g.oc : g.c;
  const std::int64_t outputs = to_image ? g.c : g.oc;
  if (!possible || inputs < kLeastInputs || outputs < kLeastOutputs) {
    return false;
  }
  const std::int64_t h = to_image ? g.h : g.oh();
  const std::int64_t w = to_image ? g.w : g.ow();
  const std::int64_t tiles = g.n * ((h + 3) / 4) * ((w + 3) / 4);
  const std::int64_t least = operation == Operation::kConvBackwardWeights ? 8 : 4;
  return tiles >= least && g.n * h * w >= kLeastResults * (tiles + g.c * g.oc / kWeightsOfATile);
}

void Winograd::forward(CpuQueue& queue, const ConvGeometry& g, ConstView x, const Weights& w,
                       ConstView bias, Activation activation, View y) const {
  const auto pack = [&](float* packed) { table_.pack(w.values.as<float>(), g.oc, g.c, packed); };
  const simd::WinogradShape shape = shape_of(g);
  convolve(queue, shape,
           {w, kWinogradLayout, table_.packed_floats(shape.c, shape.oc), std::ref(pack)},
           {x.as<float>(), nullptr, bias.as<float>(), static_cast<int>(activation), y.as<float>(),
            nullptr});
}

void Winograd::backward_data(CpuQueue& queue, const ConvGeometry& g, ConstView dy, const Weights& w,
                             View dx) const {
  const auto pack = [&](float* packed) {
    table_.pack_turned(w.values.as<float>(), g.oc, g.c, packed);
  };
  const simd::WinogradShape shape = turned_shape_of(g);
  convolve(queue, shape,
           {w, kTurnedWinogradLayout, table_.packed_floats(shape.c, shape.oc), std::ref(pack)},
           {dy.as<float>(), nullptr, nullptr, static_cast<int>(Activation::kNone), dx.as<float>(),
            nullptr});
}

void Winograd::backward_weights(CpuQueue& queue, const ConvGeometry& g, ConstView x, ConstView dy,
                                View dw, View dbias) const {
  const simd::WinogradShape shape = shape_of(g);
  const std::int64_t bytes = table_.backward_weights_scratch(shape);
  table_.backward_weights(shape, x.as<float>(), dy.as<float>(), dw.as<float>(), dbias.as<float>(),
                          queue.scratch(static_cast<std::size_t>(bytes)));
}

void Winograd::convolve(CpuQueue& queue, const simd::WinogradShape& shape, const Packing& packing,
                        simd::WinogradCall call) const {
  const PackedWeights packed(queue, weights_, packing,
                             static_cast<std::size_t>(table_.forward_scratch(shape)));
  call.scratch = packed.work();
  call.weights = packed.weights();
  table_.forward(shape, call);
}

}  // namespace gentrain::cpu
