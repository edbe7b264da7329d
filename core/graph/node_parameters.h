// Which parameters a node has: the one table behind registration, sharing, execution and summaries.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph/graph.h"
#include "core/parameters.h"

namespace gentrain::graph {

enum class ParameterPart : std::uint8_t {
  kWeight,
  kBias,
  kGamma,
  kBeta,
  kRunningMean,
  kRunningVar,
  kAlpha,
  kValue,
};
constexpr std::size_t kParameterParts = 8;

/// "weight", "running_mean": what stands behind the slash of a parameter's name.
std::string_view name_of(ParameterPart part);

/// Where a node's parameters are in a ParameterSet; -1 for one that it has not.
class ParameterIndices {
 public:
  ParameterIndices() { indices_.fill(-1); }
  [[nodiscard]] int operator[](ParameterPart part) const {
    return indices_[static_cast<std::size_t>(part)];
  }
  void set(ParameterPart part, int index) { indices_[static_cast<std::size_t>(part)] = index; }
  /// In the order of the parts.
  [[nodiscard]] const std::array<int, kParameterParts>& all() const { return indices_; }

 private:
  std::array<int, kParameterParts> indices_{};
};

/// One parameter of a node.
struct NodeParameter {
  ParameterPart part = ParameterPart::kWeight;
  Shape shape;
};

/// The parameters of a node in the order in which they are registered; none of most kinds.
///
/// input: the shape of its first input for one sample, as infer_shape accepted it; not read of a
///        kind without inputs
std::vector<NodeParameter> parameters_of(const NodeKind& kind, const Shape& input);
/// Those of a node of a graph.
std::vector<NodeParameter> parameters_of(const Graph& graph, const Node& node);

/// Registers what parameters_of gives as PREFIX/NAME, started as the layers of core/nn start
/// theirs: weights as `initializer` says, biases with it too if it is kUniformFanIn and else at
/// zero, gamma and running_var at one, beta and running_mean at zero, alpha at 0.25. A variable
/// starts at zero. The fans of a transposed convolution's weights are those that Keras and PyTorch
/// take: window * out / groups in, window * c out. Throws as ParameterSet::add.
void register_node(const NodeKind& kind, const Shape& input, const std::string& prefix,
                   const Initializer& initializer, ParameterSet& parameters);

}  // namespace gentrain::graph
