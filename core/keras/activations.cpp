// The table of activations, and the layers that are activations.
#include "core/keras/activations.h"

#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/keras/builder.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

using graph::Activate;
using graph::NodeKind;
using graph::Pointwise;
using Function = PointwiseFunction;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Klambauer et al. 2017, arXiv:1706.02515.
constexpr double kSeluAlpha = 1.6732632423543772;
constexpr double kSeluScale = 1.0507009873554805;

struct NamedRule {
  std::string_view name;
  PointwiseRule rule;
};

/// Those of which no version of Keras differs from another.
constexpr std::array<NamedRule, 18> kRules = {{
    {"relu6", {Function::kRelu, 0, 0, 6}},
    {"elu", {Function::kElu, 1, 1, 1}},
    {"celu", {Function::kElu, 1, 1, 1}},
    {"selu", {Function::kElu, kSeluAlpha, kSeluScale, 1}},
    {"softplus", {Function::kSoftplus, 1, 0, kInfinity}},
    {"softsign", {Function::kSoftsign, 1, 0, kInfinity}},
    {"swish", {Function::kSwish, 1, 0, kInfinity}},
    {"silu", {Function::kSwish, 1, 0, kInfinity}},
    {"gelu", {Function::kGelu, 1, 0, kInfinity}},
    {"exponential", {Function::kExp, 1, 0, kInfinity}},
    {"hard_silu", {Function::kHardSwish, 1.0 / 6, 0.5, kInfinity}},
    {"hard_swish", {Function::kHardSwish, 1.0 / 6, 0.5, kInfinity}},
    {"hard_tanh", {Function::kClip, -1, 1, kInfinity}},
    {"hard_shrink", {Function::kHardShrink, 0.5, 0, kInfinity}},
    {"soft_shrink", {Function::kSoftShrink, 0.5, 0, kInfinity}},
    {"tanh_shrink", {Function::kTanhShrink, 1, 0, kInfinity}},
    {"log_sigmoid", {Function::kLogSigmoid, 1, 0, kInfinity}},
    {"mish", {Function::kMish, 1, 0, kInfinity}},
}};

/// A ReLU with a slope is a kind that layers compute along.
NodeKind relu(double slope, double threshold, double most) {
  if (slope >= 0 && threshold == 0 && most == kInfinity) {
    return Activate{Activation::kRelu, slope};
  }
  return Pointwise{{Function::kRelu, slope, threshold, most}};
}

std::optional<NodeKind> by_name(const std::string& name, const Version& version) {
  constexpr double kLeakySlope = 0.2;
  if (name == "linear") {
    return std::nullopt;
  }
  if (name == "relu") {
    return Activate{Activation::kRelu, 0};
  }
  if (name == "tanh") {
    return Activate{Activation::kTanh, 0};
  }
  if (name == "sigmoid") {
    return Activate{Activation::kSigmoid, 0};
  }
  if (name == "leaky_relu") {
    return relu(kLeakySlope, 0, kInfinity);
  }
  if (name == "softmax" || name == "log_softmax") {
    return graph::Softmax{.axis = -1, .log = name == "log_softmax"};
  }
  if (name == "hard_sigmoid") {
    return Pointwise{{Function::kHardSigmoid, version.major >= kNewKeras ? 1.0 / 6 : 0.2, 0.5}};
  }
  for (const NamedRule& known : kRules) {
    if (known.name == name) {
      return Pointwise{known.rule};
    }
  }
  throw IoError(fmt::format("its activation '{}' is not known", name));
}

/// max_value, null for none.
double most_of(Attributes& attributes) {
  const json* value = attributes.take({"max_value"});
  return value == nullptr || value->is_null() ? kInfinity : to_real(*value, "max_value");
}

NodeKind softmax(Attributes& attributes, int rank) {
  const json* value = attributes.take({"axis"});
  const json* axis = value;
  if (value != nullptr && value->is_array() && value->size() == 1) {
    axis = &(*value)[0];
  }
  const std::int64_t number =
      axis == nullptr ? -1 : to_integer(*axis, "axis", std::numeric_limits<int>::min());
  if (number == -1) {
    return graph::Softmax{};
  }
  return graph::Softmax{.axis = sample_axis(number, rank)};
}

}  // namespace

std::optional<NodeKind> read_activation_layer(const std::string& type, Attributes& attributes,
                                              int rank) {
  constexpr double kLeakySlope = 0.3;
  if (type == "ReLU") {
    const double slope = attributes.real({"negative_slope"}, 0);
    const double threshold = attributes.real({"threshold"}, 0);
    return relu(slope, threshold, most_of(attributes));
  }
  if (type == "LeakyReLU") {
    return relu(attributes.real({"alpha", "negative_slope"}, kLeakySlope), 0, kInfinity);
  }
  if (type == "ELU") {
    return Pointwise{{Function::kElu, attributes.real({"alpha"}, 1), 1, 1}};
  }
  if (type == "ThresholdedReLU") {
    return Pointwise{{Function::kThreshold, attributes.real({"theta"}, 1), 0}};
  }
  if (type == "Softmax") {
    return softmax(attributes, rank);
  }
  return std::nullopt;
}

std::optional<NodeKind> read_activation(const json& value, const Version& version) {
  if (value.is_null()) {
    return std::nullopt;
  }
  if (value.is_string()) {
    return by_name(value.get<std::string>(), version);
  }
  const bool object = value.is_object() && value.contains("class_name") &&
                      value["class_name"].is_string() && value.contains("config");
  if (!object) {
    throw IoError(fmt::format("its activation {} is not known", shown(value)));
  }
  const json module = value.value("module", json());
  if (module.is_string() && !module.get<std::string>().starts_with("keras") &&
      !module.get<std::string>().starts_with("tf_keras")) {
    throw IoError(fmt::format("its activation {} is a custom one", shown(value)));
  }
  const auto type = value["class_name"].get<std::string>();
  const json& config = value["config"];
  if (type == "function" && config.is_string()) {
    return by_name(config.get<std::string>(), version);
  }
  if (type == "Activation" && config.is_object()) {
    return read_activation(config.value("activation", json()), version);
  }
  Attributes attributes(config);
  if (auto kind = read_activation_layer(type, attributes, 0)) {
    attributes.finish();
    return kind;
  }
  throw IoError(fmt::format("its activation {} is not known", type));
}

}  // namespace gentrain::keras
