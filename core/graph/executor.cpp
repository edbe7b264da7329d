// The walk over the steps; what a step computes stands in forward_layers.cpp and forward_maps.cpp.
#include "core/graph/executor.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "core/graph/axes.h"
#include "core/graph/executor_call.h"
#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

/// How often each node will be read, the reader behind the graph included.
std::vector<int> readers_to_come(const Graph& graph, std::span<const Step> steps,
                                 std::span<const int> wanted) {
  std::vector<int> reads(static_cast<std::size_t>(graph.size()), 0);
  for (const Step& step : steps) {
    for (const int input : graph.node(step.node).inputs) {
      ++reads[static_cast<std::size_t>(input)];
    }
  }
  for (const int node : wanted) {
    ++reads[static_cast<std::size_t>(node)];
  }
  return reads;
}

}  // namespace

void register_parameters(const Graph& graph, ParameterSet& parameters,
                         const Initializer& initializer) {
  for (int i = 0; i < graph.size(); ++i) {
    if (graph.registers(i)) {
      const Node& node = graph.node(i);
      const Shape input = node.inputs.empty() ? Shape{} : graph.node(node.inputs[0]).shape;
      register_node(node.kind, input, node.parameters, initializer, parameters);
    }
  }
}

Executor::Executor(Graph graph, const ParameterSet& parameters, ExecutorOptions options)
    : graph_(std::move(graph)),
      parameters_(&parameters),
      options_(options),
      shared_(shared_by_samples(graph_)),
      folded_(std::make_unique<FoldCache>(graph_.size())),
      constants_(std::make_unique<ConstantCache>()) {
  if (graph_.inputs().empty()) {
    throw ShapeError("the graph has no input");
  }
  for (int i = 0; i < graph_.size(); ++i) {
    indices_.push_back(find_parameters(graph_.node(i)));
  }
}

ParameterIndices Executor::find_parameters(const Node& node) const {
  ParameterIndices indices;
  for (const auto& [part, shape] : parameters_of(graph_, node)) {
    const std::string name = fmt::format("{}/{}", node.parameters, name_of(part));
    const int index = parameters_->find(name);
    if (index < 0) {
      throw ShapeError(fmt::format("the parameter {} is missing", name));
    }
    if (const Shape& is = parameters_->info(index).shape; is != shape) {
      throw ShapeError(
          fmt::format("the parameter {} has shape {}, {} needed", name, is.str(), shape.str()));
    }
    indices.set(part, index);
  }
  return indices;
}

Tensor Executor::parameter(int node, ParameterPart part) const {
  const int index = indices(node)[part];
  return index < 0 ? Tensor{} : (*parameters_)[index];
}

/// Whether the recording is to give a gradient of one of a node's parameters.
bool Executor::trains(const Context& context, int node) const {
  return context.tape != nullptr && std::ranges::any_of(indices(node).all(), [&](int index) {
           return index >= 0 && context.tape->wants((*parameters_)[index]);
         });
}

/// Whether a batch normalisation takes the statistics of the batch.
bool Executor::of_batch(const Context& context, int node) const {
  return options_.batch_statistics && context.training && context.tape != nullptr &&
         (context.tape->wants(parameter(node, ParameterPart::kRunningMean)) ||
          context.tape->wants(parameter(node, ParameterPart::kRunningVar)));
}

std::vector<Step> Executor::steps(const Context& context, std::span<const int> wanted) const {
  return plan_steps(graph_, wanted, [&](int convolution, int norm) {
    return !trains(context, convolution) && !trains(context, norm);
  });
}

Folded Executor::folded(Context& context, const Step& step) const {
  FoldSources sources{.weight = parameter(step.node, ParameterPart::kWeight),
                      .bias = parameter(step.node, ParameterPart::kBias),
                      .gamma = parameter(step.norm, ParameterPart::kGamma),
                      .beta = parameter(step.norm, ParameterPart::kBeta),
                      .mean = parameter(step.norm, ParameterPart::kRunningMean),
                      .variance = parameter(step.norm, ParameterPart::kRunningVar)};
  sources.epsilon = std::get<BatchNormalization>(graph_.node(step.norm).kind).epsilon;
  return folded_->get(context.device, context.queue, {step.node, step.norm}, sources);
}

void Executor::check_inputs(std::span<const Tensor> inputs) const {
  const std::vector<int>& given = graph_.inputs();
  if (inputs.size() != given.size()) {
    throw ShapeError(
        fmt::format("the network has {} inputs but gets {} tensors", given.size(), inputs.size()));
  }
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Node& node = graph_.node(given[i]);
    const Shape& is = inputs[i].shape();
    if (is.rank() == 0 || is[0] < 1 || is != of_samples(is[0], node.shape)) {
      throw ShapeError(
          fmt::format("the network's input {} is {} for each sample, but a batch {} came",
                      node.name, node.shape.str(), is.str()));
    }
    if (is[0] != inputs[0].shape()[0]) {
      throw ShapeError(fmt::format("the network's input {} has {} samples, but {} has {}",
                                   node.name, is[0], graph_.node(given[0]).name,
                                   inputs[0].shape()[0]));
    }
  }
}

/// By node: how many of the steps normalise with its running statistics.
std::vector<int> Executor::uses_of_norms(std::span<const Step> steps) const {
  std::map<int, int> by_statistics;
  for (const Step& step : steps) {
    ++by_statistics[indices(step.node)[ParameterPart::kRunningMean]];
  }
  std::vector<int> uses(static_cast<std::size_t>(graph_.size()), 1);
  for (const Step& step : steps) {
    if (const int mean = indices(step.node)[ParameterPart::kRunningMean]; mean >= 0) {
      uses[static_cast<std::size_t>(step.node)] = by_statistics[mean];
    }
  }
  return uses;
}

/// A value as a node reads it. What is the same for every sample is not rounded beside samples of a
/// Binary, nor where only such values are read: nor is then its gradient, a sum over the samples.
Tensor Executor::as_source(Context& context, int reader, int input, const Tensor& value,
                           std::int64_t samples) const {
  if (!shared_[static_cast<std::size_t>(input)]) {
    return ops::into_network(context, value);
  }
  if (shared_[static_cast<std::size_t>(reader)] ||
      std::holds_alternative<Binary>(graph_.node(reader).kind)) {
    return value;
  }
  return ops::into_network(context, repeat_samples(context, value, samples));
}

Tensor Executor::run(const Call& call) const {
  const Node& node = graph_.node(call.step.node);
  try {
    return std::visit(call, node.kind);
  } catch (const ShapeError& error) {
    throw ShapeError(fmt::format("{} ({})", error.what(), node.name));
  }
}

std::vector<Tensor> Executor::compute(Context& context, std::span<const Tensor> inputs,
                                      std::span<const int> wanted) const {
  check_inputs(inputs);
  const std::int64_t samples = inputs[0].shape()[0];
  const DType dtype = inputs[0].dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const std::vector<int>& given = graph_.inputs();
  std::vector<Tensor> values(static_cast<std::size_t>(graph_.size()));
  for (std::size_t i = 0; i < given.size(); ++i) {
    values[static_cast<std::size_t>(given[i])] = ops::into_network(context, inputs[i]);
  }
  const std::vector<Step> steps = this->steps(context, wanted);
  const std::vector<int> uses = uses_of_norms(steps);
  std::vector<int> reads = readers_to_come(graph_, steps, wanted);
  std::vector<Tensor> sources;
  for (const Step& step : steps) {
    const Node& node = graph_.node(step.node);
    sources.clear();
    if (node.inputs.empty()) {
      sources.push_back(values[static_cast<std::size_t>(step.node)]);
    }
    for (const int input : node.inputs) {
      const auto from = static_cast<std::size_t>(input);
      const Tensor value = --reads[from] == 0 ? std::exchange(values[from], {}) : values[from];
      sources.push_back(as_source(context, step.node, input, value, samples));
    }
    const double share = context.batch_share / uses[static_cast<std::size_t>(step.node)];
    values[static_cast<std::size_t>(step.result)] =
        run({*this, context, step, sources, dtype, share});
  }
  std::vector<Tensor> results;
  for (const int node : wanted) {
    const Tensor& value = values[static_cast<std::size_t>(node)];
    results.push_back(ops::out_of_network(context, shared_[static_cast<std::size_t>(node)]
                                                       ? repeat_samples(context, value, samples)
                                                       : value));
  }
  return results;
}

std::vector<Tensor> Executor::forward(Context& context, const Tensor& x,
                                      std::span<const std::string> wanted) const {
  std::vector<int> nodes;
  for (const std::string& name : wanted) {
    nodes.push_back(graph_.index_of(name));
  }
  return compute(context, {&x, 1}, nodes);
}

std::vector<std::string> Executor::parameters_through(std::string_view name) const {
  std::vector<std::string> names;
  for (const int node : graph_.nodes_through(name)) {
    for (const int index : indices(node).all()) {
      if (index >= 0 && std::ranges::find(names, parameters_->info(index).name) == names.end()) {
        names.push_back(parameters_->info(index).name);
      }
    }
  }
  return names;
}

}  // namespace gentrain::graph
