// What a graph network computes behind one of its layers: for images whose outputs of that layer
// are known already.
#pragma once

#include "core/graph/executor.h"
#include "trainers/models/graph_network.h"

namespace gentrain::trainers {

/// Thread-safe, as Network is. From the layer's outputs it computes what the whole network
/// computes, to the bit, in training too: its dropouts draw the same numbers.
class GraphTail final : public Network {
 public:
  /// node        of the whole network's graph
  /// parameters  those of the whole network, must outlive it
  ///
  /// Throws as graph::behind().
  GraphTail(const GraphNetwork& whole, int node, const ParameterSet& parameters);

  /// x [n, ...]: outputs of the layer, f32; result [n, outputs] as GraphNetwork::forward().
  Tensor forward(Context& context, const Tensor& x) const override;
  /// Shape of the layer's output for one image.
  [[nodiscard]] const Shape& input() const {
    return executor_.graph().node(executor_.graph().inputs()[0]).shape;
  }

 private:
  graph::Executor executor_;
  int logits_;
};

}  // namespace gentrain::trainers
