// Element by element: one loop over whole vectors and one masked vector for the rest, by the same
// arithmetic, so that an element's bits do not depend on where it stands.
#pragma once

#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

template <class Function>
static inline void map(const float* x, float* y, std::int64_t count, Function function) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(y + i, function(load(x + i)));
  }
  if (const int rest = static_cast<int>(count - i); rest > 0) {
    store_n(y + i, function(load_n(x + i, rest)), rest);
  }
}

template <class Function>
static inline void map(const float* a, const float* b, float* y, std::int64_t count,
                       Function function) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(y + i, function(load(a + i), load(b + i)));
  }
  if (const int rest = static_cast<int>(count - i); rest > 0) {
    store_n(y + i, function(load_n(a + i, rest), load_n(b + i, rest)), rest);
  }
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
