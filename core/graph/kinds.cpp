// Names of the kinds of nodes.
#include "core/graph/kinds.h"

namespace gentrain::graph {

std::string_view name_of(const NodeKind& kind) {
  using Text = std::string_view;
  return std::visit(
      Overloaded{
          [](const Input&) -> Text { return "input"; },
          [](const Constant&) -> Text { return "constant"; },
          [](const Variable&) -> Text { return "variable"; },
          [](const Convolution&) -> Text { return "convolution"; },
          [](const TransposedConvolution&) -> Text { return "transposed convolution"; },
          [](const BatchNormalization&) -> Text { return "batch normalization"; },
          [](const Activate& node) -> Text {
            return node.slope > 0 ? "leaky relu" : gentrain::name_of(node.activation);
          },
          [](const Pointwise& node) -> Text { return gentrain::name_of(node.rule.function); },
          [](const Prelu&) -> Text { return "prelu"; },
          [](const Binary& node) -> Text { return gentrain::name_of(node.function); },
          [](const Pooling& node) -> Text {
            return node.pooling == PoolingKind::kMax ? "max pooling" : "average pooling";
          },
          [](const GlobalPooling& node) -> Text {
            return node.pooling == PoolingKind::kMax ? "global max pooling"
                                                     : "global average pooling";
          },
          [](const Dense&) -> Text { return "dense"; },
          [](const Flatten&) -> Text { return "flatten"; },
          [](const Reshape&) -> Text { return "reshape"; },
          [](const Permute&) -> Text { return "permute"; },
          [](const AxisMap&) -> Text { return "axis map"; },
          [](const LargestAlong&) -> Text { return "largest along axes"; },
          [](const Dropout&) -> Text { return "dropout"; },
          [](const Concatenation&) -> Text { return "concatenation"; },
          [](const Addition&) -> Text { return "addition"; },
          [](const Softmax& node) -> Text { return node.log ? "log softmax" : "softmax"; },
          [](const Identity&) -> Text { return "identity"; },
      },
      kind);
}

}  // namespace gentrain::graph
