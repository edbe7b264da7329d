// Dense layers and convolutions: kernels in Keras's order of axes, activations that the node
// computes along or that come behind it.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/keras/layers.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

using graph::Convolution;
using graph::NodeKind;
using graph::TransposedConvolution;

/// [kh, kw, in, out] to [out, kh, kw, in]; of a transposed one, [kh, kw, out, in] to
/// [in, kh, kw, out].
const std::vector<int> kLastFirst = {3, 0, 1, 2};

/// What all convolutions have.
struct Window {
  Pair kernel;
  Pair stride;
  Pair dilation;
  bool same = false;
  bool channels_first = false;
  bool bias = true;
};

Window read_window(LayerCall& call) {
  Attributes& attributes = call.attributes;
  Window window;
  if (call.type == "Convolution2D") {
    window.kernel = {attributes.integer({"nb_row"}, 1), attributes.integer({"nb_col"}, 1)};
  } else {
    window.kernel = attributes.pair({"kernel_size"});
  }
  window.stride = attributes.pair({"strides", "subsample"}, {1, 1});
  window.dilation = attributes.pair({"dilation_rate"}, {1, 1});
  window.same = reads_same_padding(attributes);
  window.channels_first = reads_channels_first(attributes);
  window.bias = attributes.boolean({"use_bias", "bias"}, true);
  return window;
}

Convolution convolution_of(const Window& window, std::int64_t out) {
  Convolution conv;
  conv.out = out;
  conv.kernel_h = window.kernel.h;
  conv.kernel_w = window.kernel.w;
  conv.stride = {window.stride.h, window.stride.w};
  conv.dilation = {window.dilation.h, window.dilation.w};
  conv.padding.same = window.same;
  conv.bias = window.bias;
  return conv;
}

/// Lets the node compute the activation along, if it can: then there is none left.
template <class Kind>
void take_along(Kind& kind, std::optional<NodeKind>& activation) {
  const auto* plain = activation ? std::get_if<graph::Activate>(&*activation) : nullptr;
  if (plain != nullptr && plain->slope == 0) {
    kind.activation = plain->activation;
    activation.reset();
  }
}

void need_bias(std::vector<WeightNeed>& needs, const std::string& layer, std::int64_t out) {
  needs.push_back({Role::kBias, {out}, layer + "/bias", {}, {out}, nullptr});
}

/// Activations may go along an axis, so they come behind the axes' return.
int finish(Chain& chain, const Window& window, std::optional<NodeKind> activation) {
  chain.channels_first(window.channels_first);
  if (activation) {
    chain.then("activation", std::move(*activation));
  }
  return chain.finish();
}

struct TransposedLength {
  std::int64_t to = 0;
  std::int64_t before = 0;
  std::int64_t behind = 0;
};

/// Extent of the result of a transposed convolution along an axis, and the padding of the
/// convolution that it is the transpose of.
TransposedLength transposed_length(std::int64_t from, std::int64_t kernel, std::int64_t stride,
                                   bool same, std::optional<std::int64_t> more) {
  TransposedLength length;
  if (more) {
    length.to = (from - 1) * stride + kernel - (same ? kernel / 2 * 2 : 0) + *more;
  } else {
    length.to = from * stride + (same ? 0 : std::max<std::int64_t>(kernel - stride, 0));
  }
  if (length.to < 1) {
    throw ShapeError(fmt::format("{} rows or columns would become {}", from, length.to));
  }
  if (same) {
    const std::int64_t total = std::max<std::int64_t>((from - 1) * stride + kernel - length.to, 0);
    length.before = total / 2;
    length.behind = total - total / 2;
  }
  return length;
}

/// `output_padding`: null, one integer or two.
std::optional<Pair> read_output_padding(Attributes& attributes) {
  const json* value = attributes.take({"output_padding"});
  if (value == nullptr || value->is_null()) {
    return std::nullopt;
  }
  return to_pair(*value, "output_padding", 0);
}

}  // namespace

int add_dense(LayerCall& call) {
  graph::Dense dense;
  dense.out = call.attributes.integer({"units", "output_dim"}, 1);
  dense.bias = call.attributes.boolean({"use_bias", "bias"}, true);
  std::optional<NodeKind> activation = reads_activation(call);
  take_along(dense, activation);
  Chain chain(call);
  const Shape in = chain.shape();
  chain.then("linear", dense, call.parameters);
  const std::int64_t k = in[in.rank() - 1];
  std::vector<WeightNeed> needs = {{Role::kKernel,
                                    {k, dense.out},
                                    call.parameters + "/weight",
                                    {1, 0},
                                    {dense.out, k},
                                    nullptr}};
  if (dense.bias) {
    need_bias(needs, call.parameters, dense.out);
  }
  call.builder.need(call.parameters, std::move(needs));
  if (activation) {
    chain.then("activation", std::move(*activation));
  }
  return chain.finish();
}

int add_convolution(LayerCall& call) {
  const Window window = read_window(call);
  Convolution conv = convolution_of(window, call.attributes.integer({"filters", "nb_filter"}, 1));
  conv.groups = call.attributes.integer({"groups"}, 1, 1);
  std::optional<NodeKind> activation = reads_activation(call);
  take_along(conv, activation);
  Chain chain(call);
  need_image(chain.shape());
  chain.channels_last(window.channels_first);
  const std::int64_t in = chain.shape()[2];
  chain.then("linear", conv, call.parameters);
  const std::int64_t depth = in / conv.groups;
  const Shape shape = {conv.out, conv.kernel_h, conv.kernel_w, depth};
  WeightNeed kernel = {Role::kKernel,
                       {conv.kernel_h, conv.kernel_w, depth, conv.out},
                       call.parameters + "/weight",
                       kLastFirst,
                       shape,
                       nullptr};
  if (call.type == "Convolution2D" && window.channels_first) {  // Keras 1 turned kernels too
    kernel.stored = {conv.out, depth, conv.kernel_h, conv.kernel_w};
    kernel.axes = {0, 2, 3, 1};
  }
  std::vector<WeightNeed> needs = {std::move(kernel)};
  if (conv.bias) {
    need_bias(needs, call.parameters, conv.out);
  }
  call.builder.need(call.parameters, std::move(needs));
  return finish(chain, window, std::move(activation));
}

int add_depthwise_convolution(LayerCall& call) {
  const Window window = read_window(call);
  const std::int64_t multiplier = call.attributes.integer({"depth_multiplier"}, 1, 1);
  call.attributes.expect("groups", {1});
  std::optional<NodeKind> activation = reads_activation(call);
  Chain chain(call);
  need_image(chain.shape());
  chain.channels_last(window.channels_first);
  const std::int64_t in = chain.shape()[2];
  Convolution conv = convolution_of(window, in * multiplier);
  conv.groups = in;
  take_along(conv, activation);
  chain.then("linear", conv, call.parameters);
  std::vector<WeightNeed> needs = {{Role::kDepthwiseKernel,
                                    {conv.kernel_h, conv.kernel_w, in, multiplier},
                                    call.parameters + "/weight",
                                    {2, 3, 0, 1},
                                    {conv.out, conv.kernel_h, conv.kernel_w, 1},
                                    nullptr}};
  if (conv.bias) {
    need_bias(needs, call.parameters, conv.out);
  }
  call.builder.need(call.parameters, std::move(needs));
  return finish(chain, window, std::move(activation));
}

int add_separable_convolution(LayerCall& call) {
  Window window = read_window(call);
  const std::int64_t multiplier = call.attributes.integer({"depth_multiplier"}, 1, 1);
  call.attributes.expect("groups", {1});
  std::optional<NodeKind> activation = reads_activation(call);
  Convolution points;
  points.out = call.attributes.integer({"filters", "nb_filter"}, 1);
  points.kernel_h = 1;
  points.kernel_w = 1;
  points.bias = window.bias;
  take_along(points, activation);
  Chain chain(call);
  need_image(chain.shape());
  chain.channels_last(window.channels_first);
  const std::int64_t in = chain.shape()[2];
  window.bias = false;
  Convolution depth = convolution_of(window, in * multiplier);
  depth.groups = in;
  const std::string name = call.parameters + "/depthwise";
  chain.then("depthwise", depth, name);
  chain.then("linear", points, call.parameters);
  std::vector<WeightNeed> needs = {{Role::kDepthwiseKernel,
                                    {depth.kernel_h, depth.kernel_w, in, multiplier},
                                    name + "/weight",
                                    {2, 3, 0, 1},
                                    {depth.out, depth.kernel_h, depth.kernel_w, 1},
                                    nullptr},
                                   {Role::kPointwiseKernel,
                                    {1, 1, depth.out, points.out},
                                    call.parameters + "/weight",
                                    kLastFirst,
                                    {points.out, 1, 1, depth.out},
                                    nullptr}};
  if (points.bias) {
    need_bias(needs, call.parameters, points.out);
  }
  call.builder.need(call.parameters, std::move(needs));
  return finish(chain, window, std::move(activation));
}

int add_transposed_convolution(LayerCall& call) {
  const Window window = read_window(call);
  const std::optional<Pair> more = read_output_padding(call.attributes);
  call.attributes.expect("groups", {1});
  std::optional<NodeKind> activation = reads_activation(call);
  Chain chain(call);
  need_image(chain.shape());
  chain.channels_last(window.channels_first);
  const Shape image = chain.shape();
  TransposedConvolution conv;
  conv.out = call.attributes.integer({"filters"}, 1);
  conv.kernel_h = window.kernel.h;
  conv.kernel_w = window.kernel.w;
  conv.stride = {window.stride.h, window.stride.w};
  conv.dilation = {window.dilation.h, window.dilation.w};
  conv.bias = window.bias;
  const auto length = [&](int axis, std::int64_t kernel, std::int64_t dilation, std::int64_t stride,
                          std::optional<std::int64_t> extra) {
    return transposed_length(image[axis], (kernel - 1) * dilation + 1, stride, window.same, extra);
  };
  const auto extra = [&](std::int64_t Pair::*part) {
    return more ? std::optional((*more).*part) : std::nullopt;
  };
  const TransposedLength rows =
      length(0, window.kernel.h, window.dilation.h, window.stride.h, extra(&Pair::h));
  const TransposedLength columns =
      length(1, window.kernel.w, window.dilation.w, window.stride.w, extra(&Pair::w));
  conv.to_h = rows.to;
  conv.to_w = columns.to;
  conv.padding = {rows.before, rows.behind, columns.before, columns.behind};
  chain.then("linear", conv, call.parameters);
  std::vector<WeightNeed> needs = {{Role::kKernel,
                                    {conv.kernel_h, conv.kernel_w, conv.out, image[2]},
                                    call.parameters + "/weight",
                                    kLastFirst,
                                    {image[2], conv.kernel_h, conv.kernel_w, conv.out},
                                    nullptr}};
  if (conv.bias) {
    need_bias(needs, call.parameters, conv.out);
  }
  call.builder.need(call.parameters, std::move(needs));
  return finish(chain, window, std::move(activation));
}

}  // namespace gentrain::keras
