// Reverse-mode differentiation. An op computes its result and records a closure that turns the
// gradient at the result into gradients at the inputs; Tape::backward runs the closures in reverse.
//
// Each worker has its own tape. Parameters are shared, read-only tensors; their gradients go to a
// ParameterGradients that belongs to the shard under way.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace gentrain {

class Tape;

/// Receives the gradients of the parameters of one set for one shard, or for several side by side:
/// then the sum of theirs.
class ParameterGradients {
 public:
  virtual ~ParameterGradients() = default;
  /// Id of the parameter set whose gradients these are (GradRef::owner).
  [[nodiscard]] virtual std::uint64_t set_id() const = 0;
  /// False for a frozen parameter: nothing is computed for it.
  [[nodiscard]] virtual bool wants(int parameter) const = 0;
  /// Where the gradient of the parameter is to stand; uninitialised until written.
  virtual Tensor slot(int parameter) = 0;
  /// Called once per backward pass and parameter that was used, when its gradient is complete.
  virtual void complete(int parameter) = 0;
  /// How many shards' gradients are delivered in one: of more than one each parameter may be used
  /// only once, since two sums over the tree added are another sum than that of the sums.
  [[nodiscard]] virtual std::int64_t shards() const { return 1; }
};

/// Some parameters of a set: those whose flag is set; the others are constants. `whole` and
/// `chosen` must outlive it.
class PartOfGradients final : public ParameterGradients {
 public:
  PartOfGradients(ParameterGradients& whole, const std::vector<bool>& chosen)
      : whole_(whole), chosen_(chosen) {}
  [[nodiscard]] std::uint64_t set_id() const override { return whole_.set_id(); }
  [[nodiscard]] bool wants(int parameter) const override {
    return chosen_[static_cast<std::size_t>(parameter)] && whole_.wants(parameter);
  }
  Tensor slot(int parameter) override { return whole_.slot(parameter); }
  void complete(int parameter) override { whole_.complete(parameter); }
  [[nodiscard]] std::int64_t shards() const override { return whole_.shards(); }

 private:
  ParameterGradients& whole_;
  const std::vector<bool>& chosen_;
};

/// Where a backward closure delivers. Inputs are counted as they were given to Tape::record.
class GradSink {
 public:
  /// Whether anybody needs the gradient of this input; if not, do not compute it.
  [[nodiscard]] bool wants(int input) const;
  /// A tensor for the closure to write the gradient of this input into: the parameter's slot itself
  /// where possible. Deliver it with put().
  [[nodiscard]] Tensor make(int input);
  /// Delivers the gradient of an input; a second gradient of the same tensor is added to the first.
  /// Throws ShapeError if its shape is not the input's, Error for a second gradient of a parameter
  /// while shards stand side by side.
  void put(int input, const Tensor& gradient);

 private:
  friend class Tape;
  GradSink(Tape& tape, int node) : tape_(tape), node_(node) {}
  Tape& tape_;
  int node_;
};

/// A closure may write over a dy that is_alone(), before it puts it: nobody reads it afterwards.
using Backward = std::function<void(const Tensor& dy, GradSink& sink)>;

/// The record of one forward computation. Used by one thread at a time. After an exception out of
/// backward() only begin() may follow.
class Tape {
 public:
  Tape(Device& device, Queue& queue) : device_(device), queue_(queue) {}

  /// Forgets what was recorded and starts anew. Gradients of the parameters of the given sets are
  /// delivered to them; parameters of other sets are constants.
  void begin(std::span<ParameterGradients* const> parameters);
  /// Makes x a leaf whose gradient can be read after backward().
  void watch(Tensor& x);

  /// Gives y a history, if any of the inputs has one or is a parameter that wants a gradient;
  /// otherwise does nothing. `op` is a name that outlives the tape.
  void record(const char* op, Tensor& y, std::initializer_list<Tensor> inputs, Backward backward) {
    record(op, y, std::span<const Tensor>(inputs.begin(), inputs.size()), std::move(backward));
  }
  void record(const char* op, Tensor& y, std::span<const Tensor> inputs, Backward backward);
  /// Whether this recording is to give a gradient of x: it has a history here or is a parameter
  /// that wants one.
  [[nodiscard]] bool wants(const Tensor& x) const { return x.defined() && wants(x.grad_ref()); }

  /// Runs the closures that lead to `loss` (one element), seeded with 1, freeing each when used.
  /// Throws Error if the loss has no history here or the graph was used already.
  void backward(const Tensor& loss);
  /// Whether the closures are freed, or stay for another loss of the same recording.
  enum class Graph : std::uint8_t { kFree, kKeep };
  /// The same for the gradients of these parameters alone, those of sets that begin() was given:
  /// all others are constants, and what leads to none of them is not computed.
  void backward(const Tensor& loss, std::span<ParameterGradients* const> receivers, Graph graph);
  /// The gradient of a watched tensor after backward(); undefined if the loss does not depend on
  /// it.
  [[nodiscard]] Tensor gradient(const Tensor& watched) const;
  /// Number of recorded ops that have not been used or freed.
  [[nodiscard]] std::size_t size() const;

 private:
  friend class GradSink;
  struct Input {
    GradRef ref;
    Shape shape;
    DType dtype = DType::kF32;
  };
  struct Node {
    const char* op = "";
    std::vector<Input> inputs;
    Backward backward;
    Tensor gradient;
  };
  struct ParameterState {
    std::int32_t uses = 0;
    bool written = false;
  };

  void find_wanted();
  void walk(const Tensor& loss, Graph graph);
  void check_loss(const Tensor& loss) const;
  [[nodiscard]] bool wants(const GradRef& ref) const;
  [[nodiscard]] int set_of(const GradRef& ref) const;
  ParameterState& state_of(const GradRef& ref);
  void accumulate(const Tensor& gradient, Tensor& sum);
  void put(const Input& input, const char* op, const Tensor& gradient);
  void finish_uses(const Node& node);

  Device& device_;
  Queue& queue_;
  std::uint64_t serial_ = 0;
  bool used_ = false;
  std::vector<Node> nodes_;
  std::vector<ParameterGradients*> recorded_;        // as given to begin()
  std::vector<ParameterGradients*> sets_;            // that want gradients now
  std::vector<std::vector<ParameterState>> states_;  // by set, by parameter
  std::vector<bool> wanted_;  // in backward(), by node: leads to what wants a gradient
};

}  // namespace gentrain
