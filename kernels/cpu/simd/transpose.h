// kLanes x kLanes floats transposed in registers.
#pragma once

#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

template <int... Lane>
struct Lanes {};
#if GENTRAIN_SIMD_LANES == 16
using AllLanes = Lanes<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;
#else
using AllLanes = Lanes<0, 1, 2, 3, 4, 5, 6, 7>;
#endif

enum class TransposeStep { kUnpack1, kUnpack2, kQuads };

// Where lane `lane` of a transpose step comes from; kLanes and above: from the second vector.
static constexpr int transpose_source(TransposeStep step, int high, int lane) {
  const int quad = lane / 4;
  const int place = lane % 4;
  if (step == TransposeStep::kUnpack1) {  // a0 b0 a1 b1 of every quad, or a2 b2 a3 b3
    return 4 * quad + 2 * high + place / 2 + place % 2 * kLanes;
  }
  if (step == TransposeStep::kUnpack2) {  // a0 a1 b0 b1, or a2 a3 b2 b3
    return 4 * quad + 2 * high + place % 2 + place / 2 * kLanes;
  }
  const int half = kLanes / 8;  // even quads of a, then of b; or odd ones
  return (quad % half * 2 + high) * 4 + place + quad / half * kLanes;
}

template <TransposeStep step, int high, int... Lane>
static inline Vec mix(Vec a, Vec b, Lanes<Lane...> /*lanes*/) {
  return __builtin_shufflevector(a, b, transpose_source(step, high, Lane)...);
}
template <TransposeStep step, int high>
static inline Vec mix(Vec a, Vec b) {
  return mix<step, high>(a, b, AllLanes{});
}

// Transposes kLanes x kLanes floats in registers.
static inline void transpose(Vec (&v)[kLanes]) {
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 4) {
    const Vec a = mix<TransposeStep::kUnpack1, 0>(v[i], v[i + 1]);
    const Vec b = mix<TransposeStep::kUnpack1, 1>(v[i], v[i + 1]);
    const Vec c = mix<TransposeStep::kUnpack1, 0>(v[i + 2], v[i + 3]);
    const Vec d = mix<TransposeStep::kUnpack1, 1>(v[i + 2], v[i + 3]);
    v[i] = mix<TransposeStep::kUnpack2, 0>(a, c);
    v[i + 1] = mix<TransposeStep::kUnpack2, 1>(a, c);
    v[i + 2] = mix<TransposeStep::kUnpack2, 0>(b, d);
    v[i + 3] = mix<TransposeStep::kUnpack2, 1>(b, d);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    if constexpr (kLanes == 8) {
      const Vec a = v[i];
      v[i] = mix<TransposeStep::kQuads, 0>(a, v[i + 4]);
      v[i + 4] = mix<TransposeStep::kQuads, 1>(a, v[i + 4]);
    } else {
      const Vec even01 = mix<TransposeStep::kQuads, 0>(v[i], v[i + 4]);
      const Vec odd01 = mix<TransposeStep::kQuads, 1>(v[i], v[i + 4]);
      const Vec even23 = mix<TransposeStep::kQuads, 0>(v[i + 8], v[i + kLanes - 4]);
      const Vec odd23 = mix<TransposeStep::kQuads, 1>(v[i + 8], v[i + kLanes - 4]);
      v[i] = mix<TransposeStep::kQuads, 0>(even01, even23);
      v[i + 4] = mix<TransposeStep::kQuads, 0>(odd01, odd23);
      v[i + 8] = mix<TransposeStep::kQuads, 1>(even01, even23);
      v[i + kLanes - 4] = mix<TransposeStep::kQuads, 1>(odd01, odd23);
    }
  }
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
