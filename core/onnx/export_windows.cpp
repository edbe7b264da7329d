// What slides over images, dense layers, and what moves positions, as operators of ONNX.
#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/graph/shapes.h"
#include "core/onnx/export_graph.h"
#include "kernels/error.h"

namespace gentrain::onnx {

namespace {

/// [out, kh, kw, in] to [out, in, kh, kw].
const std::vector<int> kKernel = {0, 3, 1, 2};

std::vector<std::int64_t> pads_of(const ops::Padding& padding) {
  return {padding.top, padding.left, padding.bottom, padding.right};
}

std::vector<Attribute> window_attributes(const ops::Window& window, const ops::Stride& stride,
                                         const ops::Padding& padding) {
  return {integers_attribute("kernel_shape", {window.h, window.w}),
          integers_attribute("strides", {stride.h, stride.w}),
          integers_attribute("pads", pads_of(padding))};
}

/// What is cut behind the whole of a transposed convolution along an axis; negative: put there.
std::int64_t cut_behind(std::int64_t from, std::int64_t kernel, std::int64_t stride,
                        std::int64_t before, std::int64_t to) {
  return (from - 1) * stride + kernel - before - to;
}

}  // namespace

Written NodeExport::operator()(const graph::Convolution& node) {
  const Order images = channels_first(3);
  const ops::Window kernel{node.kernel_h, node.kernel_w};
  std::vector<Attribute> attributes = window_attributes(
      kernel, node.stride,
      graph::padding_of(node.padding, shape(), graph::covered(kernel, node.dilation), node.stride));
  attributes.push_back(integers_attribute("dilations", {node.dilation.h, node.dilation.w}));
  attributes.push_back(integer_attribute("group", node.groups));
  Names inputs = {
      input(images),
      parameter("weight", {node.out, kernel.h, kernel.w, shape()[2] / node.groups}, kKernel)};
  if (node.bias) {
    inputs.push_back(parameter("bias", {node.out}));
  }
  const bool plain = node.activation == Activation::kNone;
  const std::string y =
      add_weighted(plain ? "" : "linear", "Conv", std::move(inputs), std::move(attributes));
  return {activated(y, node.activation), images};
}

Written NodeExport::operator()(const graph::TransposedConvolution& node) {
  const Order images = channels_first(3);
  const ops::Window kernel{node.kernel_h, node.kernel_w};
  const ops::Window window = graph::covered(kernel, node.dilation);
  const std::int64_t below =
      cut_behind(shape()[0], window.h, node.stride.h, node.padding.top, node.to_h);
  const std::int64_t right =
      cut_behind(shape()[1], window.w, node.stride.w, node.padding.left, node.to_w);
  const ops::Padding padding{node.padding.top, std::max<std::int64_t>(below, 0), node.padding.left,
                             std::max<std::int64_t>(right, 0)};
  std::vector<Attribute> attributes = window_attributes(kernel, node.stride, padding);
  attributes.push_back(integers_attribute(
      "output_padding", {std::max<std::int64_t>(-below, 0), std::max<std::int64_t>(-right, 0)}));
  attributes.push_back(integers_attribute("dilations", {node.dilation.h, node.dilation.w}));
  attributes.push_back(integer_attribute("group", node.groups));
  Names inputs = {
      input(images),
      parameter("weight", {shape()[2], kernel.h, kernel.w, node.out / node.groups}, kKernel)};
  if (node.bias) {
    inputs.push_back(parameter("bias", {node.out}));
  }
  return {add_weighted("", "ConvTranspose", std::move(inputs), std::move(attributes)), images};
}

Written NodeExport::operator()(const graph::Pooling& node) {
  const Order images = channels_first(3);
  const bool max = node.pooling == graph::PoolingKind::kMax;
  std::vector<Attribute> attributes = window_attributes(
      node.window, node.stride, graph::padding_of(node.padding, shape(), node.window, node.stride));
  if (!max) {
    attributes.push_back(integer_attribute("count_include_pad", 0));
  }
  return {add("", max ? "MaxPool" : "AveragePool", {input(images)}, std::move(attributes)), images};
}

Written NodeExport::operator()(const graph::GlobalPooling& node) {
  const bool max = node.pooling == graph::PoolingKind::kMax;
  const std::string pixel =
      add("pixel", max ? "GlobalMaxPool" : "GlobalAveragePool", {input(channels_first(3))});
  return {add("", "Flatten", {pixel}, {integer_attribute("axis", 1)}), as_node(1)};
}

Written NodeExport::operator()(const graph::Dense& node) {
  const int rank = shape().rank();
  const Shape weights{node.out, shape()[rank - 1]};
  const bool plain = node.activation == Activation::kNone;
  const Order rows = as_node(rank);
  if (rank == 1) {
    Names inputs = {input(rows), parameter("weight", weights)};
    if (node.bias) {
      inputs.push_back(parameter("bias", {node.out}));
    }
    const std::string y = add_weighted(plain ? "" : "linear", "Gemm", std::move(inputs),
                                       {integer_attribute("transB", 1)});
    return {activated(y, node.activation), rows};
  }
  const bool only = plain && !node.bias;
  std::string y = add_weighted(only ? "" : "product", "MatMul",
                               {input(rows), parameter("weight", weights, {1, 0})});
  if (node.bias) {
    y = add(plain ? "" : "linear", "Add", {y, parameter("bias", {node.out})});
  }
  return {activated(y, node.activation), rows};
}

Written NodeExport::operator()(const graph::Flatten& /*node*/) {
  return {add("", "Flatten", {input(as_node(shape().rank()))}, {integer_attribute("axis", 1)}),
          as_node(1)};
}

Written NodeExport::operator()(const graph::Reshape& node) {
  std::vector<std::int64_t> extents = {-1};
  extents.insert(extents.end(), node.shape.extents().begin(), node.shape.extents().end());
  const std::string to = to_.integers(name_of("shape"), extents);
  return {add("", "Reshape", {input(as_node(shape().rank())), to}), as_node(node.shape.rank())};
}

/// The same value: only its axes have other numbers.
Written NodeExport::operator()(const graph::Permute& node) {
  const std::vector<int> places = graph::inverse(node.axes);
  Order result;
  for (const int axis : order()) {
    result.push_back(places[static_cast<std::size_t>(axis)]);
  }
  return {as_it_is(), result};
}

Written NodeExport::operator()(const graph::AxisMap& node) {
  const ops::AxisRows& rows = *node.rows;
  const std::int64_t axis = place(order(), node.axis);
  if (const auto sources = graph::copies_of(rows)) {
    return {add("", "Gather", {as_it_is(), to_.integers(name_of("positions"), *sources)},
                {integer_attribute("axis", axis)}),
            order()};
  }
  if (const auto ends = graph::ends_of(rows); ends && std::min(ends->before, ends->behind) >= 0) {
    const std::size_t axes = order().size() + 1;
    std::vector<std::int64_t> pads(2 * axes, 0);
    pads[static_cast<std::size_t>(axis)] = ends->before;
    pads[static_cast<std::size_t>(axis) + axes] = ends->behind;
    const std::string fill = number("fill", static_cast<double>(rows.fill));
    return {add("", "Pad", {as_it_is(), to_.integers(name_of("pads"), pads), fill}), order()};
  }
  Order last = order();
  std::erase(last, node.axis);
  last.push_back(node.axis);
  return {multiplied(rows, input(last)), last};
}

/// x times the map, along its last axis.
std::string NodeExport::multiplied(const ops::AxisRows& rows, const std::string& x) {
  const std::vector<float> fills = graph::fills_of(rows);
  if (!std::ranges::all_of(fills, [](float value) { return std::isfinite(value); })) {
    throw JobError(
        fmt::format("it fills single positions with {}, which is not finite", rows.fill));
  }
  const std::string matrix =
      to_.reals(name_of("map"), {rows.from, rows.to()}, graph::matrix_of(rows));
  const std::string y = add(fills.empty() ? "" : "mapped", "MatMul", {x, matrix});
  return fills.empty() ? y : add("", "Add", {y, to_.reals(name_of("fills"), {rows.to()}, fills)});
}

Written NodeExport::operator()(const graph::LargestAlong& node) {
  if (node.axes.empty()) {
    return {as_it_is(), order()};
  }
  std::vector<std::int64_t> axes;
  for (const int axis : node.axes) {
    axes.push_back(place(order(), axis));
  }
  std::ranges::sort(axes);
  return {add("", "ReduceMax", {as_it_is()},
              {integers_attribute("axes", std::move(axes)), integer_attribute("keepdims", 1)}),
          order()};
}

Written NodeExport::operator()(const graph::Concatenation& node) {
  const Order common = order();
  const int axis = node.axis == -1 ? node_.shape.rank() - 1 : node.axis;
  Names inputs;
  for (std::size_t i = 0; i < node_.inputs.size(); ++i) {
    if (to_.of_no_sample(node_.inputs[i]) && !to_.of_no_sample(index_)) {
      throw JobError(fmt::format("its input {} is the same for every sample",
                                 to_.graph().node(node_.inputs[i]).name));
    }
    inputs.push_back(input(common, i));
  }
  return {add("", "Concat", std::move(inputs), {integer_attribute("axis", place(common, axis))}),
          common};
}

}  // namespace gentrain::onnx
