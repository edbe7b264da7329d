// Activations by name and as serialized objects: each becomes a kind of node.
#pragma once

#include <optional>
#include <string>

#include "core/graph/kinds.h"
#include "core/keras/attributes.h"

namespace gentrain::keras {

/// The node that computes an activation, nothing for none or "linear".
///
/// value null, "relu", {"class_name": "function", "config": "relu"} or a layer that is an
///       activation, {"class_name": "LeakyReLU", "config": {...}}
/// Throws IoError naming what is not known.
std::optional<graph::NodeKind> read_activation(const json& value, const Version& version);

/// The layers ReLU, LeakyReLU, ELU, ThresholdedReLU and, with one axis, Softmax; nothing for other
/// types. rank: of a sample, for the axis; 0: unknown, then only the last axis can be meant.
std::optional<graph::NodeKind> read_activation_layer(const std::string& type,
                                                     Attributes& attributes, int rank);

}  // namespace gentrain::keras
