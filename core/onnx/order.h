// Which nodes of an ONNX model are needed for its outputs, in an order in which they can be
// computed: that of the file as far as it is one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/onnx/model.h"

namespace gentrain::onnx {

/// "node conv1 (Conv)"; without a name by its first output.
std::string text_of(const Node& node);
/// A node's name, else that of its first output that has one, else its operator.
std::string name_of(const Node& node);

struct NodeOrder {
  std::vector<std::size_t> nodes;  // indices into Model::nodes
  /// How many inputs of those nodes and outputs of the model read a value.
  std::unordered_map<std::string_view, int> readers;
  /// Who reads it last, by index, if it is a node.
  std::unordered_map<std::string_view, std::size_t> reader;
};

/// `model` must outlive the result. Throws IoError naming the value or node: a value that two
/// nodes, inputs or initializers give, one that is read but that nobody gives, nodes that depend on
/// themselves.
NodeOrder order_nodes(const Model& model);

}  // namespace gentrain::onnx
