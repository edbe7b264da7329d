// A graph of layers: named nodes in topological order, each with its attributes, its inputs and the
// shape of what it gives for one sample. It holds no parameters and computes nothing; Executor
// does.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/graph/kinds.h"

namespace gentrain::graph {

struct Node {
  std::string name;
  NodeKind kind;
  std::vector<int> inputs;  // indices of earlier nodes
  Shape shape;              // of the result for one sample
  std::string parameters;   // what names of its parameters begin with; nodes may share them
};

class Graph {
 public:
  /// Adds a node and returns its index. `inputs`: indices of nodes that are there already, so the
  /// order is topological. Throws ShapeError naming the node: a name that is empty or taken, an
  /// input that is not there, and what infer_shape refuses.
  ///
  /// parameters: Node::parameters, empty: the name. Nodes that share parameters have one kind and
  /// need the same shapes of them (else ShapeError names both); the first of them registers them.
  int add(std::string name, NodeKind kind, std::vector<int> inputs = {},
          std::string parameters = {});

  /// What the graph is for. Until it is said: the last node. Throws ShapeError for an index that is
  /// not there, none, or one twice.
  void set_outputs(std::vector<int> outputs);
  /// Empty of a graph without nodes.
  [[nodiscard]] std::vector<int> outputs() const;
  /// The nodes of the kind Input, in order.
  [[nodiscard]] const std::vector<int>& inputs() const { return inputs_; }

  [[nodiscard]] int size() const { return static_cast<int>(nodes_.size()); }
  /// 0 <= index < size()
  [[nodiscard]] const Node& node(int index) const {
    return nodes_[static_cast<std::size_t>(index)];
  }
  /// Whether a node has parameters and is the first with these.
  [[nodiscard]] bool registers(int index) const;
  /// Index of a name, or -1.
  [[nodiscard]] int find(std::string_view name) const;
  /// Throws JobError that lists names near it.
  [[nodiscard]] int index_of(std::string_view name) const;

  /// Everything that a node depends on, itself included; ascending. What freezing through a block
  /// freezes. Throws JobError as index_of.
  [[nodiscard]] std::vector<int> nodes_through(std::string_view name) const;

 private:
  std::vector<Node> nodes_;
  std::unordered_map<std::string, int> indices_;
  std::unordered_map<std::string, int> first_with_;  // parameters, by Node::parameters
  std::vector<int> inputs_;
  std::vector<int> outputs_;
};

/// Which nodes the given ones depend on, themselves included; by index. What `stop` depends on is
/// not looked at; -1: there is none.
std::vector<bool> needed_for(const Graph& graph, std::span<const int> nodes, int stop = -1);
/// Which nodes depend on an input: all but constants, variables and what is made of them alone.
std::vector<bool> dependent_on_inputs(const Graph& graph);

/// The node whose output a softmax along the last axis, or its logarithm, is of: what a loss takes.
/// Identities are looked through; any other node itself.
int before_softmax(const Graph& graph, int node);

}  // namespace gentrain::graph
