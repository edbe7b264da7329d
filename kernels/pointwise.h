// The contract for pointwise functions beyond those that layers compute along, for functions of two
// tensors, and for what moves and weighs positions along axes. Determinism: as in conv.h; each
// element depends on its own index, or on those of its row or axis, only, and sums go over them in
// a fixed order.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "kernels/pointwise_function.h"
#include "kernels/shard_rows.h"
#include "kernels/view.h"

namespace gentrain {

class Queue;

struct PointwiseRule {
  PointwiseFunction function = PointwiseFunction::kAffine;
  double a = 1;
  double b = 0;
  double c = std::numeric_limits<double>::infinity();
  friend bool operator==(const PointwiseRule&, const PointwiseRule&) = default;
};

/// "affine", "elu", "hard_sigmoid"
std::string_view name_of(PointwiseFunction function);

/// "add", "maximum"
std::string_view name_of(BinaryFunction function);

/// Throws ShapeError naming the function and the constant for one that the function has and that is
/// out of its range: a finite number of f32, but for those of kClip and the maximum of kRelu, which
/// may be infinite; a up to b of kClip, c from b on of kRelu; above 0: c of kElu, a of kSoftplus;
/// at least 0: a of kSoftShrink and kHardShrink.
void check(const PointwiseRule& rule);

/// The shape of a function of two tensors: they have as many axes; where one has extent 1 it is
/// repeated. Throws ShapeError naming the routine if they do not fit.
Shape repeated_shape(std::string_view routine, const Shape& a, const Shape& b);

/// x's extents in the order of `axes`. Throws ShapeError naming the routine unless axes are 0 to
/// rank - 1, each once.
Shape permuted(std::string_view routine, const Shape& x, std::span<const int> axes);

/// How positions along an axis come out of those before: position i is the sum of the terms
/// begins[i] to begins[i + 1], each a weight times the source position, in order; `fill` without
/// any. The spans lie in host memory and are read during a call only.
struct AxisTerms {
  std::int64_t from = 0;                  // positions before, at least 1
  std::span<const std::int32_t> begins;   // [to + 1], begins[0] = 0, none below the one before
  std::span<const std::int32_t> sources;  // [begins[to]], in [0, from)
  std::span<const float> weights;         // as sources
  float fill = 0;

  [[nodiscard]] std::int64_t to() const { return std::ssize(begins) - 1; }
};

/// Throws ShapeError naming the routine unless the terms are as stated and to() is at least 1.
void check(std::string_view routine, const AxisTerms& terms);
/// Throws ShapeError naming the routine unless the shapes are [outer, from, inner] and
/// [outer, to, inner].
void check_axis_shapes(std::string_view routine, const AxisTerms& terms, const Shape& before,
                       const Shape& after);
/// The extent k of [..., k]. Throws ShapeError naming the routine if there is none or it is 0.
std::int64_t last_extent(std::string_view routine, const Shape& shape);
/// Throws ShapeError as check_shards, of the rows along the first axis; and if there is none.
void check_side_by_side(std::string_view routine, ShardRows shards, const Shape& shape);

/// What the backward pass of a function of two tensors reads.
struct BinarySources {
  ConstView a;   // may be absent for kAdd and kSubtract, whose gradients do not depend on them
  ConstView b;   // likewise
  ConstView dy;  // of the shape that a and b have together
};

/// f32 on every backend, f64 on the reference backend, bf16 on the CPU as struct Bf16 says. Every
/// routine throws ShapeError if a view is missing or has another shape or type than is stated here,
/// and where one of the checks above does. Tensors may be empty. NaN in a source is NaN in all that
/// depends on it; at infinities results are what the formulas give by IEEE 754: -inf times 0 is
/// NaN.
class PointwiseKernels {
 public:
  virtual ~PointwiseKernels() = default;

  /// y = function(x); as many elements, y may be x.
  ///
  /// Errors are below 1e-6 of the result, but where terms of a formula cancel (of kGelu and
  /// kTanhShrink 1e-6 of |x|) and for the rounding of a x, or x / c, to f32.
  virtual void forward(Queue& queue, const PointwiseRule& rule, ConstView x, View y) = 0;
  /// dx = dy * function'(x); as many elements, dx may be a source.
  ///
  /// Where the function has a kink the derivative is that of one side. kRelu: the slope a at b, 0
  /// from c on. kClip: 1 at a and b (clamp in PyTorch, clip_by_value in TensorFlow). kElu: that
  /// from below. kHardSigmoid: 0 where it reaches 0 and 1; kHardSwish follows it. kAbs: 0 at 0.
  /// kThreshold, kSoftShrink and kHardShrink: 0 at a, the latter two at -a. All as in PyTorch. It
  /// is NaN where x is.
  virtual void backward(Queue& queue, const PointwiseRule& rule, ConstView x, ConstView dy,
                        View dx) = 0;

  /// y = function(a, b), y of the shape that a and b have together; y may be a source of its shape.
  /// Where y is bf16 each of a and b is bf16 or f32, at least one bf16: a parameter or a constant
  /// beside images is f32.
  virtual void binary(Queue& queue, BinaryFunction function, ConstView a, ConstView b, View y) = 0;
  /// da = dy * function's derivative by a, summed over the axes along which a is repeated, in a
  /// fixed order; db likewise. Either may be absent; none may be a source. Each has the shape and
  /// type of its source, dy the type that y has.
  ///
  /// Where shards stand side by side (dy's first extent is that of all their rows) and a tensor is
  /// repeated along the first axis, sums go over the rows of each shard, then over the shards as a
  /// tree, ((s0 + s1) + (s2 + s3)) + ... A shard without rows counts as zeros.
  ///
  /// Of kMaximum and kMinimum the gradient goes to the one that was taken, half of it to each where
  /// they are equal, all of it to both where one is NaN: as in PyTorch.
  virtual void binary_backward(Queue& queue, BinaryFunction function, const BinarySources& sources,
                               View da, View db, ShardRows shards) = 0;

  /// Axis i of y is axis axes[i] of x. y may not be x.
  virtual void permute(Queue& queue, std::span<const int> axes, ConstView x, View y) = 0;

  /// y [outer, to, inner] from x [outer, from, inner] as `terms` say. A position with one term of
  /// weight 1 is a copy, bit for bit.
  virtual void axis_map(Queue& queue, const AxisTerms& terms, ConstView x, View y) = 0;
  /// dx [outer, from, inner] from dy [outer, to, inner]: the transposed map, terms in order of i; 0
  /// where a position is no source.
  virtual void axis_map_backward(Queue& queue, const AxisTerms& terms, ConstView dy, View dx) = 0;

  /// y = exp(x) / sum of exp(x) over the last axis, or its logarithm, x [..., k], k at least 1.
  virtual void softmax(Queue& queue, bool log, ConstView x, View y) = 0;
  /// dx = y (dy - sum of y dy), of the logarithm dy - exp(y) sum of dy; all of one shape.
  virtual void softmax_backward(Queue& queue, bool log, ConstView y, ConstView dy, View dx) = 0;
};

}  // namespace gentrain
