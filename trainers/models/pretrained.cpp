// VGG and SqueezeNet, and what stands behind a network's convolutions.
#include "trainers/models/pretrained.h"

#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

graph::Convolution conv_of(std::int64_t out, std::int64_t kernel, bool same) {
  graph::Convolution node;
  node.out = out;
  node.kernel_h = node.kernel_w = kernel;
  node.padding.same = same;
  return node;
}

int add_max_pool(graph::Graph& graph, const std::string& name, std::int64_t window, int x) {
  graph::Pooling node;
  node.window = {window, window};
  return graph.add(name, node, {x});
}

graph::Graph vgg(const Shape& image, const std::array<int, 5>& convolutions) {
  constexpr std::array<std::int64_t, 5> kChannels = {64, 128, 256, 512, 512};
  graph::Graph graph;
  int x = graph.add("input_1", graph::Input{image});
  for (std::size_t block = 0; block < convolutions.size(); ++block) {
    for (int i = 1; i <= convolutions.at(block); ++i) {
      graph::Convolution node = conv_of(kChannels.at(block), 3, true);
      node.activation = Activation::kRelu;
      x = graph.add(fmt::format("block{}_conv{}", block + 1, i), node, {x});
    }
    x = add_max_pool(graph, fmt::format("block{}_pool", block + 1), 2, x);
  }
  return graph;
}

/// A convolution with an activation of its own: PLACE + NAME, PLACE + relu_NAME.
int add_rectified(graph::Graph& graph, const std::string& place, const std::string& name,
                  const graph::Convolution& node, int x) {
  const int y = graph.add(place + name, node, {x});
  return graph.add(fmt::format("{}relu_{}", place, name), graph::Activate{}, {y});
}

int add_fire(graph::Graph& graph, int number, std::int64_t squeeze, std::int64_t expand, int x) {
  const std::string place = fmt::format("fire{}/", number);
  x = add_rectified(graph, place, "squeeze1x1", conv_of(squeeze, 1, false), x);
  const int left = add_rectified(graph, place, "expand1x1", conv_of(expand, 1, false), x);
  const int right = add_rectified(graph, place, "expand3x3", conv_of(expand, 3, true), x);
  return graph.add(place + "concat", graph::Concatenation{}, {left, right});
}

int add_dense(graph::Graph& graph, const std::string& name, std::int64_t out, Activation activation,
              int x) {
  return graph.add(name, graph::Dense{.out = out, .bias = true, .activation = activation}, {x});
}

void add_head(graph::Graph& graph, std::int64_t hidden, std::int64_t classes) {
  int x = graph.add("global_average_pooling", graph::GlobalPooling{}, {graph.size() - 1});
  if (hidden > 0) {
    x = add_dense(graph, "head_dense", hidden, Activation::kRelu, x);
  }
  add_dense(graph, "head_logits", classes, Activation::kNone, x);
}

void add_inception_top(graph::Graph& graph, std::int64_t classes) {
  const int pooled = graph.add("avg_pool", graph::GlobalPooling{}, {graph.size() - 1});
  add_dense(graph, "predictions", classes, Activation::kNone, pooled);
}

void add_vgg_top(graph::Graph& graph, std::int64_t classes) {
  constexpr std::int64_t kWidth = 4096;
  int x = graph.add("flatten", graph::Flatten{}, {graph.size() - 1});
  x = add_dense(graph, "fc1", kWidth, Activation::kRelu, x);
  x = add_dense(graph, "fc2", kWidth, Activation::kRelu, x);
  add_dense(graph, "predictions", classes, Activation::kNone, x);
}

void add_squeezenet_top(graph::Graph& graph, std::int64_t classes) {
  int x = graph.add("drop9", graph::Dropout{.rate = 0.5}, {graph.size() - 1});
  x = add_rectified(graph, "", "conv10", conv_of(classes, 1, false), x);
  graph.add("global_average_pooling2d_1", graph::GlobalPooling{}, {x});
}

/// A network by name, and its original top.
struct Pretrained {
  graph::Graph (*convolutions)(const Shape& image);
  void (*top)(graph::Graph& graph, std::int64_t classes);
};

Pretrained find_network(const std::string& name) {
  constexpr std::array<Pretrained, kPretrainedNames.size()> kNetworks = {{
      {&inception_v3, &add_inception_top},
      {&vgg16, &add_vgg_top},
      {&vgg19, &add_vgg_top},
      {&squeezenet, &add_squeezenet_top},
  }};
  for (std::size_t i = 0; i < kNetworks.size(); ++i) {
    if (kPretrainedNames.at(i) == name) {
      return kNetworks.at(i);
    }
  }
  throw JobError(fmt::format("model: there is no pretrained network '{}' (known: {})", name,
                             fmt::join(kPretrainedNames, ", ")));
}

/// The nodes that one node needs, in their order.
graph::Graph graph_through(const graph::Graph& whole, const std::string& layer) {
  graph::Graph part;
  std::vector<int> places(static_cast<std::size_t>(whole.size()), -1);
  for (const int index : whole.nodes_through(layer)) {
    const graph::Node& node = whole.node(index);
    std::vector<int> inputs;
    inputs.reserve(node.inputs.size());
    for (const int input : node.inputs) {
      inputs.push_back(places[static_cast<std::size_t>(input)]);
    }
    places[static_cast<std::size_t>(index)] =
        part.add(node.name, node.kind, std::move(inputs), node.parameters);
  }
  return part;
}

/// As make_graph() has kRegression. `whole`: with its original top.
graph::Graph regression_graph(const graph::Graph& whole, const PretrainedOptions& options,
                              std::int64_t classes) {
  using Pool = PretrainedOptions::Pool;
  graph::Graph graph = graph_through(whole, options.layer);
  const graph::Node& last = graph.node(graph.size() - 1);
  if (options.pool != Pool::kNone && last.shape.rank() != 3) {
    throw JobError(
        fmt::format("model.pool: layer {} gives {}, only maps [h, w, c] are pooled: set it to none",
                    options.layer, last.shape.str()));
  }
  graph::NodeKind pool = graph::Flatten{};
  if (options.pool != Pool::kNone) {
    const bool average = options.pool == Pool::kAverage;
    pool = graph::GlobalPooling{average ? graph::PoolingKind::kAverage : graph::PoolingKind::kMax};
  }
  const int features = graph.add(kFeaturesNode, std::move(pool), {graph.size() - 1});
  const int logits = add_dense(graph, kRegressionNode, classes, Activation::kNone, features);
  graph.add("probabilities", graph::Softmax{}, {logits});
  return graph;
}

}  // namespace

graph::Graph vgg16(const Shape& image) {
  return vgg(image, {2, 2, 3, 3, 3});
}

graph::Graph vgg19(const Shape& image) {
  return vgg(image, {2, 2, 4, 4, 4});
}

graph::Graph squeezenet(const Shape& image) {
  graph::Graph graph;
  graph::Convolution first = conv_of(64, 3, false);
  first.stride = {2, 2};
  int x = graph.add("input_1", graph::Input{image});
  x = add_rectified(graph, "", "conv1", first, x);
  x = add_max_pool(graph, "pool1", 3, x);
  x = add_fire(graph, 2, 16, 64, x);
  x = add_fire(graph, 3, 16, 64, x);
  x = add_max_pool(graph, "pool3", 3, x);
  x = add_fire(graph, 4, 32, 128, x);
  x = add_fire(graph, 5, 32, 128, x);
  x = add_max_pool(graph, "pool5", 3, x);
  x = add_fire(graph, 6, 48, 192, x);
  x = add_fire(graph, 7, 48, 192, x);
  x = add_fire(graph, 8, 64, 256, x);
  add_fire(graph, 9, 64, 256, x);
  return graph;
}

graph::Graph make_graph(const ModelOptions& options, const Shape& image, std::int64_t classes) {
  const Pretrained network = find_network(options.name);
  graph::Graph graph = network.convolutions(image);
  switch (options.pretrained.top) {
    case PretrainedOptions::Top::kHead:
      add_head(graph, options.pretrained.hidden, classes);
      break;
    case PretrainedOptions::Top::kOriginal:
      network.top(graph, classes);
      graph.add("probabilities", graph::Softmax{}, {graph.size() - 1});
      break;
    case PretrainedOptions::Top::kRegression:
      network.top(graph, classes);
      return regression_graph(graph, options.pretrained, classes);
    case PretrainedOptions::Top::kNone:
      break;
  }
  return graph;
}

}  // namespace gentrain::trainers
