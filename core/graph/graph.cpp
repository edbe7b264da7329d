// Nodes by name and index, and what depends on what.
#include "core/graph/graph.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/graph/node_parameters.h"
#include "core/graph/shapes.h"
#include "core/pattern.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

std::string list(const std::vector<NodeParameter>& parameters) {
  std::vector<std::string> texts;
  for (const NodeParameter& parameter : parameters) {
    texts.push_back(fmt::format("{} {}", name_of(parameter.part), parameter.shape.str()));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

/// Throws ShapeError unless two nodes can share their parameters.
void need_same_parameters(const Graph& graph, const Node& first, const Node& node) {
  if (first.kind.index() != node.kind.index()) {
    throw ShapeError(fmt::format(
        "{} ({}) cannot share the parameters {} with {} ({}): it is of "
        "another kind",
        node.name, name_of(node.kind), node.parameters, first.name, name_of(first.kind)));
  }
  const std::string has = list(parameters_of(graph, first));
  const std::string needs = list(parameters_of(graph, node));
  if (has != needs) {
    throw ShapeError(
        fmt::format("{} ({}) cannot share the parameters {} with {}: it needs {}, "
                    "but they are {}",
                    node.name, name_of(node.kind), node.parameters, first.name, needs, has));
  }
}

}  // namespace

int Graph::add(std::string name, NodeKind kind, std::vector<int> inputs, std::string parameters) {
  if (name.empty()) {
    throw ShapeError(fmt::format("node {} ({}) has no name", size(), name_of(kind)));
  }
  if (find(name) >= 0) {
    throw ShapeError(fmt::format("two nodes are named {}", name));
  }
  std::vector<Shape> shapes;
  for (const int input : inputs) {
    if (input < 0 || input >= size()) {
      throw ShapeError(fmt::format("{} ({}): its input {} is none of the {} nodes before it", name,
                                   name_of(kind), input, size()));
    }
    shapes.push_back(node(input).shape);
  }
  Shape shape;
  try {
    shape = infer_shape(kind, shapes);
  } catch (const ShapeError& error) {
    throw ShapeError(fmt::format("{} ({}): {}", name, name_of(kind), error.what()));
  }
  const int index = size();
  if (parameters.empty()) {
    parameters = name;
  }
  Node node{std::move(name), std::move(kind), std::move(inputs), shape, std::move(parameters)};
  if (!parameters_of(*this, node).empty()) {
    const auto [first, is_new] = first_with_.emplace(node.parameters, index);
    if (!is_new) {
      need_same_parameters(*this, nodes_[static_cast<std::size_t>(first->second)], node);
    }
  }
  if (std::holds_alternative<Input>(node.kind)) {
    inputs_.push_back(index);
  }
  indices_.emplace(node.name, index);
  nodes_.push_back(std::move(node));
  return index;
}

bool Graph::registers(int index) const {
  const auto first = first_with_.find(node(index).parameters);
  return first != first_with_.end() && first->second == index;
}

void Graph::set_outputs(std::vector<int> outputs) {
  if (outputs.empty()) {
    throw ShapeError("a graph needs an output");
  }
  std::vector<bool> seen(nodes_.size(), false);
  for (const int output : outputs) {
    if (output < 0 || output >= size()) {
      throw ShapeError(fmt::format("output {} is none of the {} nodes", output, size()));
    }
    if (seen[static_cast<std::size_t>(output)]) {
      throw ShapeError(fmt::format("output {} is given twice", node(output).name));
    }
    seen[static_cast<std::size_t>(output)] = true;
  }
  outputs_ = std::move(outputs);
}

std::vector<int> Graph::outputs() const {
  if (outputs_.empty() && size() > 0) {
    return {size() - 1};
  }
  return outputs_;
}

int Graph::find(std::string_view name) const {
  const auto found = indices_.find(std::string(name));
  return found == indices_.end() ? -1 : found->second;
}

int Graph::index_of(std::string_view name) const {
  if (const int found = find(name); found >= 0) {
    return found;
  }
  std::vector<std::string> known;
  known.reserve(nodes_.size());
  for (const Node& node : nodes_) {
    known.push_back(node.name);
  }
  throw JobError(fmt::format("the network has no layer '{}' (known: {})", name,
                             listed_near(std::string(name), std::move(known))));
}

std::vector<int> Graph::nodes_through(std::string_view name) const {
  const int last = index_of(name);
  const std::vector<bool> needed = needed_for(*this, {&last, 1});
  std::vector<int> nodes;
  for (int i = 0; i <= last; ++i) {
    if (needed[static_cast<std::size_t>(i)]) {
      nodes.push_back(i);
    }
  }
  return nodes;
}

std::vector<bool> needed_for(const Graph& graph, std::span<const int> nodes, int stop) {
  std::vector<bool> needed(static_cast<std::size_t>(graph.size()), false);
  for (const int node : nodes) {
    needed[static_cast<std::size_t>(node)] = true;
  }
  for (int i = graph.size() - 1; i >= 0; --i) {
    if (needed[static_cast<std::size_t>(i)] && i != stop) {
      for (const int input : graph.node(i).inputs) {
        needed[static_cast<std::size_t>(input)] = true;
      }
    }
  }
  return needed;
}

std::vector<bool> dependent_on_inputs(const Graph& graph) {
  std::vector<bool> depends;
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    depends.push_back(std::holds_alternative<Input>(node.kind) ||
                      std::ranges::any_of(node.inputs, [&](int input) {
                        return depends[static_cast<std::size_t>(input)];
                      }));
  }
  return depends;
}

std::vector<NodeParameter> parameters_of(const Graph& graph, const Node& node) {
  return parameters_of(node.kind, node.inputs.empty() ? Shape{} : graph.node(node.inputs[0]).shape);
}

int before_softmax(const Graph& graph, int node) {
  int at = node;
  while (std::holds_alternative<Identity>(graph.node(at).kind)) {
    at = graph.node(at).inputs[0];
  }
  const Node& of = graph.node(at);
  const auto* softmax = std::get_if<Softmax>(&of.kind);
  const bool of_rows =
      softmax != nullptr && (softmax->axis == -1 || softmax->axis == of.shape.rank() - 1);
  return of_rows ? of.inputs[0] : node;
}

}  // namespace gentrain::graph
