// Fusing nodes that stand behind each other alone.
#include "core/graph/plan.h"

#include <algorithm>

namespace gentrain::graph {

namespace {

/// Whether a node's op takes an activation along.
bool takes(const NodeKind& kind, const Activate& behind) {
  const bool leaky = behind.slope > 0;
  return std::visit(
      Overloaded{
          [&](const Convolution& node) { return node.activation == Activation::kNone && !leaky; },
          [&](const Dense& node) { return node.activation == Activation::kNone && !leaky; },
          [&](const BatchNormalization&) { return behind.slope <= 1; },
          [&](const Addition&) { return !leaky; }, [](const auto&) { return false; }},
      kind);
}

/// Of each node the one that alone reads it; -1 if there is none, another one or it is wanted.
std::vector<int> only_readers(const Graph& graph, const std::vector<bool>& needed,
                              std::span<const int> wanted) {
  const auto count = static_cast<std::size_t>(graph.size());
  std::vector<int> readers(count, 0);
  std::vector<int> last(count, -1);
  for (int i = 0; i < graph.size(); ++i) {
    if (needed[static_cast<std::size_t>(i)]) {
      for (const int input : graph.node(i).inputs) {
        ++readers[static_cast<std::size_t>(input)];
        last[static_cast<std::size_t>(input)] = i;
      }
    }
  }
  for (const int node : wanted) {
    ++readers[static_cast<std::size_t>(node)];
    last[static_cast<std::size_t>(node)] = -1;
  }
  for (std::size_t i = 0; i < count; ++i) {
    last[i] = readers[i] == 1 ? last[i] : -1;
  }
  return last;
}

template <class Kind>
const Kind* kind_of(const Graph& graph, int node) {
  return node < 0 ? nullptr : std::get_if<Kind>(&graph.node(node).kind);
}

}  // namespace

std::vector<bool> shared_by_samples(const Graph& graph) {
  std::vector<bool> shared;
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    const bool of_samples =
        std::holds_alternative<Input>(node.kind) || std::holds_alternative<Dropout>(node.kind);
    shared.push_back(!of_samples && std::ranges::all_of(node.inputs, [&](int input) {
      return shared[static_cast<std::size_t>(input)];
    }));
  }
  return shared;
}

std::vector<Step> plan_steps(const Graph& graph, std::span<const int> wanted,
                             const std::function<bool(int convolution, int norm)>& folds) {
  const std::vector<bool> needed = needed_for(graph, wanted);
  const std::vector<int> readers = only_readers(graph, needed, wanted);
  std::vector<bool> taken(static_cast<std::size_t>(graph.size()), false);
  std::vector<Step> steps;
  for (int i = 0; i < graph.size(); ++i) {
    if (!needed[static_cast<std::size_t>(i)] || taken[static_cast<std::size_t>(i)]) {
      continue;
    }
    Step step{.node = i, .norm = -1, .activation = -1, .result = i};
    int next = readers[static_cast<std::size_t>(i)];
    const auto* conv = kind_of<Convolution>(graph, i);
    if (conv != nullptr && conv->activation == Activation::kNone &&
        kind_of<BatchNormalization>(graph, next) != nullptr && folds(i, next)) {
      step.norm = step.result = next;
      taken[static_cast<std::size_t>(next)] = true;
      next = readers[static_cast<std::size_t>(next)];
    }
    const auto* activate = kind_of<Activate>(graph, next);
    if (activate != nullptr && takes(graph.node(i).kind, *activate)) {
      step.activation = step.result = next;
      taken[static_cast<std::size_t>(next)] = true;
    }
    steps.push_back(step);
  }
  return steps;
}

}  // namespace gentrain::graph
