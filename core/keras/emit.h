// A model's calls, each at its turn, as nodes of a graph; models within it likewise.
#pragma once

#include <vector>

#include "core/graph/imported.h"
#include "core/keras/builder.h"
#include "core/keras/model_config.h"

namespace gentrain::keras {

/// Adds the whole model: inputs, layers and outputs of `imported`, with its graph in the builder.
///
/// Nodes: NAME for the first call of a layer, NAME:1 for the second; within models OUTER/NAME. All
/// calls of a layer have the parameters of the first, OUTER/NAME/weight.
///
/// Throws IoError naming the layer.
void emit_model(const Model& model, Builder& builder, graph::ImportedModel& imported);

}  // namespace gentrain::keras
