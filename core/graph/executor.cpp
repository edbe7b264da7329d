// One forward rule for each kind of node, and the walk over the steps.
#include "core/graph/executor.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/graph/shapes.h"
#include "core/nn/layers.h"
#include "core/ops/norm.h"
#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

/// Channels or values of a row.
std::int64_t last_extent(const Shape& shape) {
  return shape[shape.rank() - 1];
}

void register_node(const Graph& graph, const Node& node, ParameterSet& parameters,
                   const Initializer& initializer) {
  const auto input = [&]() -> const Shape& { return graph.node(node.inputs[0]).shape; };
  std::visit(
      Overloaded{
          [&](const Convolution& conv) {
            nn::Conv2d(parameters, node.name,
                       {.in = input()[2],
                        .out = conv.out,
                        .kernel_h = conv.kernel_h,
                        .kernel_w = conv.kernel_w,
                        .stride = {},
                        .padding = {},
                        .bias = conv.bias,
                        .initializer = initializer});
          },
          [&](const BatchNormalization& norm) {
            nn::BatchNorm2d(parameters, node.name, last_extent(input()), norm.decay, norm.gamma);
          },
          [&](const Dense& dense) {
            nn::Linear(parameters, node.name, input()[0], dense.out, dense.bias, initializer);
          },
          [](const auto&) {},
      },
      node.kind);
}

/// Pooling over all pixels, along rows first where the window would be larger than pooling takes.
Tensor pool_all(Context& context, PoolingKind kind, const Tensor& x) {
  constexpr std::int64_t kMostPixels = 255;
  const auto pool = [&](const Tensor& of, const ops::Window& window) {
    return kind == PoolingKind::kMax ? ops::max_pool2d(context, of, window, {1, 1})
                                     : ops::average_pool2d(context, of, window, {1, 1});
  };
  const std::int64_t h = x.shape()[1];
  const std::int64_t w = x.shape()[2];
  const Tensor y = h * w <= kMostPixels ? pool(x, {h, w}) : pool(pool(x, {1, w}), {h, 1});
  return ops::reshape(context, y, {x.shape()[0], x.shape()[3]});
}

/// [n, ...] of n samples of one shape.
Shape of_samples(std::int64_t n, const Shape& sample) {
  std::vector<std::int64_t> extents{n};
  extents.insert(extents.end(), sample.extents().begin(), sample.extents().end());
  return Shape(extents);
}

}  // namespace

void register_parameters(const Graph& graph, ParameterSet& parameters,
                         const Initializer& initializer) {
  for (int i = 0; i < graph.size(); ++i) {
    register_node(graph, graph.node(i), parameters, initializer);
  }
}

Executor::Executor(Graph graph, const ParameterSet& parameters, ExecutorOptions options)
    : graph_(std::move(graph)),
      parameters_(&parameters),
      options_(options),
      folded_(std::make_unique<FoldCache>(graph_.size())) {
  if (graph_.inputs().empty()) {
    throw ShapeError("the graph has no input");
  }
  for (int i = 0; i < graph_.size(); ++i) {
    indices_.push_back(find_parameters(graph_.node(i)));
  }
}

int Executor::find(const Node& node, const char* name, const Shape& shape) const {
  const std::string parameter = fmt::format("{}/{}", node.name, name);
  const int index = parameters_->find(parameter);
  if (index < 0) {
    throw ShapeError(fmt::format("the parameter {} is missing", parameter));
  }
  if (const Shape& is = parameters_->info(index).shape; is != shape) {
    throw ShapeError(
        fmt::format("the parameter {} has shape {}, {} needed", parameter, is.str(), shape.str()));
  }
  return index;
}

Executor::Indices Executor::find_parameters(const Node& node) const {
  Indices indices;
  const auto input = [&]() -> const Shape& { return graph_.node(node.inputs[0]).shape; };
  std::visit(Overloaded{
                 [&](const Convolution& conv) {
                   indices.weight =
                       find(node, "weight", {conv.out, conv.kernel_h, conv.kernel_w, input()[2]});
                   indices.bias = conv.bias ? find(node, "bias", {conv.out}) : -1;
                 },
                 [&](const BatchNormalization& norm) {
                   const Shape channels{last_extent(input())};
                   indices.gamma = norm.gamma ? find(node, "gamma", channels) : -1;
                   indices.beta = find(node, "beta", channels);
                   indices.mean = find(node, "running_mean", channels);
                   indices.variance = find(node, "running_var", channels);
                 },
                 [&](const Dense& dense) {
                   indices.weight = find(node, "weight", {dense.out, input()[0]});
                   indices.bias = dense.bias ? find(node, "bias", {dense.out}) : -1;
                 },
                 [](const auto&) {},
             },
             node.kind);
  return indices;
}

Tensor Executor::parameter(int index) const {
  return index < 0 ? Tensor{} : (*parameters_)[index];
}

/// Whether the recording is to give a gradient of one of a node's parameters.
bool Executor::trains(const Context& context, int node) const {
  if (context.tape == nullptr) {
    return false;
  }
  const Indices& of = indices_[static_cast<std::size_t>(node)];
  const auto indices = {of.weight, of.bias, of.gamma, of.beta, of.mean, of.variance};
  return std::any_of(indices.begin(), indices.end(), [&](int index) {
    return index >= 0 && context.tape->wants((*parameters_)[index]);
  });
}

/// Whether a batch normalisation takes the statistics of the batch.
bool Executor::of_batch(const Context& context, int node) const {
  const Indices& of = indices_[static_cast<std::size_t>(node)];
  return options_.batch_statistics && context.training && context.tape != nullptr &&
         (context.tape->wants(parameter(of.mean)) || context.tape->wants(parameter(of.variance)));
}

std::vector<Step> Executor::steps(const Context& context, std::span<const int> wanted) const {
  return plan_steps(graph_, wanted, [&](int convolution, int norm) {
    return !trains(context, convolution) && !trains(context, norm);
  });
}

Folded Executor::folded(Context& context, const Step& step) const {
  const Indices& conv = indices_[static_cast<std::size_t>(step.node)];
  const Indices& norm = indices_[static_cast<std::size_t>(step.norm)];
  FoldSources sources{.weight = parameter(conv.weight),
                      .bias = parameter(conv.bias),
                      .gamma = parameter(norm.gamma),
                      .beta = parameter(norm.beta),
                      .mean = parameter(norm.mean),
                      .variance = parameter(norm.variance)};
  sources.epsilon = std::get<BatchNormalization>(graph_.node(step.norm).kind).epsilon;
  return folded_->get(context.device, context.queue, step.node, sources);
}

/// The forward rules. `inputs`: of the step's first node.
struct Executor::Call {
  const Executor& executor;
  Context& context;
  const Step& step;
  std::span<const Tensor> inputs;

  [[nodiscard]] const Indices& indices() const {
    return executor.indices_[static_cast<std::size_t>(step.node)];
  }
  /// The node Activate that the step takes along, or null.
  [[nodiscard]] const Activate* behind() const {
    return step.activation < 0 ? nullptr
                               : &std::get<Activate>(executor.graph_.node(step.activation).kind);
  }
  /// The node's own activation, or that behind it.
  [[nodiscard]] Activation activation(Activation own) const {
    return behind() == nullptr ? own : behind()->activation;
  }
  [[nodiscard]] const Shape& sample() const {
    return executor.graph_.node(executor.graph_.node(step.node).inputs[0]).shape;
  }

  Tensor operator()(const Input& /*node*/) const { return inputs[0]; }

  Tensor operator()(const Convolution& node) const {
    Folded weights{executor.parameter(indices().weight), executor.parameter(indices().bias)};
    if (step.norm >= 0) {
      weights = executor.folded(context, step);
    }
    const ops::Padding padding =
        padding_of(node.padding, sample(), {node.kernel_h, node.kernel_w}, node.stride);
    return ops::conv2d(context, inputs[0], weights.weight, weights.bias,
                       {node.stride, padding, activation(node.activation)});
  }

  Tensor operator()(const BatchNormalization& node) const {
    ops::BatchNormOptions options;
    options.epsilon = node.epsilon;
    options.activation = activation(Activation::kNone);
    options.slope = behind() == nullptr ? 0 : behind()->slope;
    options.weight = context.batch_share;
    options.batch_statistics = executor.of_batch(context, step.node);
    return ops::batch_norm(
        context, inputs[0],
        {executor.parameter(indices().gamma), executor.parameter(indices().beta),
         executor.parameter(indices().mean), executor.parameter(indices().variance)},
        options);
  }

  Tensor operator()(const Activate& node) const {
    return node.slope > 0 ? ops::leaky_relu(context, inputs[0], node.slope)
                          : ops::activate(context, inputs[0], node.activation);
  }

  Tensor operator()(const Pooling& node) const {
    const ops::Padding padding = padding_of(node.padding, sample(), node.window, node.stride);
    return node.pooling == PoolingKind::kMax
               ? ops::max_pool2d(context, inputs[0], node.window, node.stride, padding)
               : ops::average_pool2d(context, inputs[0], node.window, node.stride, padding);
  }

  Tensor operator()(const GlobalPooling& node) const {
    return pool_all(context, node.pooling, inputs[0]);
  }

  Tensor operator()(const Dense& node) const {
    return ops::linear(context, inputs[0], executor.parameter(indices().weight),
                       executor.parameter(indices().bias), activation(node.activation));
  }

  Tensor operator()(const Flatten& /*node*/) const {
    return ops::reshape(context, inputs[0], {inputs[0].shape()[0], sample().elements()});
  }

  Tensor operator()(const Dropout& node) const {
    return ops::dropout(context, inputs[0], node.rate, static_cast<std::uint64_t>(step.node));
  }

  Tensor operator()(const Concatenation& /*node*/) const { return ops::concat(context, inputs); }

  Tensor operator()(const Addition& /*node*/) const {
    Tensor sum = inputs[0];
    for (std::size_t i = 1; i < inputs.size(); ++i) {
      const bool last = i + 1 == inputs.size();
      sum = ops::add(context, sum, inputs[i],
                     last ? activation(Activation::kNone) : Activation::kNone);
    }
    return sum;
  }

  Tensor operator()(const Softmax& /*node*/) const {
    return ops::softmax(context, ops::out_of_network(context, inputs[0]));
  }
};

Tensor Executor::run(Context& context, const Step& step, std::span<const Tensor> inputs) const {
  const Node& node = graph_.node(step.node);
  try {
    return std::visit(Call{*this, context, step, inputs}, node.kind);
  } catch (const ShapeError& error) {
    throw ShapeError(fmt::format("{} ({})", error.what(), node.name));
  }
}

std::vector<Tensor> Executor::compute(Context& context, std::span<const Tensor> inputs,
                                      std::span<const int> wanted) const {
  const std::vector<int>& given = graph_.inputs();
  if (inputs.size() != given.size()) {
    throw ShapeError(
        fmt::format("the network has {} inputs but gets {} tensors", given.size(), inputs.size()));
  }
  const auto count = static_cast<std::size_t>(graph_.size());
  std::vector<Tensor> values(count);
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Node& node = graph_.node(given[i]);
    const Shape& is = inputs[i].shape();
    if (is.rank() == 0 || is[0] < 1 || is != of_samples(is[0], node.shape)) {
      throw ShapeError(
          fmt::format("the network's input {} is {} for each sample, but a batch {} "
                      "came",
                      node.name, node.shape.str(), is.str()));
    }
    values[static_cast<std::size_t>(given[i])] = ops::into_network(context, inputs[i]);
  }
  const std::vector<Step> steps = this->steps(context, wanted);
  std::vector<int> reads(count, 0);  // to come
  for (const Step& step : steps) {
    for (const int input : graph_.node(step.node).inputs) {
      ++reads[static_cast<std::size_t>(input)];
    }
  }
  for (const int node : wanted) {
    ++reads[static_cast<std::size_t>(node)];
  }
  std::vector<Tensor> sources;
  for (const Step& step : steps) {
    const Node& node = graph_.node(step.node);
    sources.clear();
    if (node.inputs.empty()) {
      sources.push_back(values[static_cast<std::size_t>(step.node)]);
    }
    for (const int input : node.inputs) {
      const auto from = static_cast<std::size_t>(input);
      sources.push_back(--reads[from] == 0 ? std::exchange(values[from], {}) : values[from]);
    }
    values[static_cast<std::size_t>(step.result)] = run(context, step, sources);
  }
  std::vector<Tensor> results;
  for (const int node : wanted) {
    results.push_back(ops::out_of_network(context, values[static_cast<std::size_t>(node)]));
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
    const Indices& of = indices_[static_cast<std::size_t>(node)];
    for (const int index : {of.weight, of.bias, of.gamma, of.beta, of.mean, of.variance}) {
      if (index >= 0) {
        names.push_back(parameters_->info(index).name);
      }
    }
  }
  return names;
}

}  // namespace gentrain::graph
