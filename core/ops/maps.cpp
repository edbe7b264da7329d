// Functions of one and two tensors, permutations and maps along axes.
#include "core/ops/maps.h"

#include <fmt/format.h>

#include "core/ops/parts.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"

namespace gentrain::ops {

Tensor pointwise(Context& context, const Tensor& x, const PointwiseRule& rule) {
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, x.shape(), x.dtype());
  device.pointwise().forward(queue, rule, x.cview(), y.view());
  if (context.tape != nullptr) {
    const bool affine = rule.function == PointwiseFunction::kAffine;  // its gradient needs no x
    context.tape->record(
        "pointwise", y, {x},
        [&device, &queue, rule, x = affine ? Tensor{} : x](const Tensor& dy, GradSink& sink) {
          const Tensor dx = sink.make(0);
          if (x.defined()) {
            device.pointwise().backward(queue, rule, x.cview(), dy.cview(), dx.view());
          } else {
            device.elementwise().scale(queue, rule.a, dy.cview(), dx.view());
          }
          sink.put(0, dx);
        });
  }
  return y;
}

namespace {

/// What the backward pass of binary reads; a and b undefined where no gradient depends on them.
struct BinaryPass {
  Device& device;
  Queue& queue;
  BinaryFunction function;
  ShardRows shards;
  Tensor a, b;
  Shape shape_a, shape_b;
  DType type_a, type_b;

  /// Whether the gradient of an input is dy itself.
  [[nodiscard]] bool passes(int input, const Tensor& dy) const {
    const bool same = input == 0 ? shape_a == dy.shape() && type_a == dy.dtype()
                                 : shape_b == dy.shape() && type_b == dy.dtype();
    return same && (function == BinaryFunction::kAdd ||
                    (function == BinaryFunction::kSubtract && input == 0));
  }

  void backward(const Tensor& dy, GradSink& sink) const {
    Tensor gradients[2];
    for (const int input : {0, 1}) {
      if (sink.wants(input) && passes(input, dy)) {
        sink.put(input, dy);
      } else if (sink.wants(input)) {
        gradients[input] = sink.make(input);
      }
    }
    const auto view = [&](int input) {
      return gradients[input].defined() ? gradients[input].view() : View{};
    };
    if (!gradients[0].defined() && !gradients[1].defined()) {
      return;
    }
    device.pointwise().binary_backward(queue, function, {optional(a), optional(b), dy.cview()},
                                       view(0), view(1), shards);
    for (const int input : {0, 1}) {
      if (gradients[input].defined()) {
        sink.put(input, gradients[input]);
      }
    }
  }
};

}  // namespace

Tensor binary(Context& context, BinaryFunction function, const Tensor& a, const Tensor& b) {
  const Shape shape = repeated_shape("binary", a.shape(), b.shape());
  const ShardRows shards = context.shards == nullptr ? ShardRows{} : context.shards->rows;
  check_side_by_side("binary", shards, shape);
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, shape, b.dtype() == DType::kBf16 ? b.dtype() : a.dtype());
  device.pointwise().binary(queue, function, a.cview(), b.cview(), y.view());
  if (context.tape != nullptr) {
    const bool linear = function == BinaryFunction::kAdd || function == BinaryFunction::kSubtract;
    const BinaryPass pass{.device = device,
                          .queue = queue,
                          .function = function,
                          .shards = shards,
                          .a = linear ? Tensor{} : a,
                          .b = linear ? Tensor{} : b,
                          .shape_a = a.shape(),
                          .shape_b = b.shape(),
                          .type_a = a.dtype(),
                          .type_b = b.dtype()};
    context.tape->record("binary", y, {a, b},
                         [pass](const Tensor& dy, GradSink& sink) { pass.backward(dy, sink); });
  }
  return y;
}

Tensor permute(Context& context, const Tensor& x, std::span<const int> axes) {
  const Shape shape = permuted("permute", x.shape(), axes);
  if (!axes.empty() && axes[0] != 0) {
    one_shard_only(context, "permute of the first axis");
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, shape, x.dtype());
  device.pointwise().permute(queue, axes, x.cview(), y.view());
  if (context.tape != nullptr) {
    std::vector<int> back(axes.size());
    for (std::size_t i = 0; i < axes.size(); ++i) {
      back[static_cast<std::size_t>(axes[i])] = static_cast<int>(i);
    }
    context.tape->record("permute", y, {x},
                         [&device, &queue, back](const Tensor& dy, GradSink& sink) {
                           const Tensor dx = sink.make(0);
                           device.pointwise().permute(queue, back, dy.cview(), dx.view());
                           sink.put(0, dx);
                         });
  }
  return y;
}

namespace {

AxisTerms terms_of(const AxisRows& rows) {
  return {rows.from, rows.begins, rows.sources, rows.weights, rows.fill};
}

/// A shape with another extent along an axis, and as [before, extent, behind] of the axis.
Shape with_extent(const Shape& shape, int axis, std::int64_t extent) {
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents[static_cast<std::size_t>(axis)] = extent;
  return Shape(extents);
}
Shape around(const Shape& shape, int axis) {
  std::int64_t outer = 1;
  std::int64_t inner = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    outer *= i < axis ? shape[i] : 1;
    inner *= i > axis ? shape[i] : 1;
  }
  return {outer, shape[axis], inner};
}

}  // namespace

Tensor axis_map(Context& context, const Tensor& x, int axis,
                const std::shared_ptr<const AxisRows>& rows) {
  const Shape& xs = x.shape();
  if (rows == nullptr) {
    throw ShapeError("axis_map: rows are missing");
  }
  if (axis < 0 || axis >= xs.rank() || xs[axis] != rows->from) {
    throw ShapeError(
        fmt::format("axis_map: x {} along axis {}: a tensor with {} positions there "
                    "needed",
                    xs.str(), axis, rows->from));
  }
  check("axis_map", terms_of(*rows));
  if (axis == 0) {
    one_shard_only(context, "axis_map along the first axis");
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, with_extent(xs, axis, rows->to()), x.dtype());
  const Shape before = around(xs, axis);
  const Shape after = around(y.shape(), axis);
  device.pointwise().axis_map(queue, terms_of(*rows), x.reshaped(before).cview(),
                              y.reshaped(after).view());
  if (context.tape != nullptr) {
    context.tape->record("axis_map", y, {x},
                         [&device, &queue, rows, before, after](const Tensor& dy, GradSink& sink) {
                           const Tensor dx = sink.make(0);
                           device.pointwise().axis_map_backward(queue, terms_of(*rows),
                                                                dy.reshaped(after).cview(),
                                                                dx.reshaped(before).view());
                           sink.put(0, dx);
                         });
  }
  return y;
}

Tensor softmax_last(Context& context, const Tensor& x, bool log) {
  last_extent("softmax_last", x.shape());
  if (x.shape().rank() == 1) {
    one_shard_only(context, "softmax_last along the first axis");
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, x.shape(), x.dtype());
  device.pointwise().softmax(queue, log, x.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record(
        "softmax_last", y, {x}, [&device, &queue, log, y](const Tensor& dy, GradSink& sink) {
          const Tensor dx = sink.make(0);
          device.pointwise().softmax_backward(queue, log, y.cview(), dy.cview(), dx.view());
          sink.put(0, dx);
        });
  }
  return y;
}

}  // namespace gentrain::ops
