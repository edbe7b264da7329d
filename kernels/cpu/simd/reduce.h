// Reductions behind ReduceKernels, in blocks of kReduceBlock elements.
#pragma once

#include <cstdint>

namespace gentrain::simd {

// The constant of kernels/reduce.h, which this folder cannot see; its other user asserts that they
// are equal.
constexpr std::int64_t kReduceBlock = 4096;

struct ReduceTable {
  float (*sum)(const float* x, std::int64_t count);
  /// blocks [ceil(count / kReduceBlock)]
  void (*square_sums)(const float* x, std::int64_t count, double* blocks);
  bool (*all_finite)(const float* x, std::int64_t count);
};

}  // namespace gentrain::simd
