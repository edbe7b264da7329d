// Separating nodes, and the graph behind one.
#include "core/graph/cut.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "core/graph/plan.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

/// Whether nodes depend on the graph's inputs through `at` alone.
bool separates(const Graph& graph, const std::vector<int>& nodes, int at) {
  const std::vector<bool> needed = needed_for(graph, nodes, at);
  return std::ranges::none_of(graph.inputs(), [&](int input) {
    return input != at && needed[static_cast<std::size_t>(input)];
  });
}

}  // namespace

int last_fixed(const Graph& graph, int node, const std::function<bool(int)>& fixed) {
  std::vector<bool> all_fixed;  // by node: itself and what it depends on
  for (int i = 0; i < graph.size(); ++i) {
    all_fixed.push_back(fixed(i) && std::ranges::all_of(graph.node(i).inputs, [&](int input) {
                          return all_fixed[static_cast<std::size_t>(input)];
                        }));
  }
  const std::vector<bool> depends = dependent_on_inputs(graph);
  int last = -1;
  for (const Step& step : plan_steps(graph, {&node, 1}, [](int, int) { return true; })) {
    const int at = step.result;
    const auto index = static_cast<std::size_t>(at);
    if (at != node && at > last && all_fixed[index] && depends[index] &&
        !std::holds_alternative<Input>(graph.node(at).kind) && separates(graph, {node}, at)) {
      last = at;
    }
  }
  return last;
}

Graph behind(const Graph& graph, int node) {
  if (graph.inputs().size() != 1) {
    throw ShapeError(fmt::format("the network has {} inputs, one is needed to go on behind a layer",
                                 graph.inputs().size()));
  }
  if (node < 0 || node >= graph.size()) {
    throw ShapeError(fmt::format("there is nothing behind layer {} of {}", node, graph.size()));
  }
  if (!separates(graph, graph.outputs(), node)) {
    throw ShapeError(
        fmt::format("the network's output depends on its input otherwise than through {}",
                    graph.node(node).name));
  }
  const std::vector<bool> needed = needed_for(graph, graph.outputs(), node);
  const std::vector<bool> depends = dependent_on_inputs(graph);
  const int input = graph.inputs()[0];
  Graph rest;
  for (int i = 0; i < graph.size(); ++i) {
    const Node& from = graph.node(i);
    const auto index = static_cast<std::size_t>(i);
    if (i == input) {
      rest.add(from.name, Input{graph.node(node).shape});
    } else if (depends[index] && (i == node || !needed[index])) {
      rest.add(from.name, Identity{}, {input});
    } else {
      rest.add(from.name, from.kind, from.inputs, from.parameters);
    }
  }
  rest.set_outputs(graph.outputs());
  return rest;
}

}  // namespace gentrain::graph
