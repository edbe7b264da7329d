// Functions with a corner at 0, on vectors: x above 0, slope * x elsewhere. Which kind it is, is
// known at compile time, so that loops without one and those with ReLU do nothing in vain.
#pragma once

#include "kernels/cpu/simd/math.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

enum class Rectifier : std::uint8_t { kNone, kRelu, kLeaky };  // slope 1, slope 0, any other

template <Rectifier kKind>
struct RectifierKind {
  static constexpr Rectifier kValue = kKind;
};

/// Calls function(RectifierKind<...>) with the kind that a slope has.
template <class Function>
static inline void with_rectifier(float slope, Function function) {
  if (slope == 1.0F) {
    function(RectifierKind<Rectifier::kNone>{});
  } else if (slope == 0.0F) {
    function(RectifierKind<Rectifier::kRelu>{});
  } else {
    function(RectifierKind<Rectifier::kLeaky>{});
  }
}

/// NaN stays NaN.
template <Rectifier kKind>
static inline Vec rectify(Vec x, Vec slope) {
  if constexpr (kKind == Rectifier::kRelu) {
    return relu_vec(x);
  } else if constexpr (kKind == Rectifier::kLeaky) {
    return select(x > Vec{}, x, slope * x);
  } else {
    return x;
  }
}

/// dy times the derivative, by the sign of the result y; without a rectifier y is not looked at.
template <Rectifier kKind>
static inline Vec rectify_backward(Vec y, Vec dy, Vec slope) {
  if constexpr (kKind == Rectifier::kRelu) {
    return select(y > Vec{}, dy, Vec{});
  } else if constexpr (kKind == Rectifier::kLeaky) {
    return select(y > Vec{}, dy, slope * dy);
  } else {
    return dy;
  }
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
