// Names of the kinds of nodes.
#include "core/graph/kinds.h"

namespace gentrain::graph {

std::string_view name_of(const NodeKind& kind) {
  return std::visit(
      Overloaded{
          [](const Input&) -> std::string_view { return "input"; },
          [](const Convolution&) -> std::string_view { return "convolution"; },
          [](const BatchNormalization&) -> std::string_view { return "batch normalization"; },
          [](const Activate& node) -> std::string_view {
            return node.slope > 0 ? "leaky relu" : gentrain::name_of(node.activation);
          },
          [](const Pooling& node) -> std::string_view {
            return node.pooling == PoolingKind::kMax ? "max pooling" : "average pooling";
          },
          [](const GlobalPooling& node) -> std::string_view {
            return node.pooling == PoolingKind::kMax ? "global max pooling"
                                                     : "global average pooling";
          },
          [](const Dense&) -> std::string_view { return "dense"; },
          [](const Flatten&) -> std::string_view { return "flatten"; },
          [](const Dropout&) -> std::string_view { return "dropout"; },
          [](const Concatenation&) -> std::string_view { return "concatenation"; },
          [](const Addition&) -> std::string_view { return "addition"; },
          [](const Softmax&) -> std::string_view { return "softmax"; },
      },
      kind);
}

}  // namespace gentrain::graph
