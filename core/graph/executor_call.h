// The forward rules as one visitor, whose functions stand in forward_layers.cpp (kinds with
// parameters, and pooling) and forward_maps.cpp (all others); of use to Executor alone.
#pragma once

#include <cstdint>
#include <span>

#include "core/graph/executor.h"

namespace gentrain::graph {

/// A step of compute() under way.
struct Executor::Call {
  const Executor& executor;
  Context& context;
  const Step& step;
  std::span<const Tensor> inputs;  // of the step's first node; all [n, ...] or all [1, ...]
  DType dtype;                     // of what the network is given: constants stand as it
  double statistics_share;         // BatchNormOptions::weight

  Tensor operator()(const Input& node) const;
  Tensor operator()(const Constant& node) const;
  Tensor operator()(const Variable& node) const;
  Tensor operator()(const Convolution& node) const;
  Tensor operator()(const TransposedConvolution& node) const;
  Tensor operator()(const BatchNormalization& node) const;
  Tensor operator()(const Activate& node) const;
  Tensor operator()(const Pointwise& node) const;
  Tensor operator()(const Prelu& node) const;
  Tensor operator()(const Binary& node) const;
  Tensor operator()(const Pooling& node) const;
  Tensor operator()(const GlobalPooling& node) const;
  Tensor operator()(const Dense& node) const;
  Tensor operator()(const Flatten& node) const;
  Tensor operator()(const Reshape& node) const;
  Tensor operator()(const Permute& node) const;
  Tensor operator()(const AxisMap& node) const;
  Tensor operator()(const LargestAlong& node) const;
  Tensor operator()(const Dropout& node) const;
  Tensor operator()(const Concatenation& node) const;
  Tensor operator()(const Addition& node) const;
  Tensor operator()(const Softmax& node) const;
  Tensor operator()(const Identity& node) const;

 private:
  /// The step's first node.
  [[nodiscard]] const Node& of() const { return executor.graph_.node(step.node); }
  /// Undefined for one that the node has not.
  [[nodiscard]] Tensor parameter(ParameterPart part) const {
    return executor.parameter(step.node, part);
  }
  /// The node Activate that the step takes along, or null.
  [[nodiscard]] const Activate* behind() const {
    return step.activation < 0 ? nullptr
                               : &std::get<Activate>(executor.graph_.node(step.activation).kind);
  }
  /// The node's own activation, or that behind it.
  [[nodiscard]] Activation activation(Activation own) const {
    return behind() == nullptr ? own : behind()->activation;
  }
  /// Shape of the first input for one sample.
  [[nodiscard]] const Shape& sample() const { return executor.graph_.node(of().inputs[0]).shape; }
  /// x under the shape of the node's result.
  [[nodiscard]] Tensor as_result(const Tensor& x) const;
};

}  // namespace gentrain::graph
