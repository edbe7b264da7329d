// A graph that computes: its parameters in a ParameterSet, images in, outputs of named nodes out,
// differentiable by the ops it is made of.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/graph/constants.h"
#include "core/graph/folding.h"
#include "core/graph/graph.h"
#include "core/graph/node_parameters.h"
#include "core/graph/plan.h"
#include "core/parameters.h"

namespace gentrain::graph {

/// Registers the parameters of all nodes, in their order, as register_node does: PARAMETERS/weight,
/// PARAMETERS/bias and so on; those that nodes share with the first of them. `initializer`: of the
/// weights. Throws as ParameterSet::add.
void register_parameters(const Graph& graph, ParameterSet& parameters,
                         const Initializer& initializer);

struct ExecutorOptions {
  /// In training, batch normalisations whose running statistics a recording is to give gradients of
  /// normalise with the statistics of the batch. All others, and all without it, take the running
  /// ones as constants.
  bool batch_statistics = false;
};

/// Thread-safe: workers share it.
///
/// What runs is decided by what is wanted and trained:
/// - Only nodes that the wanted ones need are computed, and their outputs let go of behind the last
///   reader; with a tape its closures keep what they need.
/// - An activation is computed by the convolution, dense layer, batch normalisation or addition
///   before it, where nobody else reads that.
/// - A batch normalisation with running statistics alone behind a convolution is folded into it, if
///   none of the parameters of both is to get a gradient.
/// - What depends on constants and variables alone is the same for every sample and computed once;
///   where another op than Binary reads it beside samples, it is repeated.
/// - In bf16 softmaxes give f32; whatever reads them rounds it again. What is the same for every
///   sample is f32, and rounded where it is repeated.
class Executor {
 public:
  /// `parameters` has those of all nodes, must outlive the executor and be allocated before
  /// compute(). Several executors may take one set: of graphs that differ in the size of their
  /// images. Throws ShapeError for a graph without an input, and naming a parameter that is missing
  /// or has another shape.
  Executor(Graph graph, const ParameterSet& parameters, ExecutorOptions options = {});

  [[nodiscard]] const Graph& graph() const { return graph_; }

  /// inputs  [n, ...], one for each node of the kind Input, in their order; ...: its shape
  /// wanted  indices of nodes; may be inputs
  /// result  one tensor for each, [n, ...], f32 where the context computes in bf16
  ///
  /// Throws ShapeError for inputs that are missing, have other extents or different n, and as the
  /// ops do, naming the node.
  std::vector<Tensor> compute(Context& context, std::span<const Tensor> inputs,
                              std::span<const int> wanted) const;
  /// The same of a graph with one input, by name. Throws JobError for a name that is not there.
  std::vector<Tensor> forward(Context& context, const Tensor& x,
                              std::span<const std::string> wanted) const;

  /// Names of the parameters of everything that a node depends on, itself included: what freezing
  /// through a block freezes. Throws JobError for a name that is not there.
  [[nodiscard]] std::vector<std::string> parameters_through(std::string_view name) const;

  /// What compute() does for some nodes, in order.
  [[nodiscard]] std::vector<Step> steps(const Context& context, std::span<const int> wanted) const;
  /// How many times a batch normalisation was folded so far.
  [[nodiscard]] std::uint64_t folds_made() const { return folded_->made(); }

 private:
  struct Call;

  [[nodiscard]] ParameterIndices find_parameters(const Node& node) const;
  [[nodiscard]] const ParameterIndices& indices(int node) const {
    return indices_[static_cast<std::size_t>(node)];
  }
  [[nodiscard]] Tensor parameter(int node, ParameterPart part) const;
  [[nodiscard]] bool trains(const Context& context, int node) const;
  [[nodiscard]] bool of_batch(const Context& context, int node) const;
  [[nodiscard]] Folded folded(Context& context, const Step& step) const;
  void check_inputs(std::span<const Tensor> inputs) const;
  [[nodiscard]] std::vector<int> uses_of_norms(std::span<const Step> steps) const;
  Tensor as_source(Context& context, int reader, int input, const Tensor& value,
                   std::int64_t samples) const;
  Tensor run(const Call& call) const;

  Graph graph_;
  const ParameterSet* parameters_;
  ExecutorOptions options_;
  std::vector<ParameterIndices> indices_;  // by node
  std::vector<bool> shared_;               // by node: whether it gives [1, ...] for all samples
  std::unique_ptr<FoldCache> folded_;
  std::unique_ptr<ConstantCache> constants_;
};

}  // namespace gentrain::graph
