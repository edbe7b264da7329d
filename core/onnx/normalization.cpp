// BatchNormalization as it infers, InstanceNormalization, LRN, Dropout.
#include <algorithm>

#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

/// A constant with one value for each channel.
LayerArray channel_array(Call& call, int input, const char* leaf, std::int64_t channels) {
  const ConstantPointer& constant = call.reals(input);
  if (constant->rank() != 1 || constant->dims[0] != channels) {
    refuse("its input {} ({}) {} must have the shape [{}]", input, constant->name,
           text_of(constant->dims), channels);
  }
  return {leaf, Shape{channels}, constant->reals, constant};
}

std::int64_t channels_of(Call& call, const Placed& x) {
  if (x.axes.empty()) {
    refuse("it gets samples without an axis, channels are needed");
  }
  return call.build().dims(x)[0];
}

void batch_normalization(Call& call) {
  const Placed& x = call.placed(0);
  const std::int64_t channels = channels_of(call, x);
  if (call.attributes().flag("training_mode", false)) {
    refuse("its training_mode is 1: the statistics of a batch are not supported");
  }
  graph::BatchNormalization node;
  node.epsilon = call.attributes().real("epsilon", 1e-5);
  // A momentum of 1 means statistics that stay; a decay of 1 is not a number of the graph's.
  node.decay = std::min(call.attributes().real("momentum", 0.9), 1 - 1e-9);
  const Placed last = call.build().with_last(x, 0);
  std::vector<LayerArray> arrays;
  arrays.push_back(channel_array(call, 1, "gamma", channels));
  arrays.push_back(channel_array(call, 2, "beta", channels));
  arrays.push_back(channel_array(call, 3, "running_mean", channels));
  arrays.push_back(channel_array(call, 4, "running_var", channels));
  Placed result = last;
  result.node = call.build().add_layer(node, last.node, std::move(arrays));
  call.give(result);
}

/// value function constant-of-each-channel
Placed with_channels(Call& call, BinaryFunction function, const Placed& value, int input,
                     std::string_view part) {
  const std::int64_t channels = call.build().dims(value)[0];
  const ConstantPointer source = channel_array(call, input, "value", channels).source;
  auto column = std::make_shared<Constant>(*source);
  column->dims.resize(value.axes.size(), 1);
  Placed result = value;
  result.node = call.build().add(graph::Binary{function},
                                 {value.node, call.build().constant_node(column, value)}, part);
  return result;
}

void instance_normalization(Call& call) {
  const Placed& x = call.placed(0);
  channels_of(call, x);
  const double epsilon = call.attributes().real("epsilon", 1e-5);
  Builder& build = call.build();
  const auto mean = [&](Placed value) {
    for (int axis = 1; axis < static_cast<int>(x.axes.size()); ++axis) {
      value = mean_along(call, value, axis);
    }
    return value;
  };
  const Placed centred = build.binary(BinaryFunction::kSubtract, x, mean(x), "centred");
  const Placed squares = build.binary(BinaryFunction::kMultiply, centred, centred, "squares");
  const Placed factor = build.pointwise(
      build.pointwise(mean(squares), {PointwiseFunction::kAffine, 1, epsilon}, "variance"),
      {PointwiseFunction::kPower, -0.5}, "factor");
  const Placed normal = build.binary(BinaryFunction::kMultiply, centred, factor, "normal");
  call.give(with_channels(call, BinaryFunction::kAdd,
                          with_channels(call, BinaryFunction::kMultiply, normal, 1, "scaled"), 2,
                          ""));
}

/// x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels)^beta
void local_response_normalization(Call& call) {
  const Placed& x = call.placed(0);
  const std::int64_t channels = channels_of(call, x);
  Attributes& attributes = call.attributes();
  const std::int64_t size = attributes.integer("size", 0);
  need_range("size", {&size, 1}, 1, std::int64_t{1} << 20);
  const double alpha = attributes.real("alpha", 1e-4);
  const double beta = attributes.real("beta", 0.75);
  const double bias = attributes.real("bias", 1);
  ops::AxisRows rows;
  rows.from = channels;
  rows.begins.push_back(0);
  call.build().budget().charge(channels * std::min(channels, size));
  const std::int64_t before = (size - 1) / 2;
  for (std::int64_t c = 0; c < channels; ++c) {
    const std::int64_t begin = std::max<std::int64_t>(0, c - before);
    const std::int64_t end = std::min(channels, c - before + size);
    for (std::int64_t i = begin; i < end; ++i) {
      rows.sources.push_back(static_cast<std::int32_t>(i));
    }
    rows.weights.resize(rows.sources.size(), static_cast<float>(alpha / static_cast<double>(size)));
    rows.begins.push_back(static_cast<std::int32_t>(rows.sources.size()));
  }
  Builder& build = call.build();
  const Placed squares = build.binary(BinaryFunction::kMultiply, x, x, "squares");
  const Placed sums = build.mapped(squares, 0, std::move(rows), "sums");
  const Placed factor =
      build.pointwise(build.pointwise(sums, {PointwiseFunction::kAffine, 1, bias}, "biased"),
                      {PointwiseFunction::kPower, -beta}, "factor");
  call.give(build.binary(BinaryFunction::kMultiply, x, factor));
}

void dropout(Call& call) {
  const Placed& x = call.anywhere(0);
  call.attributes().integer("seed", 0);
  const double rate = call.has(1) ? call.number(1) : call.attributes().real("ratio", 0.5);
  if (call.has(2) && call.number(2) != 0) {
    refuse("its training_mode is 1: it would drop values of a prediction");
  }
  if (!(rate > 0 && rate < 1)) {
    return call.give(x);
  }
  Placed result = x;
  result.node = call.build().add(graph::Dropout{rate}, {x.node});
  call.give(result);
}

constexpr OperatorEntry kNormalizationEntries[] = {
    {"BatchNormalization", batch_normalization},
    {"InstanceNormalization", instance_normalization},
    {"LRN", local_response_normalization},
    {"Dropout", dropout}};

}  // namespace

std::span<const OperatorEntry> normalization_operators() {
  return kNormalizationEntries;
}

}  // namespace gentrain::onnx
