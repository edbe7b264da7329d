// Winograd's convolutions along lines: the rule, shapes, the weights' transforms once per version.
#include "kernels/cpu/winograd_line.h"

#include <functional>

#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

/// Lines run along rows, unless a kernel is one column.
bool along_rows(const ConvGeometry& g) {
  return g.kw > 1;
}

simd::LineImages lines_of(std::int64_t h, std::int64_t w, std::int64_t c, bool rows) {
  return rows ? simd::LineImages{h, w, h * w * c, w * c, c}
              : simd::LineImages{w, h, h * w * c, c, w * c};
}

}  // namespace

WinogradLine::WinogradLine(const Backend& backend)
    : table_(backend.simd->winograd_line), weights_(*backend.weights) {}

simd::LineShape WinogradLine::shape_of(const ConvGeometry& g) {
  const bool rows = along_rows(g);
  return {.n = g.n,
          .c = g.c,
          .oc = g.oc,
          .taps = rows ? g.kw : g.kh,
          .rows = rows ? g.kh : g.kw,
          .from = lines_of(g.h, g.w, g.c, rows),
          .to = lines_of(g.oh(), g.ow(), g.oc, rows),
          .before = rows ? g.left : g.top,
          .above = rows ? g.top : g.left,
          .tap_step = rows ? 1 : g.kw,
          .row_step = rows ? g.kw : 1};
}

simd::LineShape WinogradLine::turned_shape_of(const ConvGeometry& g) {
  const simd::LineShape s = shape_of(g);
  return {.n = s.n,
          .c = s.oc,
          .oc = s.c,
          .taps = s.taps,
          .rows = s.rows,
          .from = s.to,
          .to = s.from,
          .before = s.taps - 1 - s.before,
          .above = s.rows - 1 - s.above,
          .tap_step = s.tap_step,
          .row_step = s.row_step};
}

// Measured on one thread of a Cascade Lake core with 4 and 16 images: from 1.3 times as fast as
// oneDNN's direct convolution (7x1, 192 channels) to 2.4 times (1x3 of 384 channels, 4 images).
bool WinogradLine::wins(Operation operation, const ConvGeometry& g) {
  constexpr std::int64_t kLeastChannels = 16;
  const std::int64_t taps = along_rows(g) ? g.kw : g.kh;
  const bool line = (g.kh == 1) != (g.kw == 1) && (taps == 3 || taps == 5 || taps == 7);
  const bool square = g.kh == 5 && g.kw == 5;
  if (operation == Operation::kConvBackwardWeights || !(line || square) || !g.plain() ||
      g.stride_h != 1 || g.stride_w != 1 || g.c < kLeastChannels || g.oc < kLeastChannels) {
    return false;
  }
  // No more zeros around the image than weights but one see.
  if (g.top >= g.kh || g.bottom >= g.kh || g.left >= g.kw || g.right >= g.kw) {
    return false;
  }
  const bool to_image = operation == Operation::kConvBackwardData;
  const std::int64_t length = along_rows(g) ? (to_image ? g.w : g.ow()) : (to_image ? g.h : g.oh());
  const std::int64_t tiles = (length + 3) / 4;
  // Three of a tile's four results are used.
  return length * 4 >= tiles * 12;
}

void WinogradLine::forward(CpuQueue& queue, const ConvGeometry& g, ConstView x, const Weights& w,
                           ConstView bias, Activation activation, View y) const {
  const simd::LineShape shape = shape_of(g);
  const auto pack = [&](float* packed) { table_.pack(shape, w.values.as<float>(), packed); };
  convolve(queue, shape, {w, kLineLayout, table_.packed_floats(shape), std::ref(pack)},
           {x.as<float>(), nullptr, bias.as<float>(), static_cast<int>(activation), y.as<float>(),
            nullptr});
}

void WinogradLine::backward_data(CpuQueue& queue, const ConvGeometry& g, ConstView dy,
                                 const Weights& w, View dx) const {
  const simd::LineShape shape = turned_shape_of(g);
  const auto pack = [&](float* packed) { table_.pack_turned(shape, w.values.as<float>(), packed); };
  convolve(queue, shape, {w, kTurnedLineLayout, table_.packed_floats(shape), std::ref(pack)},
           {dy.as<float>(), nullptr, nullptr, static_cast<int>(Activation::kNone), dx.as<float>(),
            nullptr});
}

void WinogradLine::convolve(CpuQueue& queue, const simd::LineShape& shape, const Packing& packing,
                            simd::LineCall call) const {
  const PackedWeights packed(queue, weights_, packing,
                             static_cast<std::size_t>(table_.scratch(shape)));
  call.scratch = packed.work();
  call.weights = packed.weights();
  table_.forward(shape, call);
}

}  // namespace gentrain::cpu
