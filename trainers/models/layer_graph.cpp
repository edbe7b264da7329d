// Layer by layer.
#include "trainers/models/layer_graph.h"

#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "kernels/error.h"
#include "trainers/models/layer_names.h"

namespace gentrain::trainers {

namespace {

LayerSpec spec_of(LayerKind kind, std::int64_t out = 0, std::int64_t extent = 1) {
  LayerSpec spec;
  spec.kind = kind;
  spec.out = out;
  spec.kernel_h = spec.kernel_w = extent;
  if (kind == LayerKind::kMaxPool) {
    spec.stride_h = spec.stride_w = extent;
  }
  return spec;
}

/// What make_lenet() builds.
std::vector<LayerSpec> lenet_layers(std::int64_t outputs) {
  return {spec_of(LayerKind::kConv, 6, 5),    spec_of(LayerKind::kTanh),
          spec_of(LayerKind::kMaxPool, 0, 2), spec_of(LayerKind::kTanh),
          spec_of(LayerKind::kConv, 12, 5),   spec_of(LayerKind::kMaxPool, 0, 2),
          spec_of(LayerKind::kFlatten),       spec_of(LayerKind::kLinear, 100),
          spec_of(LayerKind::kTanh),          spec_of(LayerKind::kLinear, outputs)};
}

graph::PaddingRule padding_of(const LayerSpec& spec) {
  graph::PaddingRule rule;
  rule.same = spec.same;
  if (!spec.same) {
    rule.explicit_padding = {spec.pad_h, spec.pad_h, spec.pad_w, spec.pad_w};
  }
  return rule;
}

graph::NodeKind pooling_of(const LayerSpec& spec, graph::PoolingKind kind) {
  graph::Pooling node;
  node.pooling = kind;
  node.window = {spec.kernel_h, spec.kernel_w};
  node.stride = {spec.stride_h, spec.stride_w};
  node.padding = padding_of(spec);
  return node;
}

graph::NodeKind convolution_of(const LayerSpec& spec) {
  graph::Convolution node;
  node.out = spec.out;
  node.kernel_h = spec.kernel_h;
  node.kernel_w = spec.kernel_w;
  node.stride = {spec.stride_h, spec.stride_w};
  node.padding = padding_of(spec);
  node.bias = spec.bias;
  return node;
}

graph::NodeKind node_of(const LayerSpec& spec) {
  switch (spec.kind) {
    case LayerKind::kConv:
      return convolution_of(spec);
    case LayerKind::kMaxPool:
      return pooling_of(spec, graph::PoolingKind::kMax);
    case LayerKind::kAveragePool:
      return pooling_of(spec, graph::PoolingKind::kAverage);
    case LayerKind::kLinear:
      return graph::Dense{.out = spec.out, .bias = spec.bias};
    case LayerKind::kFlatten:
      return graph::Flatten{};
    case LayerKind::kDropout:
      return graph::Dropout{.rate = spec.rate};
    case LayerKind::kTanh:
      return graph::Activate{.activation = Activation::kTanh};
    case LayerKind::kRelu:
      return graph::Activate{.activation = Activation::kRelu};
    case LayerKind::kSigmoid:
      break;
  }
  return graph::Activate{.activation = Activation::kSigmoid};
}

}  // namespace

graph::Graph layer_graph(const ModelOptions& model, const Shape& image, std::int64_t outputs) {
  if (!has_layer_graph(model)) {
    throw JobError(fmt::format("a {} is no network of layers in a row", model.name));
  }
  const bool lenet = model.layers.empty();
  graph::Graph graph;
  int x = graph.add("input", graph::Input{image});
  std::map<std::string, int> numbers;
  for (const LayerSpec& spec : lenet ? lenet_layers(outputs) : model.layers) {
    const bool dense_of_lenet = lenet && spec.kind == LayerKind::kLinear;
    const std::string kind(dense_of_lenet ? "fc" : name_of(spec.kind));
    x = graph.add(fmt::format("{}{}", kind, ++numbers[kind]), node_of(spec), {x});
  }
  return graph;
}

}  // namespace gentrain::trainers
