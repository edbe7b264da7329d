// Networks of a job's layers as graphs over the same parameters, so that any layer's output can be
// asked for by name.
#pragma once

#include "core/graph/graph.h"
#include "trainers/models/options.h"

namespace gentrain::trainers {

/// LeNet, or the layers of a sequential network: a node for each, named as its parameters are
/// (conv1, linear1, fc1), others by their kind and a number (max_pool1, tanh2, flatten1).
///
/// image   [h, w, c]
/// outputs of LeNet's last layer
///
/// Throws JobError for another model; ShapeError naming the layer if the layers do not fit.
graph::Graph layer_graph(const ModelOptions& model, const Shape& image, std::int64_t outputs);

/// Whether layer_graph() takes the model.
inline bool has_layer_graph(const ModelOptions& model) {
  return !model.layers.empty() || model.name == "lenet";
}

}  // namespace gentrain::trainers
