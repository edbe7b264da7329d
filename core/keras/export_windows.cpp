// What slides over images, dense layers, and maps along an axis, as layers of Keras.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/graph/shapes.h"
#include "core/keras/builder.h"
#include "core/keras/export_layers.h"
#include "core/keras/rows.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

/// Kernels [out, kh, kw, in] as [kh, kw, in, out], and of transposed convolutions likewise.
const std::vector<int> kFirstLast = {1, 2, 3, 0};

json pair(std::int64_t h, std::int64_t w) {
  return {h, w};
}

/// Keras's name of an activation.
std::string word_of(Activation activation) {
  return std::string(activation == Activation::kNone ? "linear" : name_of(activation));
}

bool are_equal(const ops::Padding& a, const ops::Padding& b) {
  return a.top == b.top && a.bottom == b.bottom && a.left == b.left && a.right == b.right;
}

bool is_none(const ops::Padding& padding) {
  return are_equal(padding, {});
}

/// Keras's word for a padding; with "valid", what has to be padded before.
struct KerasPadding {
  const char* word = "valid";
  ops::Padding before;
};

KerasPadding keras_padding(const graph::PaddingRule& rule, const Shape& image,
                           const ops::Window& window, const ops::Stride& stride) {
  const ops::Padding wanted = graph::padding_of(rule, image, window, stride);
  if (is_none(wanted)) {
    return {};
  }
  graph::PaddingRule same;
  same.same = true;
  if (are_equal(wanted, graph::padding_of(same, image, window, stride))) {
    return {"same", {}};
  }
  return {"valid", wanted};
}

void need_strides_or_dilation(const ops::Stride& stride, const ops::Dilation& dilation) {
  if (std::max(stride.h, stride.w) > 1 && std::max(dilation.h, dilation.w) > 1) {
    throw JobError(fmt::format("stride {} x {} beside dilation {} x {}: Keras takes one of them",
                               stride.h, stride.w, dilation.h, dilation.w));
  }
}

/// What all convolutions have.
template <class Kind>
json window_config(const Kind& node, const char* padding, Activation activation) {
  return {{"kernel_size", pair(node.kernel_h, node.kernel_w)},
          {"strides", pair(node.stride.h, node.stride.w)},
          {"dilation_rate", pair(node.dilation.h, node.dilation.w)},
          {"padding", padding},
          {"data_format", "channels_last"},
          {"activation", word_of(activation)},
          {"use_bias", node.bias}};
}

/// A transposed convolution along an axis: what Keras makes, and what of it is the result.
struct Length {
  bool same = false;
  std::int64_t whole = 0;  // of Keras without padding
  std::int64_t before = 0;
  std::int64_t behind = 0;  // of the whole, not of the result
};

Length length_of(std::int64_t from, std::int64_t kernel, std::int64_t stride, std::int64_t before,
                 std::int64_t to) {
  Length length;
  const std::int64_t more = std::max<std::int64_t>(kernel - stride, 0);
  length.same = to == from * stride && before == more / 2;
  length.whole = from * stride + more;
  length.before = before;
  length.behind = length.whole - before - to;
  return length;
}

}  // namespace

LayerOutput NodeExport::operator()(const graph::Convolution& node) {
  need_strides_or_dilation(node.stride, node.dilation);
  const Shape& image = shape();
  const ops::Window window = graph::covered({node.kernel_h, node.kernel_w}, node.dilation);
  const KerasPadding padding = keras_padding(node.padding, image, window, node.stride);
  const LayerOutput x =
      is_none(padding.before) ? input() : border("pad", "ZeroPadding2D", input(), padding.before);
  const std::int64_t in = image[2];
  const std::int64_t depth = in / node.groups;
  const Shape of{node.out, node.kernel_h, node.kernel_w, depth};
  json config = window_config(node, padding.word, node.activation);
  std::vector<io::KerasModelArray> arrays;
  const bool depthwise = node.groups == in && in > 1 && node.stride.h == node.stride.w;
  if (depthwise) {
    config["depth_multiplier"] = node.out / in;
    arrays.push_back(array("depthwise_kernel", "weight", of, kFirstLast,
                           {node.kernel_h, node.kernel_w, in, node.out / in}));
  } else {
    config["filters"] = node.out;
    config["groups"] = node.groups;
    arrays.push_back(
        array("kernel", "weight", of, kFirstLast, {node.kernel_h, node.kernel_w, depth, node.out}));
  }
  if (node.bias) {
    arrays.push_back(array("bias", "bias", {node.out}));
  }
  return add_weighted(depthwise ? "DepthwiseConv2D" : "Conv2D", std::move(config), x,
                      std::move(arrays));
}

LayerOutput NodeExport::operator()(const graph::TransposedConvolution& node) {
  need_strides_or_dilation(node.stride, node.dilation);
  if (node.groups != 1) {
    throw JobError(fmt::format("it has {} groups, Keras's Conv2DTranspose has one", node.groups));
  }
  const Shape& image = shape();
  const ops::Window window = graph::covered({node.kernel_h, node.kernel_w}, node.dilation);
  const Length rows = length_of(image[0], window.h, node.stride.h, node.padding.top, node.to_h);
  const Length columns = length_of(image[1], window.w, node.stride.w, node.padding.left, node.to_w);
  const bool same = rows.same && columns.same;
  if (!same && std::min(rows.behind, columns.behind) < 0) {
    throw JobError(fmt::format(
        "it makes {} x {} pixels of {} x {} and cuts {} above and {} on the left: Keras makes no "
        "more than {} x {} before they are cut",
        node.to_h, node.to_w, image[0], image[1], rows.before, columns.before, rows.whole,
        columns.whole));
  }
  json config = window_config(node, same ? "same" : "valid", Activation::kNone);
  config["filters"] = node.out;
  config["output_padding"] = nullptr;
  std::vector<io::KerasModelArray> arrays;
  arrays.push_back(array("kernel", "weight", {image[2], node.kernel_h, node.kernel_w, node.out},
                         kFirstLast, {node.kernel_h, node.kernel_w, node.out, image[2]}));
  if (node.bias) {
    arrays.push_back(array("bias", "bias", {node.out}));
  }
  const LayerOutput y =
      add_weighted("Conv2DTranspose", std::move(config), input(), std::move(arrays));
  const ops::Padding cut{rows.before, rows.behind, columns.before, columns.behind};
  return same || is_none(cut) ? y : border("crop", "Cropping2D", y, cut);
}

LayerOutput NodeExport::operator()(const graph::Dense& node) {
  const Shape& from = shape();
  const std::int64_t in = from[from.rank() - 1];
  std::vector<io::KerasModelArray> arrays;
  arrays.push_back(array("kernel", "weight", {node.out, in}, {1, 0}, {in, node.out}));
  if (node.bias) {
    arrays.push_back(array("bias", "bias", {node.out}));
  }
  return add_weighted(
      "Dense",
      {{"units", node.out}, {"activation", word_of(node.activation)}, {"use_bias", node.bias}},
      input(), std::move(arrays));
}

/// Zeros in place of padding that is left out give the same maxima of values that are not negative.
bool NodeExport::is_nonnegative(int index) const {
  const graph::Node& node = model_.graph->node(index);
  const auto all_inputs = [&] {
    return std::ranges::all_of(node.inputs, [&](int input) { return is_nonnegative(input); });
  };
  const auto is_positive = [](Activation activation) {
    return activation == Activation::kRelu || activation == Activation::kSigmoid;
  };
  return std::visit(
      graph::Overloaded{
          [&](const graph::Activate& of) { return of.slope == 0 && is_positive(of.activation); },
          [&](const graph::Convolution& of) { return is_positive(of.activation); },
          [&](const graph::Dense& of) { return is_positive(of.activation); },
          [](const graph::Pointwise& of) {
            const PointwiseFunction function = of.rule.function;
            return (function == PointwiseFunction::kClip && of.rule.a >= 0) ||
                   (function == PointwiseFunction::kRelu && of.rule.a == 0 && of.rule.b >= 0 &&
                    of.rule.c >= 0) ||
                   function == PointwiseFunction::kHardSigmoid;
          },
          [&](const graph::Softmax& of) { return !of.log; },
          [&](const graph::Pooling&) { return all_inputs(); },
          [&](const graph::Concatenation&) { return all_inputs(); },
          [&](const graph::Addition&) { return all_inputs(); },
          [&](const graph::Dropout&) { return all_inputs(); },
          [&](const graph::Identity&) { return all_inputs(); }, [](const auto&) { return false; }},
      node.kind);
}

LayerOutput NodeExport::operator()(const graph::Pooling& node) {
  const KerasPadding padding = keras_padding(node.padding, shape(), node.window, node.stride);
  const bool max = node.pooling == graph::PoolingKind::kMax;
  LayerOutput x = input();
  if (!is_none(padding.before)) {
    const ops::Padding& before = padding.before;
    if (!max || !is_nonnegative(node_.inputs[0])) {
      throw JobError(fmt::format(
          "its padding of [{}, {}, {}, {}] is left out of {}: Keras does so with its own padding "
          "'same' alone",
          before.top, before.bottom, before.left, before.right, max ? "maxima" : "means"));
    }
    x = border("pad", "ZeroPadding2D", x, before);
  }
  return add("", max ? "MaxPooling2D" : "AveragePooling2D",
             {{"pool_size", pair(node.window.h, node.window.w)},
              {"strides", pair(node.stride.h, node.stride.w)},
              {"padding", padding.word},
              {"data_format", "channels_last"}},
             {x});
}

LayerOutput NodeExport::operator()(const graph::GlobalPooling& node) {
  const bool max = node.pooling == graph::PoolingKind::kMax;
  return add("", max ? "GlobalMaxPooling2D" : "GlobalAveragePooling2D",
             {{"data_format", "channels_last"}, {"keepdims", false}}, {input()});
}

LayerOutput NodeExport::operator()(const graph::AxisMap& node) {
  const ops::AxisRows& rows = *node.rows;
  if (shape().rank() != 3 || node.axis > 1) {
    return as_dense(rows, node.axis);
  }
  const bool down = node.axis == 0;
  const auto along = [&](std::int64_t before, std::int64_t behind) {
    return down ? ops::Padding{before, behind, 0, 0} : ops::Padding{0, 0, before, behind};
  };
  if (const auto ends = graph::ends_of(rows); ends && graph::fills_of(rows).empty()) {
    const ops::Padding pad =
        along(std::max<std::int64_t>(ends->before, 0), std::max<std::int64_t>(ends->behind, 0));
    const ops::Padding cut =
        along(std::max<std::int64_t>(-ends->before, 0), std::max<std::int64_t>(-ends->behind, 0));
    LayerOutput x = input();
    if (!is_none(cut)) {
      x = border(is_none(pad) ? "" : "crop", "Cropping2D", x, cut);
    }
    return is_none(pad) && !is_none(cut) ? x : border("", "ZeroPadding2D", x, pad);
  }
  const std::int64_t times = rows.to() / rows.from;
  if (times > 1 && times * rows.from == rows.to()) {
    const bool nearest = rows == *repeated(rows.from, times);
    if (nearest || rows == *interpolated(rows.from, times)) {
      return add("", "UpSampling2D",
                 {{"size", down ? pair(times, 1) : pair(1, times)},
                  {"interpolation", nearest ? "nearest" : "bilinear"},
                  {"data_format", "channels_last"}},
                 {input()});
    }
  }
  return as_dense(rows, node.axis);
}

/// Any other map along an axis: a dense layer along it, whose weights are the map.
LayerOutput NodeExport::as_dense(const ops::AxisRows& rows, int axis) {
  const std::vector<float> fills = graph::fills_of(rows);
  if (!std::ranges::all_of(fills, [](float value) { return std::isfinite(value); })) {
    throw JobError(fmt::format("it fills positions with {}: Keras's padding is finite", rows.fill));
  }
  const int rank = shape().rank();
  const bool last = axis == rank - 1;
  LayerOutput x = last ? input() : permuted("last", input(), axis_to_end(axis, rank));
  std::vector<io::KerasModelArray> arrays;
  arrays.push_back(
      {"kernel", {rows.from, rows.to()}, [matrix = graph::matrix_of(rows)] { return matrix; }});
  if (!fills.empty()) {
    arrays.push_back({"bias", {rows.to()}, [fills] { return fills; }});
  }
  x = layers_.add(last ? node_.name : node_.name + "_map", "Dense",
                  {{"units", rows.to()}, {"activation", "linear"}, {"use_bias", !fills.empty()}},
                  {x}, std::move(arrays));
  return last ? x : permuted("", x, axis_from_end(axis, rank));
}

/// The axes along which maxima are taken, last and as one: a window over a row of an image.
LayerOutput NodeExport::operator()(const graph::LargestAlong& node) {
  std::vector<int> axes;
  std::int64_t kept = 1;
  const int rank = shape().rank();
  for (int axis = 0; axis < rank; ++axis) {
    if (std::ranges::find(node.axes, axis) == node.axes.end()) {
      axes.push_back(axis);
      kept *= shape()[axis];
    }
  }
  std::vector<int> reduced = node.axes;
  std::ranges::sort(reduced);
  axes.insert(axes.end(), reduced.begin(), reduced.end());
  const std::int64_t window = shape().elements() / kept;
  LayerOutput x = permuted("last", input(), axes);
  x = reshaped("rows", x, {kept, window, 1});
  x = add("largest", "MaxPooling2D",
          {{"pool_size", pair(1, window)},
           {"strides", pair(1, window)},
           {"padding", "valid"},
           {"data_format", "channels_last"}},
          {x});
  return reshaped("", x, node_.shape);
}

}  // namespace gentrain::keras
