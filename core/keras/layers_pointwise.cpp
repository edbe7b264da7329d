// Activations, normalisation, and layers that do something in training alone.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/keras/activations.h"
#include "core/keras/layers.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

constexpr std::int64_t kAnyAxis = std::numeric_limits<std::int32_t>::min();

/// One axis of a sample out of a number or a list of one.
int read_axis(Attributes& attributes, int rank) {
  const json* value = attributes.take({"axis"});
  if (value == nullptr) {
    return rank - 1;
  }
  const bool list = value->is_array() && value->size() == 1;
  return sample_axis(to_integer(list ? (*value)[0] : *value, "axis", kAnyAxis), rank);
}

using Values = std::vector<float>;

/// A constant of one value, or of one for each position along the last axis.
int add_constant(const LayerCall& call, const std::string& suffix,
                 const std::shared_ptr<const Values>& values) {
  const Shape shape =
      values->size() == 1 ? Shape{1} : Shape{static_cast<std::int64_t>(values->size())};
  return call.add(suffix, graph::Constant{shape, values}, {});
}

/// A number, or a list of one or of as many as there are channels.
std::shared_ptr<Values> read_values(const json& value, std::string_view name,
                                    std::int64_t channels) {
  const json* list = &value;
  while (list->is_array() && list->size() == 1) {
    list = &(*list)[0];  // [[[1, 2, 3]]]
  }
  auto values = std::make_shared<Values>();
  if (!list->is_array()) {
    values->push_back(static_cast<float>(to_real(*list, name)));
    return values;
  }
  if (static_cast<std::int64_t>(list->size()) != channels) {
    throw IoError(
        fmt::format("{} has {} values, but there are {} channels", name, list->size(), channels));
  }
  for (const json& element : *list) {
    values->push_back(static_cast<float>(to_real(element, name)));
  }
  return values;
}

/// Once for all calls.
void note_training_only(const LayerCall& call) {
  auto& names = call.builder.training_only;
  if (std::ranges::find(names, call.parameters) == names.end()) {
    names.push_back(call.parameters);
  }
}

int normalize(const LayerCall& call, const std::shared_ptr<const Values>& mean,
              const std::shared_ptr<const Values>& deviation) {
  const int centred = call.add("centred", graph::Binary{BinaryFunction::kSubtract},
                               {call.input(), add_constant(call, "mean", mean)});
  return call.add("", graph::Binary{BinaryFunction::kDivide},
                  {centred, add_constant(call, "deviation", deviation)});
}

}  // namespace

int add_activation(LayerCall& call) {
  std::optional<graph::NodeKind> kind;
  if (call.type == "Activation") {
    const json* value = call.attributes.take({"activation"});
    if (value == nullptr || value->is_null()) {
      throw IoError("it has no attribute activation");
    }
    kind = read_activation(*value, call.builder.version);
  }
  Chain chain(call);
  if (kind) {
    chain.then("activation", std::move(*kind));
  }
  return chain.finish();
}

int add_activation_layer(LayerCall& call) {
  Chain chain(call);
  auto kind = read_activation_layer(call.type, call.attributes, chain.shape().rank());
  return chain.then("activation", std::move(kind.value())).finish();
}

int add_prelu(LayerCall& call) {
  Chain chain(call);
  const auto extents = chain.shape().extents();
  std::vector<std::int64_t> alpha(extents.begin(), extents.end());
  if (const json* axes = call.attributes.take({"shared_axes"});
      axes != nullptr && !axes->is_null()) {
    if (!axes->is_array()) {
      throw IoError(fmt::format("shared_axes is {}: a list is needed", shown(*axes)));
    }
    for (const json& axis : *axes) {
      const std::int64_t number = to_integer(axis, "shared_axes", kAnyAxis);
      alpha[static_cast<std::size_t>(sample_axis(number, chain.shape().rank()))] = 1;
    }
  }
  const Shape shape(alpha);
  call.builder.need(call.parameters,
                    {{Role::kAlpha, shape, call.parameters + "/alpha", {}, shape, nullptr}});
  return chain.then("prelu", graph::Prelu{shape}, call.parameters).finish();
}

int add_batch_normalization(LayerCall& call) {
  Attributes& attributes = call.attributes;
  Chain chain(call);
  const int rank = chain.shape().rank();
  const int axis = read_axis(attributes, rank);
  graph::BatchNormalization norm;
  norm.epsilon = attributes.real({"epsilon"}, norm.epsilon);
  norm.gamma = attributes.boolean({"scale"}, true);
  norm.beta = attributes.boolean({"center"}, true);
  const double momentum = attributes.real({"momentum"}, norm.decay);
  if (norm.epsilon < 0 || momentum < 0 || momentum > 1) {
    throw IoError(fmt::format("epsilon is {} and momentum {}: at least 0, and 0 to 1, are needed",
                              norm.epsilon, momentum));
  }
  norm.decay = std::min(momentum, std::nextafter(1.0, 0.0));  // 1: statistics that stay
  attributes.expect("mode", {0});
  attributes.expect("renorm", {false});
  for (const std::string_view unused :
       {"renorm_clipping", "renorm_momentum", "synchronized", "fused"}) {
    attributes.take({unused});
  }
  attributes.expect("virtual_batch_size", {});
  const std::int64_t channels = chain.shape()[axis];
  const bool moved = axis != rank - 1;
  if (moved) {
    chain.then("channels_last", graph::Permute{axis_to_end(axis, rank)});
  }
  chain.then("norm", norm, call.parameters);
  std::vector<WeightNeed> needs;
  const auto need = [&](bool there, Role role, const char* name) {
    if (there) {
      needs.push_back({role, {channels}, call.parameters + name, {}, {channels}, nullptr});
    }
  };
  need(norm.gamma, Role::kGamma, "/gamma");
  need(norm.beta, Role::kBeta, "/beta");
  need(true, Role::kMean, "/running_mean");
  need(true, Role::kVariance, "/running_var");
  call.builder.need(call.parameters, std::move(needs));
  if (moved) {
    chain.then("channels_back", graph::Permute{axis_from_end(axis, rank)});
  }
  return chain.finish();
}

int add_rescaling(LayerCall& call) {
  const json one = 1;
  const json zero = 0;
  const json* given_scale = call.attributes.take({"scale"});
  const json* given_offset = call.attributes.take({"offset"});
  const json& scale = given_scale == nullptr ? one : *given_scale;
  const json& offset = given_offset == nullptr ? zero : *given_offset;
  if (!scale.is_array() && !offset.is_array()) {
    const PointwiseRule rule{PointwiseFunction::kAffine, to_real(scale, "scale"),
                             to_real(offset, "offset")};
    return Chain(call).then("rescale", graph::Pointwise{rule}).finish();
  }
  const Shape& shape = call.shape(call.input());
  const std::int64_t channels = shape[shape.rank() - 1];
  const int by = add_constant(call, "scale", read_values(scale, "scale", channels));
  const int plus = add_constant(call, "offset", read_values(offset, "offset", channels));
  const int scaled =
      call.add("scaled", graph::Binary{BinaryFunction::kMultiply}, {call.input(), by});
  return call.add("", graph::Binary{BinaryFunction::kAdd}, {scaled, plus});
}

int add_normalization(LayerCall& call) {
  const Shape& shape = call.shape(call.input());
  const json* axis = call.attributes.take({"axis"});
  const json* mean = call.attributes.take({"mean"});
  const json* variance = call.attributes.take({"variance"});
  call.attributes.expect("invert", {false});
  const bool all = axis != nullptr && (axis->is_null() || (axis->is_array() && axis->empty()));
  if (axis != nullptr && !all) {
    const bool list = axis->is_array() && axis->size() == 1;
    const std::int64_t number = to_integer(list ? (*axis)[0] : *axis, "axis", kAnyAxis);
    if (sample_axis(number, shape.rank()) != shape.rank() - 1) {
      throw IoError(fmt::format("axis is {}: only the last one is supported", shown(*axis)));
    }
  }
  const std::int64_t channels = all ? 1 : shape[shape.rank() - 1];
  if (mean != nullptr && !mean->is_null()) {
    if (variance == nullptr || variance->is_null()) {
      throw IoError("it has a mean but no variance");
    }
    auto deviation = read_values(*variance, "variance", channels);
    make_deviations(*deviation);
    return normalize(call, read_values(*mean, "mean", channels), deviation);
  }
  const auto constant = [&] {
    return std::make_shared<Values>(static_cast<std::size_t>(channels));
  };
  const Shape stored = all ? Shape{} : Shape{channels};
  const std::vector<WeightNeed>& needs =
      call.builder.need(call.parameters, {{Role::kMean, stored, "", {}, stored, constant()},
                                          {Role::kVariance, stored, "", {}, stored, constant()},
                                          {Role::kCount, Shape{}, "", {}, Shape{}, nullptr}});
  const std::shared_ptr<const Values> of_mean = needs[0].constant;
  const std::shared_ptr<const Values> of_variance = needs[1].constant;
  return normalize(call, of_mean, of_variance);
}

int add_dropout(LayerCall& call) {
  const double rate = call.attributes.real({"rate", "p"});
  if (rate < 0 || rate > 1) {
    throw IoError(fmt::format("rate is {}: 0 to 1 is needed", rate));
  }
  const json* shape = call.attributes.take({"noise_shape"});
  if (rate == 1 || (shape != nullptr && !shape->is_null())) {
    note_training_only(call);
    return Chain(call).finish();
  }
  return Chain(call).then("dropout", graph::Dropout{rate}).finish();
}

int add_training_only(LayerCall& call) {
  for (const std::string_view unused :
       {"rate", "p", "sigma", "stddev", "noise_shape", "l1", "l2", "data_format", "dim_ordering"}) {
    call.attributes.take({unused});
  }
  note_training_only(call);
  return Chain(call).finish();
}

}  // namespace gentrain::keras
