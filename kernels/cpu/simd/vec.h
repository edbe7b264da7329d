// Vectors of the instruction set that a file is compiled for: Vec holds kLanes floats.
//
// Every file of this folder is compiled once per instruction set (GENTRAIN_SIMD_NS is v3 or v4) and
// must define nothing outside its namespace: no standard containers, no inline function of another
// header, for the linker could pick a v4 copy of it for a v3 machine (a test looks for such
// symbols). GENTRAIN_SIMD_LANES may be given apart from the instruction set, so that tests run the
// 16-lane logic on a machine without AVX-512.
#pragma once

#include <cstdint>

#include <immintrin.h>

#ifndef GENTRAIN_SIMD_LANES
#ifdef __AVX512F__
#define GENTRAIN_SIMD_LANES 16
#else
#define GENTRAIN_SIMD_LANES 8
#endif
#endif

namespace gentrain::simd::GENTRAIN_SIMD_NS {

inline constexpr int kLanes = GENTRAIN_SIMD_LANES;

// Vec may stand at any address, Mask and IntVec hold one 32-bit integer per lane (comparisons give
// 0 or -1).
typedef float Vec
    __attribute__((vector_size(4 * GENTRAIN_SIMD_LANES), aligned(4), may_alias));  // NOLINT
typedef std::int32_t IntVec                                                        // NOLINT
    __attribute__((vector_size(4 * GENTRAIN_SIMD_LANES), aligned(4), may_alias));

static inline Vec load(const float* p) {
  return *reinterpret_cast<const Vec*>(p);
}
static inline void store(float* p, Vec v) {
  *reinterpret_cast<Vec*>(p) = v;
}
static inline Vec broadcast(float x) {
  return x - Vec{};
}
static inline IntVec broadcast(std::int32_t x) {
  return x - IntVec{};
}

/// a * b + c, rounded once.
static inline Vec fma(Vec a, Vec b, Vec c) {
#if GENTRAIN_SIMD_LANES == 16 && defined(__AVX512F__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif GENTRAIN_SIMD_LANES == 8
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  Vec r;
  for (int i = 0; i < kLanes; ++i) {
    r[i] = __builtin_fmaf(a[i], b[i], c[i]);
  }
  return r;
#endif
}

/// The first n lanes from memory, the others zero; 0 <= n <= kLanes. Reads nothing behind them.
static inline Vec load_n(const float* p, int n) {
  Vec v{};
  __builtin_memcpy(&v, p, 4U * static_cast<unsigned>(n));
  return v;
}
static inline void store_n(float* p, Vec v, int n) {
  __builtin_memcpy(p, &v, 4U * static_cast<unsigned>(n));
}

/// The same bits as the other type; to_float converts the values.
static inline IntVec as_int(Vec v) {
  return (IntVec)v;
}
static inline Vec as_float(IntVec v) {
  return (Vec)v;
}
static inline Vec to_float(IntVec v) {
  return __builtin_convertvector(v, Vec);
}

/// Lane by lane: mask ? a : b.
static inline Vec select(IntVec mask, Vec a, Vec b) {
  return (Vec)((mask & (IntVec)a) | (~mask & (IntVec)b));
}

/// a > b ? a : b and a < b ? a : b, lane by lane: where either is NaN the result is b.
static inline Vec max(Vec a, Vec b) {
#if GENTRAIN_SIMD_LANES == 16 && defined(__AVX512F__)
  return (Vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif GENTRAIN_SIMD_LANES == 8
  return (Vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}
static inline Vec min(Vec a, Vec b) {
#if GENTRAIN_SIMD_LANES == 16 && defined(__AVX512F__)
  return (Vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif GENTRAIN_SIMD_LANES == 8
  return (Vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
  return a < b ? a : b;
#endif
}

/// Sum of the lanes in a fixed order: halves are added until one lane is left.
static inline float sum(Vec v) {
  float lanes[kLanes];
  __builtin_memcpy(lanes, &v, sizeof v);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) {
      lanes[i] += lanes[i + half];
    }
  }
  return lanes[0];
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
