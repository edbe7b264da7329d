// The contract for reductions inside one tensor: fixed blocks of kReduceBlock elements, each summed
// in a fixed order, block sums added from first to last. Determinism: as in conv.h.
#pragma once

#include <cstdint>

#include "kernels/view.h"

namespace gentrain {

class Queue;

/// Elements of a block. Segments of the exchange begin on block boundaries, so that a sum over a
/// segmented tensor is the sum over the whole.
inline constexpr std::int64_t kReduceBlock = 4096;

/// f32 on every backend, f64 on the reference backend; square_sums and all_finite also bf16 on the
/// CPU, as struct Bf16 says. Every routine throws ShapeError if a view is missing or has another
/// type or number of elements than is stated here.
class ReduceKernels {
 public:
  virtual ~ReduceKernels() = default;

  /// y (one element) = sum of x
  virtual void sum(Queue& queue, ConstView x, View y) = 0;
  /// blocks [ceil(elements / kReduceBlock)], f64: the sum of squares of each block.
  virtual void square_sums(Queue& queue, ConstView x, View blocks) = 0;
  /// Whether every element of x is finite (neither NaN nor infinite).
  virtual bool all_finite(Queue& queue, ConstView x) = 0;
};

}  // namespace gentrain
