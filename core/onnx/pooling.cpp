// Pools. What the graph's own pooling cannot do, dilation, padding that counts, windows beyond its
// size, is done along one axis after the other: a window's largest value is the largest of strided
// slices, its mean a weighted sum.
#include <limits>

#include "core/graph/axis_rows.h"
#include "core/onnx/operators.h"
#include "core/onnx/windows.h"

namespace gentrain::onnx {
namespace {

const Shape& shape_of(Call& call, const Placed& value) {
  return call.build().graph().node(value.node).shape;
}

/// Whether graph::Pooling has windows of this kind.
bool is_plain(const Windows& axes) {
  return axes[0].dilation == 1 && axes[1].dilation == 1 &&
         axes[0].window * axes[1].window <= kMostPixels &&
         std::max(axes[0].before, axes[0].reached()) < axes[0].window &&
         std::max(axes[1].before, axes[1].reached()) < axes[1].window;
}

void plain_pool(Call& call, graph::PoolingKind kind, const Placed& image, const Windows& axes) {
  graph::Pooling node;
  node.pooling = kind;
  node.window = {axes[0].window, axes[1].window};
  node.stride = {axes[0].stride, axes[1].stride};
  // Padding behind that no window reaches would only be checked.
  node.padding.explicit_padding = {axes[0].before, axes[0].reached(), axes[1].before,
                                   axes[1].reached()};
  Placed result = image;
  result.node = call.build().add(node, {image.node});
  call.give(result);
}

/// The positions that number `k` of all windows sees, -1 in the padding.
std::vector<std::int64_t> seen_by(const WindowAxis& axis, std::int64_t k) {
  std::vector<std::int64_t> positions;
  positions.reserve(static_cast<std::size_t>(axis.to));
  for (std::int64_t i = 0; i < axis.to; ++i) {
    const std::int64_t at = i * axis.stride + k * axis.dilation - axis.before;
    positions.push_back(at >= 0 && at < axis.from ? at : -1);
  }
  return positions;
}

Placed largest_along(Call& call, const Placed& value, int file_axis, const WindowAxis& axis) {
  Placed largest;
  for (std::int64_t k = 0; k < axis.window; ++k) {
    call.build().budget().charge(axis.to);
    const Placed slice = call.build().mapped(
        value, file_axis,
        graph::copied_rows(axis.from, seen_by(axis, k), -std::numeric_limits<float>::infinity()),
        "slice");
    largest =
        k == 0 ? slice : call.build().binary(BinaryFunction::kMaximum, largest, slice, "largest");
  }
  return largest;
}

void max_pool(Call& call) {
  const Placed image = call.build().image(call.placed(0));
  const auto kernel = read_kernel(call, nullptr);
  const Windows axes = read_windows(call, image, kernel, true);
  call.attributes().integer("storage_order", 0);  // of the indices, which are not given
  if (is_plain(axes)) {
    return plain_pool(call, graph::PoolingKind::kMax, image, axes);
  }
  for (const WindowAxis& axis : axes) {
    if (axis.window > kMostPixels) {
      refuse("its window of {} x {} is too large, at most {} in a direction are supported",
             kernel[0], kernel[1], kMostPixels);
    }
  }
  call.give(largest_along(call, largest_along(call, image, 1, axes[0]), 2, axes[1]));
}

/// The mean over the window's positions inside the image, or, if padding counts, inside the image
/// and its padding, which is 0.
ops::AxisRows mean_rows(Call& call, const WindowAxis& axis, bool padding_counts) {
  call.build().budget().charge(
      count_of(std::array{axis.to, std::min(axis.window, axis.from)}, "its windows"));
  ops::AxisRows rows;
  rows.from = axis.from;
  rows.begins.push_back(0);
  for (std::int64_t i = 0; i < axis.to; ++i) {
    std::int64_t count = 0;
    const std::int64_t first = i * axis.stride - axis.before;
    for (std::int64_t k = 0; k < axis.window; ++k) {
      const std::int64_t at = first + k * axis.dilation;
      const bool inside = at >= 0 && at < axis.from;
      count += inside || (padding_counts && at < axis.from + axis.after) ? 1 : 0;
      if (inside) {
        rows.sources.push_back(static_cast<std::int32_t>(at));
      }
    }
    rows.weights.resize(rows.sources.size(), count == 0 ? 0 : 1 / static_cast<float>(count));
    rows.begins.push_back(static_cast<std::int32_t>(rows.sources.size()));
  }
  return rows;
}

void average_pool(Call& call) {
  const Placed image = call.build().image(call.placed(0));
  const Windows axes = read_windows(call, image, read_kernel(call, nullptr), true);
  const bool padding_counts = call.attributes().flag("count_include_pad", false);
  const bool padded = axes[0].before + axes[0].after + axes[1].before + axes[1].after > 0;
  if (is_plain(axes) && !(padding_counts && padded)) {
    return plain_pool(call, graph::PoolingKind::kAverage, image, axes);
  }
  const Placed rows =
      call.build().mapped(image, 1, mean_rows(call, axes[0], padding_counts), "rows");
  call.give(call.build().mapped(rows, 2, mean_rows(call, axes[1], padding_counts), ""));
}

/// [h, w, c] to [1, 1, c]
void give_global(Call& call, graph::PoolingKind kind) {
  const Placed image = call.build().image(call.placed(0));
  const Shape shape = shape_of(call, image);
  if (std::max(shape[0], shape[1]) > kMostPixels) {
    if (kind == graph::PoolingKind::kAverage) {
      return call.give(mean_along(call, mean_along(call, image, 1), 2));
    }
    Placed largest = image;
    largest.node = call.build().add(graph::LargestAlong{{0, 1}}, {image.node});
    return call.give(largest);
  }
  Placed result = image;
  const int pool = call.build().add(graph::GlobalPooling{kind}, {image.node});
  result.node = call.build().reshaped(pool, Shape{1, 1, shape[2]});
  call.give(result);
}

void global_average(Call& call) {
  give_global(call, graph::PoolingKind::kAverage);
}
void global_max(Call& call) {
  give_global(call, graph::PoolingKind::kMax);
}

constexpr OperatorEntry kPoolingEntries[] = {{"MaxPool", max_pool},
                                             {"AveragePool", average_pool},
                                             {"GlobalAveragePool", global_average},
                                             {"GlobalMaxPool", global_max}};

}  // namespace

std::span<const OperatorEntry> pooling_operators() {
  return kPoolingEntries;
}

Placed mean_along(Call& call, const Placed& value, int axis) {
  const std::int64_t extent = call.build().dims(value)[static_cast<std::size_t>(axis)];
  const WindowAxis whole{.window = extent, .from = extent};
  return call.build().mapped(value, axis, mean_rows(call, whole, false), "mean");
}

}  // namespace gentrain::onnx
