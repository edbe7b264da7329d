// Forward rules of kinds without parameters but for pooling: functions of elements, and what moves
// them.
#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "core/graph/axes.h"
#include "core/graph/executor_call.h"
#include "core/ops/maps.h"
#include "core/ops/ops.h"

namespace gentrain::graph {

namespace {

/// Inserts axes of extent 1 behind that of the samples.
Tensor with_rank(Context& context, const Tensor& x, int rank) {
  const auto extents = x.shape().extents();
  if (static_cast<int>(extents.size()) == rank) {
    return x;
  }
  std::vector<std::int64_t> aligned(static_cast<std::size_t>(rank), 1);
  aligned[0] = extents[0];
  std::copy_backward(extents.begin() + 1, extents.end(), aligned.end());
  return ops::reshape(context, x, Shape(aligned));
}

/// The axes of a tensor with one of them last; the same exchange leads back.
std::vector<int> exchanged_with_last(int rank, int axis) {
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  std::swap(axes[static_cast<std::size_t>(axis)], axes.back());
  return axes;
}

}  // namespace

Tensor Executor::Call::as_result(const Tensor& x) const {
  return ops::reshape(context, x, of_samples(inputs[0].shape()[0], of().shape));
}

Tensor Executor::Call::operator()(const Input& /*node*/) const {
  return inputs[0];
}

Tensor Executor::Call::operator()(const Constant& node) const {
  one_shard_only(context, "a constant of a graph");
  return executor.constants_->get(context.device, context.queue, step.node, node, dtype);
}

Tensor Executor::Call::operator()(const Activate& node) const {
  return node.slope > 0 ? ops::leaky_relu(context, inputs[0], node.slope)
                        : ops::activate(context, inputs[0], node.activation);
}

Tensor Executor::Call::operator()(const Pointwise& node) const {
  return ops::pointwise(context, inputs[0], node.rule);
}

Tensor Executor::Call::operator()(const Binary& node) const {
  const int rank = std::max(inputs[0].shape().rank(), inputs[1].shape().rank());
  return ops::binary(context, node.function, with_rank(context, inputs[0], rank),
                     with_rank(context, inputs[1], rank));
}

Tensor Executor::Call::operator()(const Flatten& /*node*/) const {
  return as_result(inputs[0]);
}

Tensor Executor::Call::operator()(const Reshape& /*node*/) const {
  return as_result(inputs[0]);
}

Tensor Executor::Call::operator()(const Permute& node) const {
  std::vector<int> axes{0};
  for (const int axis : node.axes) {
    axes.push_back(axis + 1);
  }
  return ops::permute(context, inputs[0], axes);
}

Tensor Executor::Call::operator()(const AxisMap& node) const {
  return ops::axis_map(context, inputs[0], node.axis + 1, node.rows);
}

Tensor Executor::Call::operator()(const LargestAlong& node) const {
  return largest_along(context, inputs[0], node.axes);
}

Tensor Executor::Call::operator()(const Dropout& node) const {
  return ops::dropout(context, inputs[0], node.rate, static_cast<std::uint64_t>(step.node));
}

Tensor Executor::Call::operator()(const Concatenation& node) const {
  return concat_along(context, inputs, node.axis == -1 ? sample().rank() - 1 : node.axis);
}

Tensor Executor::Call::operator()(const Addition& /*node*/) const {
  Tensor sum = inputs[0];
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    const bool last = i + 1 == inputs.size();
    sum =
        ops::add(context, sum, inputs[i], last ? activation(Activation::kNone) : Activation::kNone);
  }
  return sum;
}

Tensor Executor::Call::operator()(const Softmax& node) const {
  const Tensor x = ops::out_of_network(context, inputs[0]);
  const int rank = x.shape().rank();
  const int axis = node.axis == -1 ? rank - 1 : node.axis + 1;
  if (axis == rank - 1) {
    return ops::softmax_last(context, x, node.log);
  }
  const std::vector<int> axes = exchanged_with_last(rank, axis);
  const Tensor last = ops::softmax_last(context, ops::permute(context, x, axes), node.log);
  return ops::permute(context, last, axes);
}

Tensor Executor::Call::operator()(const Identity& /*node*/) const {
  return inputs[0];
}

}  // namespace gentrain::graph
