// Between f32 and bf16. A bf16 is the upper half of a float, given here as its bits.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// Rounding is to the nearest, ties to the even one; NaN stays NaN.
struct Bf16Table {
  void (*widen)(const std::uint16_t* x, float* y, std::int64_t count);
  void (*narrow)(const float* x, std::uint16_t* y, std::int64_t count);
  /// y = the bf16 nearest to x, as a float; y may be x.
  void (*round)(const float* x, float* y, std::int64_t count);
};

}  // namespace gentrain::simd
