// Conv and ConvTranspose.
#include <algorithm>
#include <array>

#include "core/onnx/operators.h"
#include "core/onnx/windows.h"

namespace gentrain::onnx {
namespace {

const Constant& weights_of(Call& call) {
  const Constant& weights = *call.reals(1);
  if (weights.rank() != 4) {
    refuse(
        "its weights {} {} have not four axes: other than two-dimensional convolutions are not "
        "supported",
        weights.name, text_of(weights.dims));
  }
  if (weights.size() == 0) {
    refuse("its weights {} {} are empty", weights.name, text_of(weights.dims));
  }
  return weights;
}

std::int64_t groups_of(Call& call) {
  const std::int64_t groups = call.attributes().integer("group", 1);
  if (groups < 1) {
    refuse("its group is {}, at least 1 is needed", groups);
  }
  return groups;
}

/// Weights from the file's order to [first, kh, kw, second], and the bias if there is one.
std::vector<LayerArray> arrays_of(Call& call, std::int64_t out) {
  const ConstantPointer& weights = call.reals(1);
  const auto& dims = weights->dims;
  std::vector<LayerArray> arrays;
  arrays.push_back({"weight", Shape{dims[0], dims[2], dims[3], dims[1]},
                    transposed(weights->reals, dims, {0, 2, 3, 1}), weights});
  if (call.has(2)) {
    const ConstantPointer& bias = call.reals(2);
    if (bias->rank() != 1 || bias->dims[0] != out) {
      refuse("its bias {} {} must have the shape [{}]", bias->name, text_of(bias->dims), out);
    }
    arrays.push_back({"bias", Shape{out}, bias->reals, bias});
  }
  return arrays;
}

void need_channels(const Constant& weights, std::int64_t needed, std::int64_t channels) {
  if (needed != channels) {
    refuse("its weights {} {} are for {} channels but it gets {}", weights.name,
           text_of(weights.dims), needed, channels);
  }
}

void convolution(Call& call) {
  const Placed image = call.build().image(call.placed(0));
  const Constant& weights = weights_of(call);
  const std::int64_t channels = call.build().graph().node(image.node).shape[2];
  const std::int64_t groups = groups_of(call);
  const std::int64_t out = weights.dims[0];
  if (groups > channels || channels % groups != 0 || out % groups != 0) {
    refuse("its group is {}: it must divide {} channels and {} outputs", groups, channels, out);
  }
  need_channels(weights, weights.dims[1] * groups, channels);
  const auto kernel = read_kernel(call, &weights.dims[2]);
  const Windows axes = read_windows(call, image, kernel, false);
  graph::Convolution node;
  node.out = out;
  node.kernel_h = kernel[0];
  node.kernel_w = kernel[1];
  node.stride = {axes[0].stride, axes[1].stride};
  node.padding.explicit_padding = {axes[0].before, axes[0].after, axes[1].before, axes[1].after};
  node.bias = call.has(2);
  node.groups = groups;
  node.dilation = {axes[0].dilation, axes[1].dilation};
  Placed result = image;
  result.node = call.build().add_layer(node, image.node, arrays_of(call, out));
  call.give(result);
}

/// The attributes that say how large the result of a ConvTranspose is.
struct TransposedSize {
  AutoPad rule = AutoPad::kExplicit;
  std::array<std::int64_t, 2> beyond{};  // output_padding
  std::optional<std::array<std::int64_t, 2>> result;
};

TransposedSize read_size(Call& call, const std::array<std::int64_t, 4>& pads) {
  TransposedSize size;
  size.rule = read_auto_pad(call, pads);
  size.beyond = read_pair(call, "output_padding", 0, 0);
  if (const auto shape = call.attributes().integers("output_shape")) {
    if (shape->size() != 2 && shape->size() != 4) {
      refuse("its output_shape is {}, two extents are needed", text_of(*shape));
    }
    need_range("output_shape", *shape, 1, std::int64_t{1} << 20);
    size.result = {(*shape)[shape->size() - 2], (*shape)[shape->size() - 1]};
  }
  return size;
}

/// Sets `to` and the padding of one axis.
void size_axis(const TransposedSize& size, std::size_t i, WindowAxis& axis) {
  const std::int64_t full = (axis.from - 1) * axis.stride + size.beyond[i] + axis.covered();
  const bool same = size.rule == AutoPad::kUpper || size.rule == AutoPad::kLower;
  if (size.result || same) {
    axis.to = size.result ? (*size.result)[i] : axis.from * axis.stride;
    const std::int64_t total = std::max<std::int64_t>(0, full - axis.to);
    axis.before = size.rule == AutoPad::kUpper ? total / 2 : total - total / 2;
    axis.after = total - axis.before;
  } else {
    axis.to = full - axis.before - axis.after;
  }
  if (axis.to < 1) {
    refuse("its padding of {} and {} leaves nothing of {} positions", axis.before, axis.after,
           full);
  }
  const std::int64_t room = axis.to + axis.before + axis.after - axis.covered();
  if (room < 0 || room / axis.stride + 1 != axis.from) {
    refuse(
        "a result of {} positions, padding {} and {}, from {} by a stride of {} is not supported: "
        "output_padding must be below the stride",
        axis.to, axis.before, axis.after, axis.from, axis.stride);
  }
}

void transposed_convolution(Call& call) {
  const Placed image = call.build().image(call.placed(0));
  const Shape& shape = call.build().graph().node(image.node).shape;
  const Constant& weights = weights_of(call);
  const std::int64_t groups = groups_of(call);
  need_channels(weights, weights.dims[0], shape[2]);
  if (groups > shape[2] || shape[2] % groups != 0) {
    refuse("its group is {}: it must divide {} channels", groups, shape[2]);
  }
  const auto kernel = read_kernel(call, &weights.dims[2]);
  const auto strides = read_pair(call, "strides", 1, 1);
  const auto dilations = read_pair(call, "dilations", 1, 1);
  const auto pads = read_pads(call);
  const TransposedSize size = read_size(call, pads);
  Windows axes;
  for (std::size_t i = 0; i < 2; ++i) {
    axes[i] = {
        kernel[i], strides[i], dilations[i], pads[i], pads[i + 2], shape[static_cast<int>(i)], 0};
    size_axis(size, i, axes[i]);
  }
  graph::TransposedConvolution node;
  node.out = weights.dims[1] * groups;
  node.kernel_h = kernel[0];
  node.kernel_w = kernel[1];
  node.stride = {strides[0], strides[1]};
  node.padding = {axes[0].before, axes[0].after, axes[1].before, axes[1].after};
  node.to_h = axes[0].to;
  node.to_w = axes[1].to;
  node.bias = call.has(2);
  node.groups = groups;
  node.dilation = {dilations[0], dilations[1]};
  Placed result = image;
  result.node = call.build().add_layer(node, image.node, arrays_of(call, node.out));
  call.give(result);
}

constexpr OperatorEntry kConvolutionEntries[] = {{"Conv", convolution},
                                                 {"ConvTranspose", transposed_convolution}};

}  // namespace

std::span<const OperatorEntry> convolution_operators() {
  return kConvolutionEntries;
}

}  // namespace gentrain::onnx
