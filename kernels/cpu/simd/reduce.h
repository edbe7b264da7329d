// Reductions behind ReduceKernels, in blocks of kReduceBlock elements.
#pragma once

#include <cstdint>

namespace gentrain::simd {

struct ReduceTable {
  float (*sum)(const float* x, std::int64_t count);
  /// blocks [ceil(count / kReduceBlock)]
  void (*square_sums)(const float* x, std::int64_t count, double* blocks);
  bool (*all_finite)(const float* x, std::int64_t count);
};

}  // namespace gentrain::simd
