// Nodes by name and index, and what depends on what.
#include "core/graph/graph.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/graph/shapes.h"
#include "core/pattern.h"
#include "kernels/error.h"

namespace gentrain::graph {

int Graph::add(std::string name, NodeKind kind, std::vector<int> inputs) {
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
  if (std::holds_alternative<Input>(kind)) {
    inputs_.push_back(index);
  }
  indices_.emplace(name, index);
  nodes_.push_back({std::move(name), kind, std::move(inputs), shape});
  return index;
}

void Graph::set_outputs(std::vector<int> outputs) {
  if (outputs.empty()) {
    throw ShapeError("a graph needs an output");
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] < 0 || outputs[i] >= size()) {
      throw ShapeError(fmt::format("output {} is none of the {} nodes", outputs[i], size()));
    }
    if (std::find(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(i), outputs[i]) !=
        outputs.begin() + static_cast<std::ptrdiff_t>(i)) {
      throw ShapeError(fmt::format("output {} is given twice", node(outputs[i]).name));
    }
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

std::vector<bool> needed_for(const Graph& graph, std::span<const int> nodes) {
  std::vector<bool> needed(static_cast<std::size_t>(graph.size()), false);
  for (const int node : nodes) {
    needed[static_cast<std::size_t>(node)] = true;
  }
  for (int i = graph.size() - 1; i >= 0; --i) {
    if (needed[static_cast<std::size_t>(i)]) {
      for (const int input : graph.node(i).inputs) {
        needed[static_cast<std::size_t>(input)] = true;
      }
    }
  }
  return needed;
}

int before_softmax(const Graph& graph, int node) {
  const Node& of = graph.node(node);
  return std::holds_alternative<Softmax>(of.kind) ? of.inputs[0] : node;
}

}  // namespace gentrain::graph
