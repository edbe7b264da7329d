// A graph as a network: what it registers, its layers for summaries, and its logits.
#include "trainers/models/graph_network.h"

#include <utility>

#include <fmt/format.h>

#include "core/graph/node_parameters.h"
#include "core/graph/shapes.h"
#include "kernels/error.h"
#include "trainers/models/pretrained.h"

namespace gentrain::trainers {

namespace {

/// The graph itself, its parameters registered.
graph::Graph registered(graph::Graph graph, const Initializer& initializer,
                        ParameterSet& parameters) {
  graph::register_parameters(graph, parameters, initializer);
  return graph;
}

/// Parameters that nodes share are those of the first of them.
LayerInfo info_of(const graph::Graph& graph, int index, const ParameterSet& parameters) {
  const graph::Node& node = graph.node(index);
  LayerInfo info{node.name, node.shape, 0, 0, {}};
  if (graph.registers(index)) {
    for (const graph::NodeParameter& parameter : graph::parameters_of(graph, node)) {
      info.names.push_back(fmt::format("{}/{}", node.parameters, graph::name_of(parameter.part)));
    }
  }
  for (const std::string& name : info.names) {
    const ParameterInfo& parameter = parameters.info(parameters.find(name));
    if (parameter.role == ParameterRole::kTrained) {
      info.parameters += parameter.shape.elements();
    }
  }
  if (!node.inputs.empty()) {
    info.products = graph::products_of(node.kind, graph.node(node.inputs[0]).shape, node.shape);
  }
  return info;
}

}  // namespace

GraphNetwork::GraphNetwork(graph::Graph graph, const Initializer& initializer,
                           graph::ExecutorOptions options, std::int64_t outputs,
                           ParameterSet& parameters)
    : options_(options),
      executor_(registered(std::move(graph), initializer, parameters), parameters, options),
      logits_(-1) {
  const graph::Graph& of = executor_.graph();
  if (of.inputs().size() != 1 || of.outputs().size() != 1) {
    throw JobError(
        fmt::format("model: its graph has {} inputs and {} outputs, a classifier one of "
                    "each",
                    of.inputs().size(), of.outputs().size()));
  }
  logits_ = graph::before_softmax(of, of.outputs()[0]);
  if (of.node(logits_).shape != Shape{outputs}) {
    throw JobError(
        fmt::format("model: its last layer {} gives {} per sample but the data needs "
                    "[{}]",
                    of.node(logits_).name, of.node(logits_).shape.str(), outputs));
  }
  for (int i = 0; i < of.size(); ++i) {
    layers_.push_back(info_of(of, i, parameters));
  }
}

Tensor GraphNetwork::forward(Context& context, const Tensor& x) const {
  return compute(context, x, {&logits_, 1})[0];
}

void GraphNetwork::take_signed(Preprocessing preprocessing) {
  const graph::Graph& of = executor_.graph();
  const Shape& image = of.node(of.inputs()[0]).shape;
  conversion_.emplace(preprocessing, image[image.rank() - 1]);
}

std::vector<graph::ImportedArray> GraphNetwork::take_arrays() {
  return file_ ? std::exchange(file_->arrays, {}) : std::vector<graph::ImportedArray>();
}

std::vector<Tensor> GraphNetwork::compute(Context& context, const Tensor& x,
                                          std::span<const int> wanted) const {
  const Tensor prepared = conversion_ ? conversion_->forward(context, x) : x;
  return executor_.compute(context, {&prepared, 1}, wanted);
}

std::unique_ptr<GraphNetwork> make_pretrained(const ModelOptions& model, const InitOptions& init,
                                              const Shape& image, std::int64_t outputs,
                                              ParameterSet& parameters) {
  if (takes_bgr(model) && image.rank() == 3 && image[2] != 3) {
    throw JobError(fmt::format("model {} takes colour images, [h, w, 3], but the data has {}",
                               model.name, image.str()));
  }
  try {
    auto network = std::make_unique<GraphNetwork>(
        make_graph(model, image, outputs), Initializer{init.name, init.stddev},
        graph::ExecutorOptions{.batch_statistics = model.pretrained.batch_statistics}, outputs,
        parameters);
    if (takes_bgr(model)) {
      network->take_signed(Preprocessing::kCaffe);
    }
    return network;
  } catch (const ShapeError& error) {
    throw JobError(
        fmt::format("model {} does not take images {}: {}", model.name, image.str(), error.what()));
  }
}

}  // namespace gentrain::trainers
