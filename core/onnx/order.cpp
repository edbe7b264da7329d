// A topological order of nodes by Kahn's method, of those ready always the first in the file.
#include "core/onnx/order.h"

#include <functional>
#include <queue>
#include <utility>

#include "core/onnx/constant.h"

namespace gentrain::onnx {
namespace {

constexpr std::size_t kNobody = static_cast<std::size_t>(-1);  // an input or initializer

using Givers = std::unordered_map<std::string_view, std::size_t>;

/// Which node gives each value.
Givers find_givers(const Model& model) {
  Givers givers;
  const auto give = [&](std::string_view name, std::size_t node) {
    if (!name.empty() && !givers.emplace(name, node).second) {
      refuse("the value {} is given twice", name);
    }
  };
  for (const Tensor& tensor : model.initializers) {
    if (tensor.name.empty()) {
      refuse("an initializer has no name");
    }
    give(tensor.name, kNobody);
  }
  Givers inputs;
  for (const ValueInfo& input : model.inputs) {
    if (input.name.empty() || !inputs.emplace(input.name, kNobody).second) {
      refuse("two inputs of the model are named '{}', or one has no name", input.name);
    }
    givers.emplace(input.name, kNobody);  // up to IR version 3 initializers are inputs, too
  }
  for (std::size_t i = 0; i < model.nodes.size(); ++i) {
    for (const std::string& output : model.nodes[i].outputs) {
      give(output, i);
    }
  }
  return givers;
}

/// Walks from the outputs to what they need.
class Walk {
 public:
  Walk(const Model& model, const Givers& givers, NodeOrder& order)
      : model_(&model), givers_(&givers), order_(&order), needed_(model.nodes.size(), false) {}

  std::vector<bool> run() {
    for (const ValueInfo& output : model_->outputs) {
      read(output.name, nullptr);
    }
    while (!open_.empty()) {
      const std::size_t node = open_.back();
      open_.pop_back();
      for (const std::string& input : model_->nodes[node].inputs) {
        if (!input.empty()) {
          read(input, &model_->nodes[node]);
          order_->reader[input] = node;
        }
      }
    }
    return std::move(needed_);
  }

 private:
  /// `by`: a node; nullptr: an output of the model.
  void read(std::string_view value, const Node* by) {
    const auto giver = givers_->find(value);
    if (giver == givers_->end()) {
      refuse("{} reads the value {}, which no node, input or initializer gives",
             by == nullptr ? "an output of the model" : text_of(*by), value);
    }
    ++order_->readers[value];
    if (giver->second != kNobody && !needed_[giver->second]) {
      needed_[giver->second] = true;
      open_.push_back(giver->second);
    }
  }

  const Model* model_;
  const Givers* givers_;
  NodeOrder* order_;
  std::vector<bool> needed_;
  std::vector<std::size_t> open_;
};

}  // namespace

std::string name_of(const Node& node) {
  if (!node.name.empty()) {
    return node.name;
  }
  for (const std::string& output : node.outputs) {
    if (!output.empty()) {
      return output;
    }
  }
  return node.op_type;
}

std::string text_of(const Node& node) {
  return fmt::format("node {} ({})", name_of(node), node.op_type);
}

NodeOrder order_nodes(const Model& model) {
  NodeOrder order;
  const Givers givers = find_givers(model);
  const std::vector<bool> needed = Walk(model, givers, order).run();
  std::vector<int> waits(model.nodes.size(), 0);
  std::vector<std::vector<std::size_t>> behind(model.nodes.size());
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t i = 0; i < model.nodes.size(); ++i) {
    for (const std::string& input : model.nodes[i].inputs) {
      const auto giver = givers.find(input);
      if (needed[i] && giver != givers.end() && giver->second != kNobody) {
        ++waits[i];
        behind[giver->second].push_back(i);
      }
    }
    if (needed[i] && waits[i] == 0) {
      ready.push(i);
    }
  }
  while (!ready.empty()) {
    const std::size_t node = ready.top();
    ready.pop();
    order.nodes.push_back(node);
    for (const std::size_t next : behind[node]) {
      if (--waits[next] == 0) {
        ready.push(next);
      }
    }
  }
  for (std::size_t i = 0; i < waits.size(); ++i) {
    if (waits[i] > 0) {
      refuse("{} depends on itself: the model has a cycle", text_of(model.nodes[i]));
    }
  }
  return order;
}

}  // namespace gentrain::onnx
