// Concatenation and pooling along any axis, by images of other extents.
#include "core/graph/axes.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "core/ops/maps.h"
#include "core/ops/ops.h"

namespace gentrain::graph {

namespace {

constexpr std::int64_t kMostPixels = 255;  // of a pooling window, see kernels/pool.h

Tensor pool_window(Context& context, PoolingKind kind, const Tensor& x, const ops::Window& window,
                   const ops::Stride& stride, const ops::Padding& padding) {
  return kind == PoolingKind::kMax ? ops::max_pool2d(context, x, window, stride, padding)
                                   : ops::average_pool2d(context, x, window, stride, padding);
}

/// The largest value of each row of images: [n, h, w, c] to [n, h, 1, c].
Tensor largest_of_rows(Context& context, Tensor x) {
  while (x.shape()[2] > kMostPixels) {
    const std::int64_t beyond = x.shape()[2] % kMostPixels;
    const std::int64_t missing = beyond == 0 ? 0 : kMostPixels - beyond;
    x = ops::max_pool2d(context, x, {1, kMostPixels}, {1, kMostPixels}, {0, 0, 0, missing});
  }
  return ops::max_pool2d(context, x, {1, x.shape()[2]}, {1, 1});
}

Tensor mean_along(Context& context, const Tensor& x, int axis) {
  const std::int64_t extent = x.shape()[axis];
  auto rows = std::make_shared<ops::AxisRows>();
  rows->from = extent;
  rows->begins = {0, static_cast<std::int32_t>(extent)};
  for (std::int64_t i = 0; i < extent; ++i) {
    rows->sources.push_back(static_cast<std::int32_t>(i));
  }
  rows->weights.assign(static_cast<std::size_t>(extent), 1);
  return ops::scale(context, ops::axis_map(context, x, axis, rows),
                    1.0 / static_cast<double>(extent));
}

}  // namespace

Shape of_samples(std::int64_t n, const Shape& sample) {
  std::vector<std::int64_t> extents{n};
  extents.insert(extents.end(), sample.extents().begin(), sample.extents().end());
  return Shape(extents);
}

AroundAxis around(const Shape& sample, int axis) {
  AroundAxis extents;
  for (int i = 0; i < sample.rank(); ++i) {
    if (i != axis) {
      (i < axis ? extents.before : extents.behind) *= sample[i];
    }
  }
  return extents;
}

Tensor repeat_samples(Context& context, const Tensor& x, std::int64_t n) {
  if (n == 1) {
    return x;
  }
  auto rows = std::make_shared<ops::AxisRows>();
  rows->from = 1;
  for (std::int64_t i = 0; i <= n; ++i) {
    rows->begins.push_back(static_cast<std::int32_t>(i));
  }
  rows->sources.assign(static_cast<std::size_t>(n), 0);
  rows->weights.assign(static_cast<std::size_t>(n), 1);
  return ops::axis_map(context, x, 0, rows);
}

Tensor concat_along(Context& context, std::span<const Tensor> xs, int axis) {
  const int tensor_axis = axis + 1;
  const Shape& first = xs[0].shape();
  if (tensor_axis == first.rank() - 1) {
    return ops::concat(context, xs);
  }
  const AroundAxis extents = around(first, tensor_axis);
  std::vector<Tensor> rows;
  std::int64_t together = 0;
  for (const Tensor& x : xs) {
    const std::int64_t extent = x.shape()[tensor_axis];
    rows.push_back(ops::reshape(context, x, {extents.before, extent * extents.behind}));
    together += extent;
  }
  std::vector<std::int64_t> shape(first.extents().begin(), first.extents().end());
  shape[static_cast<std::size_t>(tensor_axis)] = together;
  return ops::reshape(context, ops::concat(context, rows), Shape(shape));
}

Tensor pool(Context& context, const Tensor& x, const Pooling& rule, const ops::Padding& padding) {
  const PoolingKind kind = rule.pooling;
  const ops::Window& window = rule.window;
  const ops::Stride& stride = rule.stride;
  if (window.h * window.w <= kMostPixels) {
    return pool_window(context, kind, x, window, stride, padding);
  }
  const Tensor rows = pool_window(context, kind, x, {1, window.w}, {1, stride.w},
                                  {0, 0, padding.left, padding.right});
  return pool_window(context, kind, rows, {window.h, 1}, {stride.h, 1},
                     {padding.top, padding.bottom, 0, 0});
}

Tensor pool_all(Context& context, PoolingKind kind, const Tensor& x) {
  const Shape& shape = x.shape();
  const std::int64_t n = shape[0];
  const std::int64_t h = shape[1];
  const std::int64_t w = shape[2];
  const std::int64_t c = shape[3];
  Tensor y;
  if (std::max(h, w) <= kMostPixels) {
    const Pooling rule{.pooling = kind, .window = {h, w}, .stride = {1, 1}, .padding = {}};
    y = pool(context, x, rule, {});
  } else if (kind == PoolingKind::kAverage) {
    const Tensor floats = ops::out_of_network(context, x);  // one rounding, not one for each axis
    y = mean_along(context, mean_along(context, floats, 2), 1);
    y = x.dtype() == y.dtype() ? y : ops::into_network(context, y);
  } else {
    y = largest_of_rows(context, ops::reshape(context, x, {n, 1, h * w, c}));
  }
  return ops::reshape(context, y, {n, c});
}

Tensor largest_along(Context& context, const Tensor& x, std::span<const int> axes) {
  Tensor y = x;
  for (const int axis : axes) {
    const Shape shape = y.shape();
    const AroundAxis extents = around(shape, axis + 1);
    const Tensor image =
        ops::reshape(context, y, {1, extents.before, shape[axis + 1], extents.behind});
    std::vector<std::int64_t> left(shape.extents().begin(), shape.extents().end());
    left[static_cast<std::size_t>(axis) + 1] = 1;
    y = ops::reshape(context, largest_of_rows(context, image), Shape(left));
  }
  return y;
}

}  // namespace gentrain::graph
