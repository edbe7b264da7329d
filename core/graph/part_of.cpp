// Copying the nodes that are needed.
#include "core/graph/part_of.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::graph {

Graph part_of(const Graph& graph, std::span<const std::string> names, const Shape& image) {
  if (graph.inputs().size() != 1) {
    throw ShapeError(
        fmt::format("the network has {} inputs, one image is given", graph.inputs().size()));
  }
  std::vector<int> wanted;
  for (const std::string& name : names) {
    const int node = graph.index_of(name);
    if (std::ranges::find(wanted, node) == wanted.end()) {
      wanted.push_back(node);
    }
  }
  const std::vector<bool> needed = needed_for(graph, wanted);
  std::vector<int> places(static_cast<std::size_t>(graph.size()), -1);
  Graph part;
  for (int i = 0; i < graph.size(); ++i) {
    if (!needed[static_cast<std::size_t>(i)]) {
      continue;
    }
    const Node& node = graph.node(i);
    std::vector<int> inputs;
    for (const int input : node.inputs) {
      inputs.push_back(places[static_cast<std::size_t>(input)]);
    }
    NodeKind kind = std::holds_alternative<Input>(node.kind) ? NodeKind(Input{image}) : node.kind;
    places[static_cast<std::size_t>(i)] =
        part.add(node.name, std::move(kind), std::move(inputs), node.parameters);
  }
  std::vector<int> outputs;
  for (const int node : wanted) {
    outputs.push_back(places[static_cast<std::size_t>(node)]);
  }
  part.set_outputs(std::move(outputs));
  return part;
}

}  // namespace gentrain::graph
