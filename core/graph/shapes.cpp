// Shape rules of the kinds that are no windows, and what the arithmetic of a node is.
#include "core/graph/shapes.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/graph/shape_rules.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

constexpr int kMostAxes = Shape::kMaxRank - 1;  // the samples' axis stands before them
constexpr int kMostGivenAxes = 4;               // of inputs, constants and variables
constexpr std::size_t kMostShapesListed = 8;    // shapes in a message
constexpr double kMostFloat = std::numeric_limits<float>::max();

/// Shapes of inputs, constants and variables.
const Shape& need_given(const Shape& shape, int least) {
  if (shape.rank() < least || shape.rank() > kMostGivenAxes ||
      std::ranges::find(shape.extents(), 0) != shape.extents().end()) {
    throw ShapeError(fmt::format("its shape is {}: {} to {} extents of at least 1 are needed",
                                 shape.str(), least, kMostGivenAxes));
  }
  need_countable("values", shape.extents(), kMostValues);
  return shape;
}

/// An axis of a sample; -1 is the last one.
int need_axis(int axis, const Shape& shape) {
  const int at = axis == -1 ? shape.rank() - 1 : axis;
  if (at < 0 || at >= shape.rank()) {
    throw ShapeError(
        fmt::format("axis {} is none of the {} axes of {}", axis, shape.rank(), shape.str()));
  }
  return at;
}

const Shape& need_some_axis(const Shape& shape) {
  if (shape.rank() == 0) {
    throw ShapeError("a sample with at least one axis is needed but it gets []");
  }
  return shape;
}

Shape with_extent(const Shape& shape, int axis, std::int64_t extent) {
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents[static_cast<std::size_t>(axis)] = extent;
  need_countable("values", extents, kMostValues);
  return Shape(extents);
}

/// Each axis at most once, and those that there are.
void need_different_axes(const std::vector<int>& axes, const Shape& shape) {
  std::vector<bool> seen(static_cast<std::size_t>(shape.rank()), false);
  for (const int axis : axes) {
    if (axis < 0 || axis >= shape.rank() || seen[static_cast<std::size_t>(axis)]) {
      throw ShapeError(fmt::format("its axes are [{}]: different ones of the {} axes of {} needed",
                                   fmt::join(axes, ", "), shape.rank(), shape.str()));
    }
    seen[static_cast<std::size_t>(axis)] = true;
  }
}

/// Throws ShapeError unless the rows are as AxisRows states.
void need_rows(const ops::AxisRows& rows) {
  if (rows.begins.size() < 2 || rows.begins.front() != 0 || !std::ranges::is_sorted(rows.begins) ||
      static_cast<std::size_t>(rows.begins.back()) != rows.sources.size() ||
      rows.weights.size() != rows.sources.size()) {
    throw ShapeError(
        fmt::format("its {} begins of rows, {} sources and {} weights do not fit together",
                    rows.begins.size(), rows.sources.size(), rows.weights.size()));
  }
  for (const std::int32_t source : rows.sources) {
    if (source < 0 || source >= rows.from) {
      throw ShapeError(
          fmt::format("its source {} is none of the {} positions before", source, rows.from));
    }
  }
}

/// Extent of an axis of two that are repeated where they are 1; 0 if they do not fit.
std::int64_t repeated(std::int64_t a, std::int64_t b) {
  if (a == b || b == 1) {
    return a;
  }
  return a == 1 ? b : 0;
}

}  // namespace

void need_countable(std::string_view what, std::span<const std::int64_t> factors, double most) {
  double product = 1;
  for (const std::int64_t factor : factors) {
    product *= static_cast<double>(factor);
  }
  if (product > most) {
    throw ShapeError(fmt::format("{} {} are too many, at most {:.0e} are supported",
                                 fmt::join(factors, " x "), what, most));
  }
}

std::string list(std::span<const Shape> shapes) {
  std::vector<std::string> texts;
  for (const Shape& shape : shapes.first(std::min(shapes.size(), kMostShapesListed))) {
    texts.push_back(shape.str());
  }
  return fmt::format("{}{}", fmt::join(texts, ", "),
                     shapes.size() > kMostShapesListed ? ", ..." : "");
}

const Shape& only(std::span<const Shape> inputs) {
  if (inputs.size() != 1) {
    throw ShapeError(fmt::format("one input is needed but there are {}", inputs.size()));
  }
  return inputs[0];
}

void ShapeRule::need_none(std::string_view what) const {
  if (!inputs.empty()) {
    throw ShapeError(fmt::format("{} has no inputs but there are {}", what, inputs.size()));
  }
}

void ShapeRule::need_several() const {
  if (inputs.size() < 2) {
    throw ShapeError(fmt::format("two inputs or more are needed but there are {}", inputs.size()));
  }
}

Shape ShapeRule::operator()(const Input& node) const {
  need_none("an input of the graph");
  return need_given(node.shape, 1);
}

Shape ShapeRule::operator()(const Constant& node) const {
  need_none("a constant");
  need_given(node.shape, 0);
  const std::size_t values = node.values == nullptr ? 0 : node.values->size();
  if (values != static_cast<std::size_t>(node.shape.elements())) {
    throw ShapeError(fmt::format("its shape {} has {} elements but there are {} values",
                                 node.shape.str(), node.shape.elements(), values));
  }
  return node.shape;
}

Shape ShapeRule::operator()(const Variable& node) const {
  need_none("a variable");
  return need_given(node.shape, 0);
}

Shape ShapeRule::operator()(const BatchNormalization& node) const {
  const Shape& shape = need_some_axis(only(inputs));
  if (!(node.epsilon > 0 && node.epsilon <= kMostFloat) || !(node.decay >= 0 && node.decay < 1)) {
    throw ShapeError(fmt::format(
        "epsilon is {} and decay {}: above 0 and finite as f32, and at least 0 and below 1 needed",
        node.epsilon, node.decay));
  }
  return shape;
}

Shape ShapeRule::operator()(const Activate& node) const {
  if (!(node.slope >= 0 && node.slope <= kMostFloat) ||
      (node.slope != 0 && node.activation != Activation::kRelu)) {
    throw ShapeError(fmt::format(
        "slope is {}: at least 0 and finite as f32 needed, and 0 but of relu", node.slope));
  }
  return only(inputs);
}

Shape ShapeRule::operator()(const Pointwise& node) const {
  check(node.rule);
  return only(inputs);
}

Shape ShapeRule::operator()(const Prelu& node) const {
  const Shape& shape = need_some_axis(only(inputs));
  bool fits = node.alpha.rank() == shape.rank();
  for (int axis = 0; fits && axis < shape.rank(); ++axis) {
    fits = node.alpha[axis] == 1 || node.alpha[axis] == shape[axis];
  }
  if (!fits) {
    throw ShapeError(
        fmt::format("its alpha {} does not fit its input {}: as many extents are needed, each the "
                    "input's or 1",
                    node.alpha.str(), shape.str()));
  }
  return shape;
}

Shape ShapeRule::operator()(const Binary& /*node*/) const {
  if (inputs.size() != 2) {
    throw ShapeError(fmt::format("two inputs are needed but there are {}", inputs.size()));
  }
  const Shape& longer = inputs[inputs[0].rank() >= inputs[1].rank() ? 0 : 1];
  const Shape& shorter = inputs[inputs[0].rank() >= inputs[1].rank() ? 1 : 0];
  std::vector<std::int64_t> extents(longer.extents().begin(), longer.extents().end());
  const int missing = longer.rank() - shorter.rank();
  for (int axis = 0; axis < shorter.rank(); ++axis) {
    std::int64_t& extent = extents[static_cast<std::size_t>(axis + missing)];
    extent = repeated(extent, shorter[axis]);
    if (extent == 0) {
      throw ShapeError(
          fmt::format("its inputs {} do not fit: aligned at their last axes, extents must be equal "
                      "or 1",
                      list(inputs)));
    }
  }
  need_countable("values", extents, kMostValues);
  return Shape(extents);
}

Shape ShapeRule::operator()(const Dense& node) const {
  const Shape& shape = need_some_axis(only(inputs));
  if (node.out < 1) {
    throw ShapeError(fmt::format("it has {} outputs, at least 1 is needed", node.out));
  }
  const int last = shape.rank() - 1;
  need_countable("weights", {node.out, shape[last]}, kMostValues);
  need_countable("products", {shape.elements(), node.out}, kMostProducts);
  return with_extent(shape, last, node.out);
}

Shape ShapeRule::operator()(const Flatten& /*node*/) const {
  return {only(inputs).elements()};
}

Shape ShapeRule::operator()(const Reshape& node) const {
  const Shape& shape = only(inputs);
  if (node.shape.rank() > kMostAxes || node.shape.elements() != shape.elements()) {
    throw ShapeError(
        fmt::format("it makes {} of {}: at most {} extents and as many elements are "
                    "needed",
                    node.shape.str(), shape.str(), kMostAxes));
  }
  return node.shape;
}

Shape ShapeRule::operator()(const Permute& node) const {
  const Shape& shape = only(inputs);
  need_different_axes(node.axes, shape);
  if (node.axes.size() != static_cast<std::size_t>(shape.rank())) {
    throw ShapeError(
        fmt::format("it has {} axes but {} has {}", node.axes.size(), shape.str(), shape.rank()));
  }
  std::vector<std::int64_t> extents;
  for (const int axis : node.axes) {
    extents.push_back(shape[axis]);
  }
  return Shape(extents);
}

Shape ShapeRule::operator()(const AxisMap& node) const {
  const Shape& shape = only(inputs);
  if (node.axis < 0 || node.axis >= shape.rank()) {
    throw ShapeError(
        fmt::format("axis {} is none of the {} axes of {}", node.axis, shape.rank(), shape.str()));
  }
  if (node.rows == nullptr) {
    throw ShapeError("it has no rows");
  }
  if (node.rows->from != shape[node.axis]) {
    throw ShapeError(fmt::format("it maps {} positions but axis {} of {} has {}", node.rows->from,
                                 node.axis, shape.str(), shape[node.axis]));
  }
  need_rows(*node.rows);
  return with_extent(shape, node.axis, node.rows->to());
}

Shape ShapeRule::operator()(const LargestAlong& node) const {
  const Shape& shape = only(inputs);
  need_different_axes(node.axes, shape);
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  for (const int axis : node.axes) {
    extents[static_cast<std::size_t>(axis)] = 1;
  }
  return Shape(extents);
}

Shape ShapeRule::operator()(const Dropout& node) const {
  if (!(node.rate >= 0 && node.rate < 1)) {
    throw ShapeError(fmt::format("rate is {}: at least 0 and below 1 needed", node.rate));
  }
  return only(inputs);
}

Shape ShapeRule::operator()(const Concatenation& node) const {
  need_several();
  const Shape& first = inputs[0];
  const int axis = need_axis(node.axis, first);
  std::int64_t together = 0;
  for (const Shape& shape : inputs) {
    bool fits = shape.rank() == first.rank();
    for (int i = 0; fits && i < first.rank(); ++i) {
      fits = i == axis || shape[i] == first[i];
    }
    if (!fits) {
      throw ShapeError(
          fmt::format("its inputs {} must be equal but for axis {}", list(inputs), axis));
    }
    together += shape[axis];
  }
  return with_extent(first, axis, together);
}

Shape ShapeRule::operator()(const Addition& /*node*/) const {
  need_several();
  for (const Shape& shape : inputs) {
    if (shape != inputs[0]) {
      throw ShapeError(fmt::format("its inputs {} must have one shape", list(inputs)));
    }
  }
  return inputs[0];
}

Shape ShapeRule::operator()(const Softmax& node) const {
  const Shape& shape = need_some_axis(only(inputs));
  need_axis(node.axis, shape);
  return shape;
}

Shape ShapeRule::operator()(const Identity& /*node*/) const {
  return only(inputs);
}

Shape infer_shape(const NodeKind& kind, std::span<const Shape> inputs) {
  return std::visit(ShapeRule{inputs}, kind);
}

std::int64_t products_of(const NodeKind& kind, const Shape& input, const Shape& output) {
  return std::visit(
      Overloaded{
          [&](const Convolution& node) {
            return output.elements() * node.kernel_h * node.kernel_w * (input[2] / node.groups);
          },
          [&](const TransposedConvolution& node) {
            return input.elements() * node.kernel_h * node.kernel_w * (node.out / node.groups);
          },
          [&](const Dense&) { return output.elements() * input[input.rank() - 1]; },
          [](const auto&) { return std::int64_t{0}; },
      },
      kind);
}

}  // namespace gentrain::graph
