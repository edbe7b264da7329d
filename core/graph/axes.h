// Axes of samples as axes of tensors, whose first axis is that of the samples, and the ops on
// images applied to any axis: every axis of a dense tensor is the columns of an image [n, all
// before, the axis, all behind].
#pragma once

#include <cstdint>
#include <span>

#include "core/context.h"
#include "core/graph/kinds.h"
#include "core/tensor.h"

namespace gentrain::graph {

/// [n, ...] of n samples of one shape.
Shape of_samples(std::int64_t n, const Shape& sample);

/// Products of a shape's extents around an axis.
struct AroundAxis {
  std::int64_t before = 1;
  std::int64_t behind = 1;
};
AroundAxis around(const Shape& sample, int axis);

/// x of one sample, [1, ...], n times; its gradient is the sum over them. x itself if n is 1.
Tensor repeat_samples(Context& context, const Tensor& x, std::int64_t n);

/// Tensors side by side along an axis of their samples. Throws as ops::concat.
Tensor concat_along(Context& context, std::span<const Tensor> xs, int axis);

/// Pooling with windows of up to 255 rows and columns: of more than 255 pixels along rows first,
/// then along columns, which gives the same maxima, and the same means but for rounding.
///
/// x [n, h, w, c]. Throws ShapeError as ops::max_pool2d.
Tensor pool(Context& context, const Tensor& x, const Pooling& rule, const ops::Padding& padding);

/// Over all pixels of images of any size.
///
/// x [n, h, w, c], result [n, c]
Tensor pool_all(Context& context, PoolingKind kind, const Tensor& x);

/// The largest value along axes of the samples, which stay with extent 1; NaN where there is one.
/// Of equal ones the first gets the gradient.
Tensor largest_along(Context& context, const Tensor& x, std::span<const int> axes);

}  // namespace gentrain::graph
