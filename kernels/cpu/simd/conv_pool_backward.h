// What the two gradients of the fused convolution and max pooling share. Only the argmax of each
// 2x2 window carries one, so that both do a quarter of a convolution's products, image by image in
// NHWC; templates cut rows and vectors of the kernel into parts whose sums fit the registers.
#pragma once

#include "kernels/cpu/simd/conv_pool_parts.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {
namespace {

template <int N>
struct Floats;
template <>
struct Floats<8> {
  typedef float Type __attribute__((vector_size(32)));         // NOLINT
  typedef Type Stored __attribute__((aligned(4), may_alias));  // NOLINT
};
template <>
struct Floats<16> {
  typedef float Type __attribute__((vector_size(64)));         // NOLINT
  typedef Type Stored __attribute__((aligned(4), may_alias));  // NOLINT
};

// Vectors of N lanes, where a row fills no more than 8 of 16.
template <int N>
struct Row {
  using Type = typename Floats<N>::Type;
  using Stored = typename Floats<N>::Stored;
  static Type read(const float* p) { return *reinterpret_cast<const Stored*>(p); }
  static void write(float* p, Type v) { *reinterpret_cast<Stored*>(p) = v; }
  static Type all(float x) { return x - Type{}; }
  static Type fused(Type a, Type b, Type c) {
    if constexpr (N == kLanes) {
      return (Type)fma((Vec)a, (Vec)b, (Vec)c);
    } else {
      return (Type)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    }
  }
};

constexpr int kSums = kLanes == 16 ? 24 : 15;  // accumulators out of 32 (AVX-512) or 16 registers
constexpr int kMostColumns = 6;                // vectors side by side
constexpr int kMostRows = 6;
constexpr std::int64_t kSlack = 16;  // floats that a row may be overread by

constexpr int most_rows(std::int64_t columns) {
  const int rows = kSums / static_cast<int>(columns);
  return rows < kMostRows ? rows : kMostRows;
}

// A part of the windows' pixels: rows [row, row + rows) and vectors [column, column + columns).
struct Part {
  std::int64_t row, rows, column, columns;
};

// What both routines walk over: the windows of a few images.
struct Windows {
  std::int64_t count, oc;
  std::int64_t row;            // floats of a row of x
  std::int64_t stride;         // floats of a row of the packed weights or their gradients
  std::int64_t channel;        // floats of one output channel there
  const float* dp;             // [count][oc]
  const std::int32_t* places;  // [count][oc], from locate()
};

// Keeps g++ from seeing through an address: it would make two copies of a loop, for two kinds of
// stride, and recompute the addresses of rows, both at the cost of registers that should hold sums.
template <class T>
inline T* opaque(T* p) {
  __asm__("" : "+r"(p));  // NOLINT(hicpp-no-assembler)
  return p;
}

// places [i] = bases [i] + (down for argmax 2 and 3) + (right for argmax 1 and 3).
inline void locate(const std::uint8_t* argmax, const std::int32_t* bases, std::int64_t count,
                   std::int64_t down, std::int64_t right, std::int32_t* places) {
  const auto row = static_cast<std::int32_t>(down);
  const auto column = static_cast<std::int32_t>(right);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t a = argmax[i];
    places[i] = bases[i] + (-(a >> 1) & row) + (-(a & 1) & column);
  }
}

// Calls visitor.run<N, columns, rows>(part) for parts that cover rows x (columns of N lanes).
template <int N, int kColumns, int kRows, class Visitor>
inline void visit_part(const Visitor& visitor, const Part& part) {
  if (part.columns == kColumns && part.rows == kRows) {
    visitor.template run<N, kColumns, kRows>(part);
  } else if constexpr (kRows > 1) {
    visit_part<N, kColumns, kRows - 1>(visitor, part);
  } else if constexpr (kColumns > 1) {
    visit_part<N, kColumns - 1, most_rows(kColumns - 1)>(visitor, part);
  }
}

template <int N, class Visitor>
inline void visit_parts_of(const Visitor& visitor, std::int64_t rows, std::int64_t columns) {
  const std::int64_t column_groups = group_count(columns, kMostColumns);
  for (std::int64_t g = 0; g < column_groups; ++g) {
    Part part{};
    part.column = group_begin(columns, column_groups, g);
    part.columns = group_begin(columns, column_groups, g + 1) - part.column;
    const std::int64_t row_groups = group_count(rows, most_rows(part.columns));
    for (std::int64_t k = 0; k < row_groups; ++k) {
      part.row = group_begin(rows, row_groups, k);
      part.rows = group_begin(rows, row_groups, k + 1) - part.row;
      visit_part<N, kMostColumns, most_rows(kMostColumns)>(visitor, part);
    }
  }
}

inline int lanes_for(std::int64_t floats) {
  return floats <= 8 ? 8 : kLanes;
}

// `floats` in a row.
template <class Visitor>
inline void visit_parts(const Visitor& visitor, std::int64_t rows, std::int64_t floats) {
  if (lanes_for(floats) == kLanes) {
    visit_parts_of<kLanes>(visitor, rows, group_count(floats, kLanes));
  } else {
    visit_parts_of<8>(visitor, rows, 1);
  }
}

inline void zero(float* p, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    p[i] = 0;
  }
}

}  // namespace
}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
