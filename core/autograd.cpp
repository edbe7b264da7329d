// Tape: recording, and the walk back.
#include "core/autograd.h"

#include <algorithm>
#include <atomic>

#include <fmt/format.h>

#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain {

namespace {

std::uint64_t next_serial() {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1) + 1;
}

}  // namespace

bool GradSink::wants(int input) const {
  const auto& node = tape_.nodes_[static_cast<std::size_t>(node_)];
  return tape_.wants(node.inputs[static_cast<std::size_t>(input)].ref);
}

Tensor GradSink::make(int input) {
  const auto& node = tape_.nodes_[static_cast<std::size_t>(node_)];
  const auto& target = node.inputs[static_cast<std::size_t>(input)];
  if (target.ref.kind == GradRef::Kind::kParameter && tape_.wants(target.ref) &&
      !tape_.state_of(target.ref).written) {
    auto* set = tape_.sets_[static_cast<std::size_t>(tape_.set_of(target.ref))];
    return set->slot(target.ref.index).reshaped(target.shape);
  }
  return Tensor::empty(tape_.device_, target.shape, target.dtype);
}

void GradSink::put(int input, const Tensor& gradient) {
  const auto& node = tape_.nodes_[static_cast<std::size_t>(node_)];
  tape_.put(node.inputs[static_cast<std::size_t>(input)], node.op, gradient);
}

void Tape::begin(std::span<ParameterGradients* const> parameters) {
  nodes_.clear();
  recorded_.assign(parameters.begin(), parameters.end());
  sets_ = recorded_;
  wanted_.clear();
  serial_ = next_serial();
  used_ = false;
}

void Tape::watch(Tensor& x) {
  if (serial_ == 0) {
    serial_ = next_serial();
  }
  nodes_.push_back({"watch", {}, nullptr, {}});
  x.set_grad_ref({GradRef::Kind::kNode, static_cast<std::int32_t>(nodes_.size()) - 1, serial_});
}

int Tape::set_of(const GradRef& ref) const {
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    if (sets_[i]->set_id() == ref.owner) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

bool Tape::wants(const GradRef& ref) const {
  if (ref.kind == GradRef::Kind::kNode) {
    return ref.owner == serial_ &&
           (wanted_.empty() || wanted_[static_cast<std::size_t>(ref.index)]);
  }
  if (ref.kind == GradRef::Kind::kParameter) {
    const int set = set_of(ref);
    return set >= 0 && sets_[static_cast<std::size_t>(set)]->wants(ref.index);
  }
  return false;
}

Tape::ParameterState& Tape::state_of(const GradRef& ref) {
  auto& states = states_[static_cast<std::size_t>(set_of(ref))];
  const auto index = static_cast<std::size_t>(ref.index);
  if (states.size() <= index) {
    states.resize(index + 1);
  }
  return states[index];
}

void Tape::record(const char* op, Tensor& y, std::span<const Tensor> inputs, Backward backward) {
  if (used_) {
    throw Error(fmt::format("{}: this graph was used by backward() already; begin a new one", op));
  }
  bool wanted = false;
  for (const Tensor& input : inputs) {
    wanted = wanted || (input.defined() && wants(input.grad_ref()));
  }
  if (!wanted) {
    return;
  }
  Node node{op, {}, std::move(backward), {}};
  node.inputs.reserve(inputs.size());
  for (const Tensor& input : inputs) {
    node.inputs.push_back({input.grad_ref(), input.shape(), input.dtype()});
  }
  nodes_.push_back(std::move(node));
  y.set_grad_ref({GradRef::Kind::kNode, static_cast<std::int32_t>(nodes_.size()) - 1, serial_});
}

void Tape::accumulate(const Tensor& gradient, Tensor& sum) {
  if (!sum.defined()) {
    sum = gradient;
    return;
  }
  const Tensor total = sum.is_alone() ? sum : Tensor::empty(device_, sum.shape(), sum.dtype());
  device_.elementwise().add(queue_, sum.cview(), gradient.cview(), total.view());
  sum = total;
}

void Tape::put(const Input& input, const char* op, const Tensor& gradient) {
  if (gradient.shape() != input.shape) {
    throw ShapeError(fmt::format("{}: the gradient has shape {} but its tensor has {}", op,
                                 gradient.shape().str(), input.shape.str()));
  }
  if (!wants(input.ref)) {
    return;
  }
  if (input.ref.kind == GradRef::Kind::kNode) {
    accumulate(gradient, nodes_[static_cast<std::size_t>(input.ref.index)].gradient);
    return;
  }
  auto& state = state_of(input.ref);
  ParameterGradients& set = *sets_[static_cast<std::size_t>(set_of(input.ref))];
  const Tensor slot = set.slot(input.ref.index).reshaped(input.shape);
  if (state.written) {
    if (set.shards() > 1) {
      throw Error(
          fmt::format("{}: a second gradient of parameter {} while {} shards stand side by "
                      "side",
                      op, input.ref.index, set.shards()));
    }
    device_.elementwise().add(queue_, slot.cview(), gradient.cview(), slot.view());
  } else if (slot.data() != gradient.data()) {
    device_.elementwise().scale(queue_, 1.0, gradient.cview(), slot.view());
  }
  state.written = true;
}

void Tape::finish_uses(const Node& node) {
  for (const Input& input : node.inputs) {
    if (input.ref.kind != GradRef::Kind::kParameter || !wants(input.ref)) {
      continue;
    }
    auto& state = state_of(input.ref);
    if (--state.uses > 0) {
      continue;
    }
    auto* set = sets_[static_cast<std::size_t>(set_of(input.ref))];
    if (!state.written) {  // recorded, but the loss does not depend on it
      const Tensor slot = set->slot(input.ref.index);
      device_.elementwise().fill(queue_, 0.0, slot.view());
      state.written = true;
    }
    set->complete(input.ref.index);
  }
}

void Tape::check_loss(const Tensor& loss) const {
  if (used_) {
    throw Error("backward: this graph was used and freed already; run the forward pass again");
  }
  const GradRef& ref = loss.grad_ref();
  if (ref.kind != GradRef::Kind::kNode || ref.owner != serial_) {
    throw Error("backward: the loss depends on nothing that wants a gradient on this tape");
  }
  if (loss.elements() != 1) {
    throw ShapeError(fmt::format("backward: the loss must have one element but has shape {}",
                                 loss.shape().str()));
  }
}

/// Which nodes lead to what wants a gradient, and how often each parameter is used.
void Tape::find_wanted() {
  states_.resize(sets_.size());
  for (auto& set : states_) {
    set.assign(set.size(), ParameterState{});
  }
  wanted_.assign(nodes_.size(), false);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    wanted_[i] = !nodes_[i].backward;  // a watched leaf
    for (const Input& input : nodes_[i].inputs) {
      if (!wants(input.ref)) {
        continue;
      }
      wanted_[i] = true;
      if (input.ref.kind == GradRef::Kind::kParameter) {
        ++state_of(input.ref).uses;
      }
    }
  }
}

void Tape::walk(const Tensor& loss, Graph graph) {
  used_ = graph == Graph::kFree;
  find_wanted();
  if (!wants(loss.grad_ref())) {
    throw Error("backward: the loss depends on nothing that wants a gradient on this tape");
  }
  Tensor seed = Tensor::empty(device_, loss.shape(), loss.dtype());
  device_.elementwise().fill(queue_, 1.0, seed.view());
  for (Node& node : nodes_) {
    node.gradient = {};  // of an earlier loss
  }
  nodes_[static_cast<std::size_t>(loss.grad_ref().index)].gradient = seed;
  for (int i = static_cast<int>(nodes_.size()) - 1; i >= 0; --i) {
    Node& node = nodes_[static_cast<std::size_t>(i)];
    if (!node.backward) {
      continue;  // a watched leaf keeps its gradient
    }
    if (node.gradient.defined()) {
      GradSink sink(*this, i);
      node.backward(node.gradient, sink);
      progress::tick();
    }
    finish_uses(node);
    if (graph == Graph::kFree) {
      node = Node{};
    } else {
      node.gradient = {};
    }
  }
  wanted_.clear();
}

void Tape::backward(const Tensor& loss) {
  check_loss(loss);
  walk(loss, Graph::kFree);
}

void Tape::backward(const Tensor& loss, std::span<ParameterGradients* const> receivers,
                    Graph graph) {
  check_loss(loss);
  sets_.assign(receivers.begin(), receivers.end());
  walk(loss, graph);
  sets_ = recorded_;
}

std::size_t Tape::size() const {
  return static_cast<std::size_t>(std::count_if(
      nodes_.begin(), nodes_.end(), [](const Node& node) { return node.backward != nullptr; }));
}

Tensor Tape::gradient(const Tensor& watched) const {
  const GradRef& ref = watched.grad_ref();
  if (ref.kind != GradRef::Kind::kNode || ref.owner != serial_ || ref.index < 0 ||
      static_cast<std::size_t>(ref.index) >= nodes_.size()) {
    throw Error("gradient: this tensor is not watched by the tape");
  }
  return nodes_[static_cast<std::size_t>(ref.index)].gradient;
}

}  // namespace gentrain
