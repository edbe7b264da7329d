// The order in which Keras has the layers of a functional model, by which it gives them the arrays
// of a file: names are not looked at.
#pragma once

#include <cstddef>
#include <vector>

namespace gentrain::keras {

/// What a call of a layer gives.
struct LayerOutput {
  std::size_t layer = 0;
  std::size_t call = 0;
};

/// Sources of each call of each layer.
using LayerCalls = std::vector<std::vector<std::vector<LayerOutput>>>;

/// All layers, those farthest from the outputs first; of equally far ones the one first that a walk
/// from the outputs meets first, depth first. Layers that no output needs come last.
/// Source: map_graph in Keras 3's keras/src/ops/function.py; as _map_graph_network in Keras 2.
std::vector<std::size_t> keras_order(const LayerCalls& calls,
                                     const std::vector<LayerOutput>& outputs);

}  // namespace gentrain::keras
