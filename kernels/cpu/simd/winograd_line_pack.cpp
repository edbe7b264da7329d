// Weights for Winograd's convolution along lines: G g for every pair of channels and row of the
// kernel, in the panels that the matrix product reads.
#include "kernels/cpu/simd/winograd_line_parts.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

int lanes_left(std::int64_t count, std::int64_t begin) {
  return static_cast<int>(smaller(kLanes, larger(0, count - begin)));
}

/// Where the weights from input `input` to result `result` lie within a row of a point.
std::int64_t place_of(const LineShape& s, std::int64_t input, std::int64_t result) {
  const std::int64_t piece = winograd_piece(s.c);
  const std::int64_t begin = input / piece * piece;
  const std::int64_t depth = smaller(piece, s.c - begin);
  return begin * round_up(s.oc, kPanel) + result / kPanel * kPanel * depth +
         (input - begin) * kPanel + result % kPanel;
}

/// One vector of channels, of which the first `count` are there; taps `step` floats apart.
template <int kTaps>
void transform_taps(const float* w, std::int64_t step, int count, Vec u[line_points(kTaps)]) {
  constexpr auto& kMatrices = kLineMatrices<kTaps>;
  const IntVec lanes = first_lanes(count);
  Vec taps[kTaps];
  for (int j = 0; j < kTaps; ++j) {
    taps[j] = load_masked(w + j * step, lanes);
  }
  for (int p = 0; p < line_points(kTaps); ++p) {
    Vec sum = broadcast(kMatrices.weights[p][0]) * taps[0];
    for (int j = 1; j < kTaps; ++j) {
      sum = fma(broadcast(kMatrices.weights[p][j]), taps[j], sum);
    }
    u[p] = sum;
  }
}

/// A square of kLanes x kLanes pairs of channels of a row of the kernel, from result `k` and input
/// `c0` on: panels hold results side by side, the weights hold inputs so.
template <int kTaps>
void pack_square(const LineShape& s, const float* w, std::int64_t row, std::int64_t k,
                 std::int64_t c0, float* packed) {
  Vec square[kLanes][line_points(kTaps)];
  const int inputs = lanes_left(s.c, c0);
  const std::int64_t kernel = s.rows * kTaps * s.c;
  for (int r = 0; r < kLanes; ++r) {
    const bool present = k + r < s.oc;
    transform_taps<kTaps>(present ? w + (k + r) * kernel + row * s.row_step * s.c + c0 : w,
                          s.tap_step * s.c, present ? inputs : 0, square[r]);
  }
  float* first = packed + row * line_row_floats(s) + place_of(s, c0, k);
  for (int p = 0; p < line_points(kTaps); ++p) {
    for (int i = 0; i < inputs; ++i) {
      float* to = first + p * line_point_floats(s) + i * kPanel;
      for (int r = 0; r < kLanes; ++r) {
        to[r] = square[r][p][i];
      }
    }
  }
}

template <int kTaps>
void pack(const LineShape& s, const float* w, float* packed) {
  for (std::int64_t row = 0; row < s.rows; ++row) {
    for (std::int64_t result = 0; result < round_up(s.oc, kPanel); result += kLanes) {
      for (std::int64_t input = 0; input < s.c; input += kLanes) {
        pack_square<kTaps>(s, w, row, result, input, packed);
      }
    }
  }
}

template <int kTaps>
void pack_turned(const LineShape& s, const float* w, float* packed) {
  const std::int64_t kernel = s.rows * kTaps * s.oc;
  for (std::int64_t input = 0; input < s.c; ++input) {
    for (std::int64_t row = 0; row < s.rows; ++row) {
      // The last tap of the last row comes first.
      const std::int64_t tap = (s.rows - 1 - row) * s.row_step + (kTaps - 1) * s.tap_step;
      for (std::int64_t result = 0; result < round_up(s.oc, kPanel); result += kLanes) {
        const int count = lanes_left(s.oc, result);
        Vec u[line_points(kTaps)];
        transform_taps<kTaps>(count > 0 ? w + input * kernel + tap * s.oc + result : w,
                              count > 0 ? -s.tap_step * s.oc : 0, count, u);
        float* to = packed + row * line_row_floats(s) + place_of(s, input, result);
        for (int p = 0; p < line_points(kTaps); ++p) {
          store(to + p * line_point_floats(s), u[p]);
        }
      }
    }
  }
}

}  // namespace

std::int64_t line_packed_floats(const LineShape& s) {
  return line_points(s.taps) * line_point_floats(s);
}

void line_pack(const LineShape& s, const float* w, float* packed) {
  (s.taps == 3 ? pack<3> : s.taps == 5 ? pack<5> : pack<7>)(s, w, packed);
}

void line_pack_turned(const LineShape& s, const float* w, float* packed) {
  (s.taps == 3 ? pack_turned<3> : s.taps == 5 ? pack_turned<5> : pack_turned<7>)(s, w, packed);
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
