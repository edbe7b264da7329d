// Weights for Winograd's convolution: G g G^T for every pair of channels, point by point, piece of
// the channels by piece, in the panels that the matrix product reads:
// [36][pieces][panels of results][piece][kPanel].
#include "kernels/cpu/simd/winograd_parts.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

constexpr int kTaps = 3;

/// G g: weights along one axis.
void transform_weights(const Vec g[kTaps], Vec u[kWindow]) {
  const Vec even_a = fma(broadcast(kA2), g[2], g[0]) * broadcast(static_cast<float>(kScaleA));
  const Vec odd_a = g[1] * broadcast(static_cast<float>(kA * kScaleA));
  const Vec even_b = fma(broadcast(kB2), g[2], g[0]) * broadcast(static_cast<float>(kScaleB));
  const Vec odd_b = g[1] * broadcast(static_cast<float>(kB * kScaleB));
  u[0] = g[0];
  u[1] = even_a + odd_a;
  u[2] = even_a - odd_a;
  u[3] = even_b + odd_b;
  u[4] = even_b - odd_b;
  u[5] = g[2];
}

/// Both axes of one vector of channels, of which the first `count` are there: w [3, 3, c].
void transform_taps(const float* w, std::int64_t c, int count, bool turned, Vec u[kPoints]) {
  const IntVec lanes = first_lanes(count);
  Vec columns[kWindow][kTaps];
  for (int j = 0; j < kTaps; ++j) {
    Vec taps[kTaps];
    Vec transformed[kWindow];
    for (int i = 0; i < kTaps; ++i) {
      const int tap = i * kTaps + j;
      taps[i] = load_masked(w + (turned ? kTaps * kTaps - 1 - tap : tap) * c, lanes);
    }
    transform_weights(taps, transformed);
    for (int i = 0; i < kWindow; ++i) {
      columns[i][j] = transformed[i];
    }
  }
  for (int i = 0; i < kWindow; ++i) {
    transform_weights(columns[i], u + i * kWindow);
  }
}

int lanes_left(std::int64_t count, std::int64_t begin) {
  return static_cast<int>(smaller(kLanes, larger(0, count - begin)));
}

/// Where the weights from input `input` to result `result` lie within a point.
std::int64_t place_of(std::int64_t inputs, std::int64_t results, std::int64_t input,
                      std::int64_t result) {
  const std::int64_t piece = winograd_piece(inputs);
  const std::int64_t begin = input / piece * piece;
  const std::int64_t depth = smaller(piece, inputs - begin);
  return begin * round_up(results, kPanel) + result / kPanel * kPanel * depth +
         (input - begin) * kPanel + result % kPanel;
}

/// A square of kLanes x kLanes pairs of channels from `k` and `c0` on: panels hold results side by
/// side, the weights hold inputs so.
void pack_square(const float* w, std::int64_t results, std::int64_t c, std::int64_t k,
                 std::int64_t c0, float* packed) {
  Vec square[kLanes][kPoints];
  const int inputs = lanes_left(c, c0);
  const std::int64_t point = winograd_packed_floats(c, results) / kPoints;
  for (int r = 0; r < kLanes; ++r) {
    const bool present = k + r < results;
    transform_taps(present ? w + (k + r) * kTaps * kTaps * c + c0 : w, c, present ? inputs : 0,
                   false, square[r]);
  }
  float* first = packed + place_of(c, results, c0, k);
  for (int p = 0; p < kPoints; ++p) {
    for (int i = 0; i < inputs; ++i) {
      float* to = first + p * point + i * kPanel;
      for (int r = 0; r < kLanes; ++r) {
        to[r] = square[r][p][i];
      }
    }
  }
}

}  // namespace

std::int64_t winograd_piece(std::int64_t c) {
  constexpr std::int64_t kMost = 128;
  const std::int64_t pieces = (c + kMost - 1) / kMost;
  return round_up((c + pieces - 1) / pieces, kLanes);
}

std::int64_t winograd_packed_floats(std::int64_t c, std::int64_t oc) {
  return kPoints * odd_lines(round_up(oc, kPanel) * c);
}

void winograd_pack(const float* w, std::int64_t k, std::int64_t c, float* packed) {
  for (std::int64_t result = 0; result < round_up(k, kPanel); result += kLanes) {
    for (std::int64_t input = 0; input < c; input += kLanes) {
      pack_square(w, k, c, result, input, packed);
    }
  }
}

void winograd_pack_turned(const float* w, std::int64_t k, std::int64_t c, float* packed) {
  const std::int64_t point = winograd_packed_floats(k, c) / kPoints;
  for (std::int64_t input = 0; input < k; ++input) {
    for (std::int64_t result = 0; result < round_up(c, kPanel); result += kLanes) {
      const int count = lanes_left(c, result);
      Vec u[kPoints];
      transform_taps(count > 0 ? w + input * kTaps * kTaps * c + result : w, c, count, true, u);
      float* to = packed + place_of(k, c, input, result);
      for (int p = 0; p < kPoints; ++p) {
        store(to + p * point, u[p]);
      }
    }
  }
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
