// Sums, means and largest values along axes, and softmax.
#include <algorithm>

#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

/// The axes that a node reduces, ascending, without the samples' axis. Empty: none, if it says so.
std::vector<int> reduced_axes(Call& call, const Placed& x) {
  const std::optional<std::vector<std::int64_t>> list = call.list("axes", 1);
  const bool none = call.attributes().flag("noop_with_empty_axes", false);
  if (!list || list->empty()) {
    if (none) {
      return {};
    }
    refuse(
        "it has no axes, which means all, the samples' too: what mixes samples is not "
        "supported");
  }
  std::vector<int> axes;
  for (const std::int64_t axis : *list) {
    axes.push_back(call.axis(axis, Call::rank(x)));
  }
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) {
    refuse("its axes are {}: one is there twice", text_of(*list));
  }
  return axes;
}

void give_reduced(Call& call, const Placed& reduced, const std::vector<int>& axes, bool keep) {
  call.give(keep ? reduced : without_axes(call, reduced, axes));
}

/// Whether it is the mean over the pixels of images, and the axes of an image stand so.
bool is_global_pooling(Call& call, const Placed& x, const std::vector<int>& axes) {
  const std::vector<std::int64_t> dims = call.build().dims(x);
  return dims.size() == 3 && axes.size() == 2 && x.axes[2] != axes[0] && x.axes[2] != axes[1] &&
         dims[static_cast<std::size_t>(axes[0])] <= kMostPixels &&
         dims[static_cast<std::size_t>(axes[1])] <= kMostPixels;
}

void reduce_mean(Call& call) {
  const Placed& x = call.placed(0);
  const bool keep = call.attributes().flag("keepdims", true);
  const std::vector<int> axes = reduced_axes(call, x);
  Placed result = x;
  if (is_global_pooling(call, x, axes)) {
    const std::int64_t channels = call.build().graph().node(x.node).shape[2];
    const int pool = call.build().add(graph::GlobalPooling{graph::PoolingKind::kAverage}, {x.node});
    result.node = call.build().reshaped(pool, Shape{1, 1, channels});
  } else {
    for (const int axis : axes) {
      result = mean_along(call, result, axis);
    }
  }
  give_reduced(call, result, axes, keep);
}

void sum(Call& call) {
  const Placed& x = call.placed(0);
  const bool keep = call.attributes().flag("keepdims", true);
  const std::vector<int> axes = reduced_axes(call, x);
  Placed result = x;
  for (const int axis : axes) {
    ops::AxisRows rows;
    rows.from = call.build().dims(result)[static_cast<std::size_t>(axis)];
    call.build().budget().charge(rows.from);
    for (std::int64_t i = 0; i < rows.from; ++i) {
      rows.sources.push_back(static_cast<std::int32_t>(i));
    }
    rows.weights.assign(rows.sources.size(), 1);
    rows.begins = {0, static_cast<std::int32_t>(rows.from)};
    result = call.build().mapped(result, axis, std::move(rows), "sum");
  }
  give_reduced(call, result, axes, keep);
}

Placed largest(Call& call, const Placed& x, const std::vector<int>& axes) {
  std::vector<int> positions;
  positions.reserve(axes.size());
  for (const int axis : axes) {
    positions.push_back(Builder::position(x, axis));
  }
  std::sort(positions.begin(), positions.end());
  Placed result = x;
  result.node = call.build().add(graph::LargestAlong{std::move(positions)}, {x.node});
  return result;
}

void maximum(Call& call) {
  const Placed& x = call.placed(0);
  const bool keep = call.attributes().flag("keepdims", true);
  const std::vector<int> axes = reduced_axes(call, x);
  give_reduced(call, axes.empty() ? x : largest(call, x, axes), axes, keep);
}

void minimum(Call& call) {
  const Placed& x = call.placed(0);
  const bool keep = call.attributes().flag("keepdims", true);
  const std::vector<int> axes = reduced_axes(call, x);
  if (axes.empty()) {
    return call.give(x);
  }
  const PointwiseRule negative{PointwiseFunction::kAffine, -1, 0};
  const Placed turned = largest(call, call.build().pointwise(x, negative, "negative"), axes);
  give_reduced(call, call.build().pointwise(turned, negative), axes, keep);
}

Placed along_one(Call& call, const Placed& x, int axis, bool log) {
  Placed result = x;
  result.node = call.build().add(graph::Softmax{Builder::position(x, axis), log}, {x.node});
  return result;
}

/// Up to opset 12 all axes from `axis` on are one; which order they have among each other changes
/// nothing.
Placed along_many(Call& call, const Placed& x, int axis, bool log) {
  std::vector<int> order;
  for (const int other : x.axes) {
    if (other < axis) {
      order.push_back(other);
    }
  }
  const auto kept = static_cast<int>(order.size());
  for (const int other : x.axes) {
    if (other >= axis) {
      order.push_back(other);
    }
  }
  Placed result = call.build().arranged(x, order);
  const Shape shape = call.build().graph().node(result.node).shape;
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().begin() + kept);
  std::int64_t values = 1;
  for (int i = kept; i < shape.rank(); ++i) {
    values *= shape[i];
  }
  extents.push_back(values);
  const int rows = call.build().reshaped(result.node, Shape(extents));
  const int softmax = call.build().add(graph::Softmax{-1, log}, {rows});
  result.node = call.build().reshaped(softmax, shape);
  return result;
}

void give_softmax(Call& call, bool log) {
  const Placed& x = call.placed(0);
  const bool old = call.opset() < 13;
  const int axis = call.axis(call.attributes().integer("axis", old ? 1 : -1), Call::rank(x));
  const bool one = !old || axis + 1 == static_cast<int>(x.axes.size());
  call.give(one ? along_one(call, x, axis, log) : along_many(call, x, axis, log));
}

void softmax(Call& call) {
  give_softmax(call, false);
}
void log_softmax(Call& call) {
  give_softmax(call, true);
}

constexpr OperatorEntry kReductionEntries[] = {
    {"ReduceMean", reduce_mean}, {"ReduceSum", sum},   {"ReduceMax", maximum},
    {"ReduceMin", minimum},      {"Softmax", softmax}, {"LogSoftmax", log_softmax}};

}  // namespace

std::span<const OperatorEntry> reduction_operators() {
  return kReductionEntries;
}

}  // namespace gentrain::onnx
