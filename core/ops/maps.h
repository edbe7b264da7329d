// Differentiable operations that move, repeat and weigh elements, and functions of one and two
// tensors: what networks out of files are made of beside ops.h. Tensors as there.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/context.h"
#include "core/tensor.h"
#include "kernels/pointwise.h"

namespace gentrain::ops {

/// Element by element. The gradient of kAffine does not look at x: it is a dy, where x is NaN too.
/// Throws ShapeError for constants out of the function's range.
Tensor pointwise(Context& context, const Tensor& x, const PointwiseRule& rule);

/// Element by element. a and b have as many axes; where one has extent 1 and the other more it is
/// repeated. Beside images of bf16 the other one may be f32, as parameters and constants are; the
/// result is bf16. Where shards stand side by side the result has the rows of all of them, and the
/// gradient of what is repeated along the first axis is that of shard after shard.
///
/// Throws ShapeError if extents do not fit.
Tensor binary(Context& context, BinaryFunction function, const Tensor& a, const Tensor& b);

/// Axis i of the result is axis axes[i] of x. Throws ShapeError unless axes are 0 to rank - 1, each
/// once.
Tensor permute(Context& context, const Tensor& x, std::span<const int> axes);

/// How the positions along an axis come out of those before.
struct AxisRows {
  std::int64_t from = 0;  // positions before, at least 1
  /// Terms of each position after: row i are terms begins[i] to begins[i + 1]. begins has one more
  /// element than there are positions after, which are at least one; begins[0] = 0.
  std::vector<std::int32_t> begins;
  std::vector<std::int32_t> sources;  // position before, in [0, from)
  std::vector<float> weights;         // one for each source
  float fill = 0;                     // of positions without terms

  [[nodiscard]] std::int64_t to() const { return static_cast<std::int64_t>(begins.size()) - 1; }
  friend bool operator==(const AxisRows&, const AxisRows&) = default;
};

/// y(..., i, ...) = sum over the terms of row i of weight * x(..., source, ...), terms in order.
/// Throws ShapeError if x has not `from` positions along the axis or the rows are not as stated.
Tensor axis_map(Context& context, const Tensor& x, int axis,
                const std::shared_ptr<const AxisRows>& rows);

/// exp(x) / sum of exp(x) over the last axis, or its logarithm; differentiable.
///
/// x [..., k], k at least 1; result as x
Tensor softmax_last(Context& context, const Tensor& x, bool log = false);

}  // namespace gentrain::ops
