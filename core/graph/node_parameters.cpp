// Shapes, initial values and names of the parameters of nodes.
#include "core/graph/node_parameters.h"

#include <utility>

#include <fmt/format.h>

namespace gentrain::graph {

namespace {

using Part = ParameterPart;

std::int64_t last_extent(const Shape& shape) {
  return shape[shape.rank() - 1];
}

std::vector<NodeParameter> weights(const Shape& shape, bool bias, std::int64_t out) {
  std::vector<NodeParameter> parameters{{Part::kWeight, shape}};
  if (bias) {
    parameters.push_back({Part::kBias, {out}});
  }
  return parameters;
}

std::vector<NodeParameter> statistics(const BatchNormalization& norm, const Shape& channels) {
  std::vector<NodeParameter> parameters;
  if (norm.gamma) {
    parameters.push_back({Part::kGamma, channels});
  }
  if (norm.beta) {
    parameters.push_back({Part::kBeta, channels});
  }
  parameters.push_back({Part::kRunningMean, channels});
  parameters.push_back({Part::kRunningVar, channels});
  return parameters;
}

/// What the spread of initial weights depends on.
struct Fans {
  std::int64_t in = 1;
  std::int64_t out = 1;
};

Fans fans_of(const NodeKind& kind, const Shape& input) {
  return std::visit(Overloaded{
                        [&](const Convolution& node) -> Fans {
                          const std::int64_t window = node.kernel_h * node.kernel_w;
                          return {window * (input[2] / node.groups), window * node.out};
                        },
                        [&](const TransposedConvolution& node) -> Fans {
                          const std::int64_t window = node.kernel_h * node.kernel_w;
                          return {window * (node.out / node.groups), window * input[2]};
                        },
                        [&](const Dense& node) -> Fans {
                          return {last_extent(input), node.out};
                        },
                        [](const auto&) -> Fans { return {}; },
                    },
                    kind);
}

/// Of a parameter that an optimizer changes.
Initializer initial(ParameterPart part, const Initializer& weights) {
  constexpr double kAlpha = 0.25;
  using Kind = Initializer::Kind;
  switch (part) {
    case Part::kWeight:
      return weights;
    case Part::kBias:
      return weights.kind == Kind::kUniformFanIn ? weights : Initializer{};
    case Part::kGamma:
      return {Kind::kOnes};
    case Part::kAlpha:
      return {.kind = Kind::kConstant, .value = kAlpha};
    default:
      return {};
  }
}

}  // namespace

std::string_view name_of(ParameterPart part) {
  constexpr std::array<std::string_view, kParameterParts> kNames = {
      "weight", "bias", "gamma", "beta", "running_mean", "running_var", "alpha", "value"};
  return kNames.at(static_cast<std::size_t>(part));
}

std::vector<NodeParameter> parameters_of(const NodeKind& kind, const Shape& input) {
  using Parameters = std::vector<NodeParameter>;
  return std::visit(
      Overloaded{
          [](const Variable& node) -> Parameters {
            return {{Part::kValue, node.shape}};
          },
          [&](const Convolution& node) {
            return weights({node.out, node.kernel_h, node.kernel_w, input[2] / node.groups},
                           node.bias, node.out);
          },
          [&](const TransposedConvolution& node) {
            return weights({input[2], node.kernel_h, node.kernel_w, node.out / node.groups},
                           node.bias, node.out);
          },
          [&](const BatchNormalization& node) { return statistics(node, {last_extent(input)}); },
          [](const Prelu& node) -> Parameters {
            return {{Part::kAlpha, node.alpha}};
          },
          [&](const Dense& node) {
            return weights({node.out, last_extent(input)}, node.bias, node.out);
          },
          [](const auto&) { return Parameters{}; },
      },
      kind);
}

void register_node(const NodeKind& kind, const Shape& input, const std::string& prefix,
                   const Initializer& initializer, ParameterSet& parameters) {
  const Fans fans = fans_of(kind, input);
  const auto* norm = std::get_if<BatchNormalization>(&kind);
  for (const NodeParameter& parameter : parameters_of(kind, input)) {
    const ParameterPart part = parameter.part;
    std::string name = fmt::format("{}/{}", prefix, name_of(part));
    if (part == Part::kRunningMean || part == Part::kRunningVar) {
      const auto start =
          part == Part::kRunningMean ? Initializer::Kind::kZeros : Initializer::Kind::kOnes;
      parameters.add_statistic(std::move(name), parameter.shape, start, norm->decay);
    } else {
      parameters.add(std::move(name), parameter.shape, initial(part, initializer), fans.in,
                     fans.out);
    }
  }
}

}  // namespace gentrain::graph
