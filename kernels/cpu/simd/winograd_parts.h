// What the files of Winograd's convolution share: tiles, windows of pixels, the transforms.
//
// The evaluation at p and -p shares its even and its odd part. a and b stand for 2/3 and 3/2, so
// that a^2 b^2 = 1.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/gemm_parts.h"
#include "kernels/cpu/simd/vec.h"
#include "kernels/cpu/simd/winograd.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

/// Channels are added up in pieces of this many, the last one maybe shorter: rounding errors grow
/// with the length of a chain, and a panel of a piece stays in the first cache.
std::int64_t winograd_piece(std::int64_t c);

/// The routines of WinogradTable.
std::int64_t winograd_packed_floats(std::int64_t c, std::int64_t oc);
void winograd_pack(const float* w, std::int64_t k, std::int64_t c, float* packed);
void winograd_pack_turned(const float* w, std::int64_t k, std::int64_t c, float* packed);
std::int64_t winograd_backward_weights_scratch(const WinogradShape& s);
void winograd_backward_weights(const WinogradShape& s, const float* x, const float* dy, float* dw,
                               float* dbias, void* scratch);

namespace {

constexpr int kPoints = 36;
constexpr int kSide = 4;    // of a tile of results
constexpr int kWindow = 6;  // side of the window of pixels that they depend on

constexpr double kA = 2.0 / 3.0;
constexpr double kB = 3.0 / 2.0;
constexpr auto kA1 = static_cast<float>(kA);
constexpr auto kA2 = static_cast<float>(kA * kA);
constexpr auto kA3 = static_cast<float>(kA * kA * kA);
constexpr auto kB1 = static_cast<float>(kB);
constexpr auto kB2 = static_cast<float>(kB * kB);
constexpr auto kB3 = static_cast<float>(kB * kB * kB);
constexpr auto kSquares = static_cast<float>(kA * kA + kB * kB);
// 1 / the product of a point's distances to the other points: the scale of its row of G.
constexpr double kScaleA = 1 / (2 * kA * kA * (kA * kA - kB * kB));
constexpr double kScaleB = 1 / (2 * kB * kB * (kB * kB - kA * kA));

inline std::int64_t round_up(std::int64_t count, std::int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

/// Floats for at least `count`, an odd number of cache lines: a stride that spreads over the sets
/// of a cache.
inline std::int64_t odd_lines(std::int64_t count) {
  constexpr std::int64_t kLine = 16;
  return ((count + kLine - 1) / kLine | 1) * kLine;
}

/// B^T d: the window's pixels along one axis.
inline void transform_window(const Vec d[kWindow], Vec v[kWindow]) {
  const Vec even_a = fma(broadcast(-kB2), d[2], d[4]);
  const Vec odd_a = fma(broadcast(-kB2), d[1], d[3]);
  const Vec even_b = fma(broadcast(-kA2), d[2], d[4]);
  const Vec odd_b = fma(broadcast(-kA2), d[1], d[3]);
  v[0] = fma(broadcast(-kSquares), d[2], d[0] + d[4]);
  v[1] = fma(broadcast(kA1), odd_a, even_a);
  v[2] = fma(broadcast(-kA1), odd_a, even_a);
  v[3] = fma(broadcast(kB1), odd_b, even_b);
  v[4] = fma(broadcast(-kB1), odd_b, even_b);
  v[5] = fma(broadcast(-kSquares), d[3], d[1] + d[5]);
}

/// A^T m: results along one axis.
inline void transform_products(const Vec m[kWindow], Vec y[kSide]) {
  const Vec even_a = m[1] + m[2];
  const Vec odd_a = m[1] - m[2];
  const Vec even_b = m[3] + m[4];
  const Vec odd_b = m[3] - m[4];
  y[0] = m[0] + (even_a + even_b);
  y[1] = fma(broadcast(kA1), odd_a, broadcast(kB1) * odd_b);
  y[2] = fma(broadcast(kA2), even_a, broadcast(kB2) * even_b);
  y[3] = fma(broadcast(kA3), odd_a, fma(broadcast(kB3), odd_b, m[5]));
}

/// A y: gradients of results along one axis.
inline void transform_results(const Vec y[kSide], Vec m[kWindow]) {
  const Vec even_a = fma(broadcast(kA2), y[2], y[0]);
  const Vec odd_a = fma(broadcast(kA2), y[3], y[1]);
  const Vec even_b = fma(broadcast(kB2), y[2], y[0]);
  const Vec odd_b = fma(broadcast(kB2), y[3], y[1]);
  m[0] = y[0];
  m[1] = fma(broadcast(kA1), odd_a, even_a);
  m[2] = fma(broadcast(-kA1), odd_a, even_a);
  m[3] = fma(broadcast(kB1), odd_b, even_b);
  m[4] = fma(broadcast(-kB1), odd_b, even_b);
  m[5] = y[3];
}

/// The tiles of a convolution, numbered by image, row and column.
struct Tiles {
  std::int64_t rows, columns, count;

  explicit Tiles(const WinogradShape& s)
      : rows((s.oh + kSide - 1) / kSide),
        columns((s.ow + kSide - 1) / kSide),
        count(s.n * rows * columns) {}
};

/// A rectangle of kExtent x kExtent pixels of an image; those outside of it point at zeros.
template <int kExtent>
struct Pixels {
  const float* at[kExtent][kExtent];
};

/// `row`, `column`: of the first pixel, maybe outside. zeros [c].
template <int kExtent>
inline Pixels<kExtent> pixels_of(const float* image, std::int64_t h, std::int64_t w, std::int64_t c,
                                 std::int64_t row, std::int64_t column, const float* zeros) {
  Pixels<kExtent> pixels{};
  for (int i = 0; i < kExtent; ++i) {
    for (int j = 0; j < kExtent; ++j) {
      const bool inside = row + i >= 0 && row + i < h && column + j >= 0 && column + j < w;
      pixels.at[i][j] = inside ? image + ((row + i) * w + column + j) * c : zeros;
    }
  }
  return pixels;
}

/// The window of tile `tile` in x.
inline Pixels<kWindow> window_of(const WinogradShape& s, const Tiles& tiles, std::int64_t tile,
                                 const float* x, const float* zeros) {
  const std::int64_t image = tile / (tiles.rows * tiles.columns);
  const std::int64_t row = tile / tiles.columns % tiles.rows;
  return pixels_of<kWindow>(x + image * s.h * s.w * s.c, s.h, s.w, s.c, row * kSide - s.top,
                            tile % tiles.columns * kSide - s.left, zeros);
}

/// Where transformed values go: strides of the points, and of panels of kPanel channels.
struct Target {
  float* first;
  std::int64_t point, panel;
};

/// One vector of channels; `lanes` masks it if kMasked.
template <bool kMasked>
inline void transform_channels(const Pixels<kWindow>& window, std::int64_t channel, IntVec lanes,
                               float* to, std::int64_t point) {
  Vec rows[kWindow][kWindow];
  for (int j = 0; j < kWindow; ++j) {
    Vec column[kWindow];
    Vec transformed[kWindow];
#pragma GCC unroll 6
    for (int i = 0; i < kWindow; ++i) {
      const float* pixel = window.at[i][j] + channel;
      column[i] = kMasked ? load_masked(pixel, lanes) : load(pixel);
    }
    transform_window(column, transformed);
#pragma GCC unroll 6
    for (int i = 0; i < kWindow; ++i) {
      rows[i][j] = transformed[i];
    }
  }
  for (int i = 0; i < kWindow; ++i) {
    Vec transformed[kWindow];
    transform_window(rows[i], transformed);
#pragma GCC unroll 6
    for (int j = 0; j < kWindow; ++j) {
      store(to + (i * kWindow + j) * point, transformed[j]);
    }
  }
}

/// The window's c channels into target, with zeros behind them up to `floats`, a multiple of
/// kLanes.
inline void transform_pixels(const Pixels<kWindow>& window, std::int64_t c, std::int64_t floats,
                             const Target& target) {
  for (std::int64_t k = 0; k < floats; k += kLanes) {
    float* to = target.first + k / kPanel * target.panel + k % kPanel;
    if (k + kLanes <= c) {
      transform_channels<false>(window, k, IntVec{}, to, target.point);
    } else {
      const int rest = static_cast<int>(larger(0, c - k));
      transform_channels<true>(window, rest > 0 ? k : 0, first_lanes(rest), to, target.point);
    }
  }
}

}  // namespace
}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
