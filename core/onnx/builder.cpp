// Nodes with unique names, orders of axes, and parameters that nodes share.
#include "core/onnx/builder.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/ranges.h>

namespace gentrain::onnx {
namespace {

constexpr std::size_t kMostNameBytes = 512;
constexpr int kMostAxes = Shape::kMaxRank - 1;  // of a sample

Shape shape_at(const Shape& shape, const std::vector<int>& from) {
  std::vector<std::int64_t> extents;
  extents.reserve(from.size());
  for (const int axis : from) {
    extents.push_back(shape[axis]);
  }
  return Shape(extents);
}

/// Whether only axes of extent 1 change places.
bool moves_nothing(const Shape& shape, const std::vector<int>& from) {
  int last = -1;
  for (const int axis : from) {
    if (shape[axis] != 1) {
      if (axis < last) {
        return false;
      }
      last = axis;
    }
  }
  return true;
}

}  // namespace

std::vector<int> file_order(int rank) {
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

void need_finite(const std::string& tensor, const std::vector<float>& values) {
  if (!std::all_of(values.begin(), values.end(),
                   [](float value) { return std::isfinite(value); })) {
    refuse("tensor {} holds a value that is not finite", tensor);
  }
}

std::vector<float> transposed(const std::vector<float>& values,
                              const std::vector<std::int64_t>& dims, const std::vector<int>& axes) {
  const std::size_t rank = dims.size();
  std::vector<std::int64_t> strides(rank, 1);
  for (std::size_t i = rank; i-- > 1;) {
    strides[i - 1] = strides[i] * dims[i];
  }
  std::vector<float> result(values.size());
  std::vector<std::int64_t> at(rank, 0);
  std::int64_t source = 0;
  for (float& value : result) {
    value = values[static_cast<std::size_t>(source)];
    for (std::size_t i = rank; i-- > 0;) {
      const auto axis = static_cast<std::size_t>(axes[i]);
      source += strides[axis];
      if (++at[i] < dims[axis]) {
        break;
      }
      source -= strides[axis] * dims[axis];
      at[i] = 0;
    }
  }
  return result;
}

std::string Builder::unique(std::string name) {
  if (name.empty()) {
    name = "node";
  }
  if (name.size() > kMostNameBytes) {  // not within a character
    std::size_t end = kMostNameBytes;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0U) == 0x80U) {
      --end;
    }
    name.resize(end);
  }
  std::string candidate = name;
  int& times = taken_[name];
  while (graph_.find(candidate) >= 0) {
    candidate = fmt::format("{}_{}", name, ++times + 1);
  }
  return candidate;
}

int Builder::add(graph::NodeKind kind, std::vector<int> inputs, std::string_view part) {
  return graph_.add(unique(part.empty() ? name_ : fmt::format("{}/{}", name_, part)),
                    std::move(kind), std::move(inputs));
}

int Builder::add_layer(graph::NodeKind kind, int input, std::vector<LayerArray> arrays) {
  std::string key = fmt::to_string(kind.index());
  for (const LayerArray& array : arrays) {
    need_finite(array.source->name, array.values);
    sources_.push_back(array.source);
    key += fmt::format(" {} {} {} {}", array.leaf, static_cast<const void*>(array.source.get()),
                       array.shape.str(), array.how);
  }
  std::string name = unique(name_);
  const auto [found, fresh] = shared_.emplace(std::move(key), name);
  if (fresh) {
    for (LayerArray& array : arrays) {
      arrays_.push_back(
          {fmt::format("{}/{}", name, array.leaf), array.shape, std::move(array.values)});
    }
  }
  std::vector<int> inputs;
  if (input >= 0) {
    inputs.push_back(input);
  }
  return graph_.add(name, std::move(kind), std::move(inputs), found->second);
}

std::vector<std::int64_t> Builder::dims(const Placed& value) const {
  const Shape& shape = graph_.node(value.node).shape;
  std::vector<std::int64_t> extents(value.axes.size() - (value.merged() ? 1 : 0));
  for (std::size_t i = 0; i < value.axes.size(); ++i) {
    if (value.axes[i] >= 0) {
      extents[static_cast<std::size_t>(value.axes[i])] = shape[static_cast<int>(i)];
    }
  }
  return extents;
}

int Builder::position(const Placed& value, int axis) {
  return static_cast<int>(std::find(value.axes.begin(), value.axes.end(), axis) -
                          value.axes.begin());
}

int Builder::permuted(int node, std::vector<int> from) {
  const graph::Node& before = graph_.node(node);
  if (const auto* permute = std::get_if<graph::Permute>(&before.kind)) {
    for (int& axis : from) {
      axis = permute->axes[static_cast<std::size_t>(axis)];
    }
    node = before.inputs[0];
  }
  const Shape& shape = graph_.node(node).shape;
  if (moves_nothing(shape, from)) {
    return reshaped(node, shape_at(shape, from));
  }
  auto key = std::pair(node, std::move(from));
  if (const auto found = permuted_.find(key); found != permuted_.end()) {
    return found->second;
  }
  const int made = add(graph::Permute{key.second}, {node}, "permute");
  permuted_.emplace(std::move(key), made);
  return made;
}

Placed Builder::arranged(const Placed& value, const std::vector<int>& axes) {
  if (value.axes == axes) {
    return value;
  }
  std::vector<int> from;
  from.reserve(axes.size());
  for (const int axis : axes) {
    from.push_back(position(value, axis));
  }
  Placed result = value;
  result.node = permuted(value.node, std::move(from));
  result.axes = axes;
  return result;
}

Placed Builder::image(const Placed& value) {
  if (value.axes.size() != 3) {
    refuse(
        "it gets samples of the shape {}, images [c, h, w] are needed: other than "
        "two-dimensional ones are not supported",
        text_of(dims(value)));
  }
  return arranged(value, {1, 2, 0});
}

Placed Builder::with_last(const Placed& value, int axis) {
  std::vector<int> axes = value.axes;
  axes.erase(axes.begin() + position(value, axis));
  axes.push_back(axis);
  return arranged(value, axes);
}

int Builder::reshaped(int node, const Shape& shape, std::string_view part) {
  while (graph_.node(node).shape != shape &&
         std::holds_alternative<graph::Reshape>(graph_.node(node).kind)) {
    node = graph_.node(node).inputs[0];
  }
  if (shape.rank() > kMostAxes) {
    refuse("it would give samples of {} axes, at most {} are supported", shape.rank(), kMostAxes);
  }
  return graph_.node(node).shape == shape ? node : add(graph::Reshape{shape}, {node}, part);
}

Placed Builder::pointwise(const Placed& value, const PointwiseRule& rule, std::string_view part) {
  if (std::isnan(rule.a) || std::isnan(rule.b) || std::isnan(rule.c)) {
    refuse("one of its constants is not a number");
  }
  Placed result = value;
  result.node = add(graph::Pointwise{rule}, {value.node}, part);
  return result;
}

Placed Builder::mapped(const Placed& value, int axis, ops::AxisRows rows, std::string_view part) {
  if (rows.from > std::numeric_limits<std::int32_t>::max()) {
    refuse("axis {} has {} positions, which are too many", axis + 1, rows.from);
  }
  Placed result = value;
  result.node = add(
      graph::AxisMap{position(value, axis), std::make_shared<const ops::AxisRows>(std::move(rows))},
      {value.node}, part);
  return result;
}

Placed Builder::binary(BinaryFunction function, const Placed& a, const Placed& b,
                       std::string_view part) {
  if (a.axes.size() != b.axes.size() || a.samples != b.samples || a.merged() != b.merged()) {
    refuse(
        "its inputs are {} and {} for each sample: as many axes are needed, since the number of "
        "samples of one would meet another axis of the other",
        text_of(dims(a)), text_of(dims(b)));
  }
  const bool by_b = graph_.node(b.node).shape.elements() > graph_.node(a.node).shape.elements();
  const Placed first = by_b ? arranged(a, b.axes) : a;
  const Placed second = by_b ? b : arranged(b, a.axes);
  const bool same = graph_.node(first.node).shape == graph_.node(second.node).shape;
  Placed result = first;
  result.condition = false;
  result.node = function == BinaryFunction::kAdd && same && first.node != second.node
                    ? add(graph::Addition{}, {first.node, second.node}, part)
                    : add(graph::Binary{function}, {first.node, second.node}, part);
  return result;
}

LayerArray in_order_of(const Placed& like, const ConstantPointer& constant, const char* leaf) {
  if (constant->size() == 0) {
    refuse("tensor {} {} is empty", constant->name, text_of(constant->dims));
  }
  std::vector<std::int64_t> extents = constant->dims;
  const std::size_t axes = like.axes.size() - (like.merged() ? 1 : 0);
  if (like.samples != 0) {
    refuse("it combines tensor {} with a value whose first axis is not the samples'",
           constant->name);
  }
  if (extents.size() == axes + 1 && extents[0] == 1) {
    extents.erase(extents.begin());
  }
  if (extents.size() > axes) {
    refuse("tensor {} {} has more axes than a sample, {}, or differs from sample to sample",
           constant->name, text_of(constant->dims), axes);
  }
  extents.insert(extents.begin(), axes - extents.size(), 1);
  std::vector<int> order = like.axes;
  if (like.merged()) {
    order.erase(order.begin());
  }
  std::vector<std::int64_t> ordered;
  ordered.reserve(order.size());
  for (const int axis : order) {
    ordered.push_back(extents[static_cast<std::size_t>(axis)]);
  }
  return {leaf, Shape(ordered), transposed(constant->reals, extents, order), constant,
          fmt::format("{}", fmt::join(order, " "))};
}

int Builder::constant_node(const ConstantPointer& constant, const Placed& like) {
  if (!constant->real) {
    refuse("it combines tensor {}, which holds integers, with numbers", constant->name);
  }
  LayerArray array = in_order_of(like, constant, "value");
  need_finite(constant->name, array.values);
  const auto key =
      std::pair(constant.get(), fmt::format("{} {}", array.shape.str(), fmt::join(like.axes, " ")));
  if (const auto found = constants_.find(key); found != constants_.end()) {
    return found->second;
  }
  sources_.push_back(constant);
  const std::string name = std::exchange(name_, constant->name);
  int node = -1;
  if (array.values.size() == 1) {
    node = add(graph::Constant{array.shape,
                               std::make_shared<const std::vector<float>>(std::move(array.values))},
               {});
  } else {
    const graph::Variable variable{array.shape};
    std::vector<LayerArray> arrays;
    arrays.push_back(std::move(array));
    node = add_layer(variable, -1, std::move(arrays));
  }
  name_ = name;
  constants_.emplace(key, node);
  return node;
}

}  // namespace gentrain::onnx
