// What the files of Winograd's convolution along lines share: the matrices of the transforms, made
// from interpolation points at compile time, and the order of packed weights.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/gemm_parts.h"
#include "kernels/cpu/simd/vec.h"
#include "kernels/cpu/simd/winograd_line.h"
#include "kernels/cpu/simd/winograd_parts.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

/// The routines of WinogradLineTable.
std::int64_t line_packed_floats(const LineShape& s);
void line_pack(const LineShape& s, const float* w, float* packed);
void line_pack_turned(const LineShape& s, const float* w, float* packed);

namespace {

constexpr int kResults = 4;  // of a tile, along a line

/// Products of a tile: the points, infinity among them.
constexpr int line_points(std::int64_t taps) {
  return static_cast<int>(taps) + kResults - 1;
}

/// Points that keep the error small; beside them stand 0, where their number is odd, and infinity.
template <int kTaps>
struct LinePoints;
template <>
struct LinePoints<3> {
  static constexpr double kPairs[] = {0.75, 5.0 / 3.0};
};
template <>
struct LinePoints<5> {
  static constexpr double kPairs[] = {0.5, 1.0, 1.75};
};
template <>
struct LinePoints<7> {
  static constexpr double kPairs[] = {0.4, 0.8, 1.25, 2.5};
};

/// A^T, B^T and G, rows of B^T and G scaled by powers of two to like sizes.
template <int kTaps>
struct LineMatrices {
  static constexpr int kWindow = line_points(kTaps);
  float results[kResults][kWindow] = {};
  float window[kWindow][kWindow] = {};
  float weights[kWindow][kTaps] = {};

  constexpr LineMatrices() {
    double points[kWindow] = {};  // the last one is infinity
    constexpr int kPairs = (kWindow - 2) / 2;
    for (int i = 0; i < kPairs; ++i) {
      points[1 + 2 * i] = LinePoints<kTaps>::kPairs[i];
      points[2 + 2 * i] = -LinePoints<kTaps>::kPairs[i];
    }
    static_assert(1 + 2 * kPairs == kWindow - 1);
    for (int p = 0; p < kWindow; ++p) {
      set_row(points, p);
    }
  }

 private:
  /// Coefficients of the product of (x - point) over all finite points but `left_out`.
  static constexpr void multiply_out(const double* points, int left_out, double* coefficients) {
    coefficients[0] = 1;
    int degree = 0;
    for (int q = 0; q < kWindow - 1; ++q) {
      if (q == left_out) {
        continue;
      }
      coefficients[degree + 1] = 0;
      for (int k = degree + 1; k > 0; --k) {
        coefficients[k] = coefficients[k - 1] - points[q] * coefficients[k];
      }
      coefficients[0] *= -points[q];
      ++degree;
    }
  }

  constexpr void set_row(const double* points, int p) {
    const bool infinite = p == kWindow - 1;
    double of_window[kWindow + 1] = {};
    double of_weights[kTaps] = {};
    multiply_out(points, infinite ? -1 : p, of_window);
    double distances = 1;
    for (int q = 0; q < kWindow - 1; ++q) {
      distances *= infinite || q == p ? 1 : points[p] - points[q];
    }
    double power = 1;
    for (int j = 0; j < kTaps; ++j) {
      of_weights[j] = infinite ? (j == kTaps - 1 ? 1 : 0) : power / distances;
      power *= points[p];
    }
    const double scale = scale_between(of_window, of_weights);
    for (int j = 0; j < kWindow; ++j) {
      window[p][j] = static_cast<float>(of_window[j] / scale);
    }
    for (int j = 0; j < kTaps; ++j) {
      weights[p][j] = static_cast<float>(of_weights[j] * scale);
    }
    power = 1;
    for (int i = 0; i < kResults; ++i) {
      results[i][p] = static_cast<float>(infinite ? (i == kResults - 1 ? 1 : 0) : power);
      power *= points[p];
    }
  }

  /// A power of two by whose square the sums of absolute values differ, about.
  static constexpr double scale_between(const double* of_window, const double* of_weights) {
    double a = 0;
    double b = 0;
    for (int j = 0; j < kWindow; ++j) {
      a += of_window[j] < 0 ? -of_window[j] : of_window[j];
    }
    for (int j = 0; j < kTaps; ++j) {
      b += of_weights[j] < 0 ? -of_weights[j] : of_weights[j];
    }
    double scale = 1;
    while (a / b > 2 * scale * scale) {
      scale *= 2;
    }
    while (2 * a / b < scale * scale) {
      scale /= 2;
    }
    return scale;
  }
};

template <int kTaps>
constexpr LineMatrices<kTaps> kLineMatrices{};

/// Weights of one point: [rows][pieces][panels of results][piece][kPanel].
inline std::int64_t line_row_floats(const LineShape& s) {
  return round_up(s.oc, kPanel) * s.c;
}
inline std::int64_t line_point_floats(const LineShape& s) {
  return odd_lines(s.rows * line_row_floats(s));
}

}  // namespace
}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
