// The contract for dense layers: matrix products with bias and activation. Determinism: as in
// conv.h.
#pragma once

#include "kernels/activation.h"
#include "kernels/shard_rows.h"
#include "kernels/view.h"

namespace gentrain {

class Queue;

/// f32 on every backend, f64 on the reference backend, bf16 on the CPU as struct Bf16 says. n rows,
/// k inputs, m outputs. Every routine throws ShapeError if a view is missing, empty, or has another
/// shape or type than is stated here, and as check_shards. Where shards stand side by side every
/// row of a result has the bits that it would have in a product over its shard alone.
class MatmulKernels {
 public:
  virtual ~MatmulKernels() = default;

  /// y [n, m] = activation(x [n, k] w^T + bias [m]), w [m, k]; bias may be absent.
  virtual void linear_forward(Queue& queue, ConstView x, const Weights& w, ConstView bias,
                              Activation activation, View y, ShardRows shards) = 0;
  /// dx [n, k] = dy [n, m] w
  virtual void linear_backward_data(Queue& queue, ConstView dy, const Weights& w, View dx,
                                    ShardRows shards) = 0;
  /// dw [m, k] = dy^T x and, where present, dbias [m] = sum of dy over its rows, both in a fixed
  /// order: over the rows of each shard, then over the shards as a tree, ((s0 + s1) + (s2 + s3))
  /// + ... A shard without rows counts as zeros.
  virtual void linear_backward_weights(Queue& queue, ConstView x, ConstView dy, View dw, View dbias,
                                       ShardRows shards) = 0;
};

}  // namespace gentrain
