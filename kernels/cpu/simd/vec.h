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

// IntVec holds one 32-bit integer per lane and is also the mask that a comparison gives (0 or -1).
typedef float Vec __attribute__((vector_size(4 * GENTRAIN_SIMD_LANES)));            // NOLINT
typedef std::int32_t IntVec __attribute__((vector_size(4 * GENTRAIN_SIMD_LANES)));  // NOLINT
typedef std::uint8_t ByteVec __attribute__((vector_size(GENTRAIN_SIMD_LANES)));     // NOLINT

// Half a vector of floats widens to one of doubles.
inline constexpr int kWide = kLanes / 2;
typedef float NarrowVec __attribute__((vector_size(2 * GENTRAIN_SIMD_LANES)));  // NOLINT
typedef double WideVec __attribute__((vector_size(4 * GENTRAIN_SIMD_LANES)));   // NOLINT

// The same as they stand in memory, at any address of an element. No values are of these types:
// compilers do not agree where the alignment of a name for a type counts.
typedef Vec StoredVec __attribute__((aligned(4), may_alias));              // NOLINT
typedef IntVec StoredIntVec __attribute__((aligned(4), may_alias));        // NOLINT
typedef ByteVec StoredByteVec __attribute__((aligned(1), may_alias));      // NOLINT
typedef NarrowVec StoredNarrowVec __attribute__((aligned(4), may_alias));  // NOLINT
typedef WideVec StoredWideVec __attribute__((aligned(8), may_alias));      // NOLINT

static inline std::int64_t smaller(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}
static inline std::int64_t larger(std::int64_t a, std::int64_t b) {
  return a > b ? a : b;
}

static inline Vec load(const float* p) {
  return *reinterpret_cast<const StoredVec*>(p);
}
static inline void store(float* p, Vec v) {
  *reinterpret_cast<StoredVec*>(p) = v;
}
static inline Vec broadcast(float x) {
  return x - Vec{};
}
static inline IntVec broadcast(std::int32_t x) {
  return x - IntVec{};
}

/// kWide floats as doubles, kWide doubles, and doubles rounded to floats.
static inline WideVec load_wide(const float* p) {
  return __builtin_convertvector(*reinterpret_cast<const StoredNarrowVec*>(p), WideVec);
}
static inline WideVec load_wide(const double* p) {
  return *reinterpret_cast<const StoredWideVec*>(p);
}
static inline void store_wide(float* p, WideVec v) {
  *reinterpret_cast<StoredNarrowVec*>(p) = __builtin_convertvector(v, NarrowVec);
}
static inline void store_wide(double* p, WideVec v) {
  *reinterpret_cast<StoredWideVec*>(p) = v;
}

static inline ByteVec load(const std::uint8_t* p) {
  return *reinterpret_cast<const StoredByteVec*>(p);
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

/// -1 in the first n lanes, 0 in the others; 0 <= n <= kLanes.
static inline IntVec first_lanes(int n) {
  IntVec lane;
  for (int i = 0; i < kLanes; ++i) {
    lane[i] = i;
  }
  return lane < broadcast(static_cast<std::int32_t>(n));
}

/// The lanes of a mask made by first_lanes from memory, the others zero. Touches nothing behind
/// them.
static inline Vec load_masked(const float* p, IntVec mask) {
#if GENTRAIN_SIMD_LANES == 16 && defined(__AVX512F__)
  return (Vec)_mm512_maskz_loadu_ps(_mm512_movepi32_mask((__m512i)mask), p);
#elif GENTRAIN_SIMD_LANES == 8
  return (Vec)_mm256_maskload_ps(p, (__m256i)mask);
#else
  Vec v{};
  for (int i = 0; i < kLanes; ++i) {
    if (mask[i] != 0) {
      v[i] = p[i];
    }
  }
  return v;
#endif
}
static inline void store_masked(float* p, Vec v, IntVec mask) {
#if GENTRAIN_SIMD_LANES == 16 && defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, _mm512_movepi32_mask((__m512i)mask), (__m512)v);
#elif GENTRAIN_SIMD_LANES == 8
  _mm256_maskstore_ps(p, (__m256i)mask, (__m256)v);
#else
  for (int i = 0; i < kLanes; ++i) {
    if (mask[i] != 0) {
      p[i] = v[i];
    }
  }
#endif
}

/// The first n lanes from memory, the others zero; 0 <= n <= kLanes. Touches nothing behind them.
static inline Vec load_n(const float* p, int n) {
  return load_masked(p, first_lanes(n));
}
static inline void store_n(float* p, Vec v, int n) {
  store_masked(p, v, first_lanes(n));
}

static inline ByteVec load_n(const std::uint8_t* p, int n) {
  ByteVec v{};
  __builtin_memcpy(&v, p, static_cast<unsigned>(n));
  return v;
}
static inline void store_n(std::uint8_t* p, ByteVec v, int n) {
  __builtin_memcpy(p, &v, static_cast<unsigned>(n));
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

/// Whether a value takes the place of the largest so far, lane by lane: if it is larger, or the
/// first that is not a number.
static inline IntVec wins(Vec value, Vec best) {
  return ~(value <= best) & (best == best);
}

#if GENTRAIN_SIMD_LANES == 16 && defined(__AVX512F__)
// The masked intrinsics stand in for the plain ones, in which g++ 12 sees uninitialised values.
inline constexpr __mmask16 kAllLanes = 0xffff;
#endif

/// a > b ? a : b and a < b ? a : b, lane by lane: where either is NaN the result is b.
static inline Vec max(Vec a, Vec b) {
#if GENTRAIN_SIMD_LANES == 16 && defined(__AVX512F__)
  return (Vec)_mm512_maskz_max_ps(kAllLanes, (__m512)a, (__m512)b);
#elif GENTRAIN_SIMD_LANES == 8
  return (Vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}
static inline Vec min(Vec a, Vec b) {
#if GENTRAIN_SIMD_LANES == 16 && defined(__AVX512F__)
  return (Vec)_mm512_maskz_min_ps(kAllLanes, (__m512)a, (__m512)b);
#elif GENTRAIN_SIMD_LANES == 8
  return (Vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
  return a < b ? a : b;
#endif
}

/// Square root, correctly rounded.
static inline Vec sqrt(Vec v) {
#if GENTRAIN_SIMD_LANES == 16 && defined(__AVX512F__)
  return (Vec)_mm512_maskz_sqrt_ps(kAllLanes, (__m512)v);
#elif GENTRAIN_SIMD_LANES == 8
  return (Vec)_mm256_sqrt_ps((__m256)v);
#else
  Vec r;
  for (int i = 0; i < kLanes; ++i) {
    r[i] = __builtin_sqrtf(v[i]);
  }
  return r;
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

/// Largest lane; no lane may be NaN.
static inline float largest(Vec v) {
  float result = v[0];
  for (int i = 1; i < kLanes; ++i) {
    result = v[i] > result ? v[i] : result;
  }
  return result;
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
