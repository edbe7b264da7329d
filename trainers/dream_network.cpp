// Making the network of a dream, and counting what it takes.
#include "trainers/dream_network.h"

#include <algorithm>
#include <span>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "core/graph/keras_import.h"
#include "core/graph/part_of.h"
#include "core/graph/shapes.h"
#include "core/pattern.h"
#include "kernels/error.h"
#include "kernels/shared_blocks.h"
#include "trainers/models/preprocessing.h"
#include "trainers/models/pretrained.h"
#include "trainers/weight_files.h"

namespace gentrain::trainers {

namespace {

constexpr std::int64_t kClasses = 1000;  // of the published networks' own top

/// The size that a network was published with: so that its top fits.
std::int64_t published_size(const std::string& network) {
  if (network == "inception_v3") {
    return 299;
  }
  return network == "squeezenet" ? 227 : 224;
}

graph::Graph published_graph(const std::string& network) {
  ModelOptions model;
  model.name = network;
  model.pretrained.top = PretrainedOptions::Top::kOriginal;
  const std::int64_t size = published_size(network);
  return make_graph(model, {size, size, kColours}, kClasses);
}

/// Names of nodes for names of layers as the file has them.
std::string node_of(const graph::ImportedModel& model, const std::string& layer) {
  std::vector<std::string> known;
  for (const graph::ImportedTensor& one : model.layers) {
    if (one.name == layer) {
      return model.graph.node(one.node).name;
    }
    known.push_back(one.name);
  }
  if (model.graph.find(layer) >= 0) {
    return layer;
  }
  throw JobError(fmt::format("layers: the network has no layer '{}' (known: {})", layer,
                             listed_near(layer, std::move(known))));
}

/// What a node gives takes no memory of its own: the node before it gives it, or it is the same
/// elements.
bool is_free(const graph::NodeKind& kind) {
  return std::holds_alternative<graph::Activate>(kind) ||
         std::holds_alternative<graph::BatchNormalization>(kind) ||
         std::holds_alternative<graph::Flatten>(kind) ||
         std::holds_alternative<graph::Reshape>(kind) ||
         std::holds_alternative<graph::Dropout>(kind) ||
         std::holds_alternative<graph::Identity>(kind);
}

}  // namespace

DreamNetwork::DreamNetwork(const DreamOptions& options)
    : name_(options.model_file.empty() ? options.network : options.model_file),
      is_of_a_file_(!options.model_file.empty()),
      layers_(options.layers) {
  if (layers_.empty()) {
    throw JobError("layers: a dream needs a layer at least, as layers: {block5_conv1: 0.05}");
  }
  DreamPreprocess preprocess = options.preprocess;
  if (!is_of_a_file_) {
    whole_ = published_graph(options.network);
    preprocess = preprocess == DreamPreprocess::kAuto ? preprocess_of(options.network) : preprocess;
    for (const DreamLayer& layer : layers_) {
      nodes_.push_back(layer.name);
    }
  } else {
    graph::ImportedModel model = graph::import_model(options.model_file);
    if (preprocess == DreamPreprocess::kAuto) {
      throw JobError(fmt::format(
          "model.preprocess: {} does not say how images become its input: choose caffe, "
          "inception, torch or none",
          options.model_file));
    }
    for (const DreamLayer& layer : layers_) {
      nodes_.push_back(node_of(model, layer.name));
    }
    arrays_ = std::move(model.arrays);
    note_ = fmt::format("model: {} ({}), {}", options.model_file, model.sha256, model.writer);
    identity_ = "model " + model.sha256;
    whole_ = std::move(model.graph);
  }
  space_ = input_space(preprocess);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (std::find(nodes_.begin(), nodes_.begin() + static_cast<std::ptrdiff_t>(i), nodes_[i]) !=
        nodes_.begin() + static_cast<std::ptrdiff_t>(i)) {
      throw JobError(fmt::format("layers: {} is given twice", layers_[i].name));
    }
  }
  if (whole_.inputs().size() != 1) {
    throw JobError(fmt::format("model: {} has {} inputs, a dream is of one image", name_,
                               whole_.inputs().size()));
  }
  const Shape& image = whole_.node(whole_.inputs()[0]).shape;
  if (image.rank() != 3 || image[2] != kColours) {
    throw JobError(
        fmt::format("model: {} takes {} but a dream is of an image [h, w, 3]", name_, image.str()));
  }
  graph::register_parameters(part_for(image[0], image[1]), parameters_,
                             {Initializer::Kind::kKaimingNormal});
}

graph::Graph DreamNetwork::part_for(std::int64_t h, std::int64_t w) const {
  graph::Graph part;
  try {
    part = graph::part_of(whole_, nodes_, {h, w, kColours});
  } catch (const ShapeError& error) {
    throw JobError(
        fmt::format("an image of {} x {} pixels does not fit {}: {}", h, w, name_, error.what()));
  } catch (const JobError& error) {
    throw JobError(fmt::format("layers: {}", error.what()));
  }
  require_parameters(part);
  return part;
}

/// Dense layers behind maps have weights for one size of images. Throws JobError naming it.
void DreamNetwork::require_parameters(const graph::Graph& part) const {
  for (int i = 0; i < part.size(); ++i) {
    const graph::Node& node = part.node(i);
    const auto fits = [&](const graph::NodeParameter& parameter) {
      const int index =
          parameters_.find(fmt::format("{}/{}", node.parameters, graph::name_of(parameter.part)));
      return index < 0 ||
             parameters_.info(index).shape == parameter.shape;  // none while they are made
    };
    if (std::ranges::all_of(graph::parameters_of(part, node), fits)) {
      continue;
    }
    const auto needs = std::ranges::find_if(nodes_, [&](const std::string& name) {
      return std::ranges::count(part.nodes_through(name), i) > 0;
    });
    const Shape& own = whole_.node(whole_.inputs()[0]).shape;
    const Shape& given = part.node(part.inputs()[0]).shape;
    throw JobError(fmt::format(
        "layers: {} needs images of {} x {} pixels, not of {} x {}: the weights of {} are for that "
        "size alone",
        layers_.at(static_cast<std::size_t>(needs - nodes_.begin())).name, own[0], own[1], given[0],
        given[1], node.name));
  }
}

void DreamNetwork::load(Device& device, Queue& queue, const std::string& weights, RngKey key,
                        DType dtype) {
  parameters_.allocate_frozen(device, queue, dtype, blocks_, [&] {
    parameters_.initialize(device, queue, key);
    if (is_of_a_file_ || weights == "random") {
      std::unordered_map<std::string, const graph::ImportedArray*> by_name;
      for (const graph::ImportedArray& array : arrays_) {
        by_name.emplace(array.parameter, &array);
      }
      for (int i = 0; i < parameters_.size() && !by_name.empty(); ++i) {
        const graph::ImportedArray& array = *by_name.at(parameters_.info(i).name);
        copy_from_host<float>(device, queue, array.values, parameters_[i]);
      }
      return;
    }
    const Shape& image = whole_.node(whole_.inputs()[0]).shape;
    const io::KerasWeights file(weights.empty() ? find_weights_file(name_).string() : weights);
    graph::read_keras_weights(part_for(image[0], image[1]), file, {.allow_extra = {"*"}},
                              parameters_, device, queue);
  });
  if (!is_of_a_file_ && weights == "random") {
    note_ = "weights: drawn at random";
    identity_ = "random weights";
  } else if (!is_of_a_file_) {
    const std::string path = weights.empty() ? find_weights_file(name_).string() : weights;
    const std::string sha256 = io::KerasWeights(path).sha256();
    note_ = fmt::format("weights: {} ({})", path, sha256);
    identity_ = "weights " + sha256;
  }
  arrays_.clear();
}

std::unique_ptr<graph::Executor> DreamNetwork::executor(std::int64_t h, std::int64_t w) const {
  return std::make_unique<graph::Executor>(part_for(h, w), parameters_);
}

std::vector<DreamTerm> DreamNetwork::terms(const graph::Graph& graph) const {
  std::vector<DreamTerm> terms;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const DreamLayer& layer = layers_[i];
    const int node = graph.index_of(nodes_[i]);
    const Shape& map = graph.node(node).shape;
    const bool is_image = map.rank() == 3;
    if (!is_image && map.rank() != 1) {
      throw JobError(fmt::format("layers: {} gives {}, neither a map [h, w, c] nor [c]", layer.name,
                                 map.str()));
    }
    if (is_image && std::min(map[0], map[1]) <= 2 * kDreamBorder) {
      const Shape& image = graph.node(graph.inputs()[0]).shape;
      throw JobError(fmt::format(
          "an image of {} x {} pixels is too small for {}: {} gives {}, of which a border of {} "
          "pixels is left out",
          image[0], image[1], name_, layer.name, map.str(), kDreamBorder));
    }
    const std::int64_t channels = map[map.rank() - 1];
    for (const std::int64_t channel : layer.channels) {
      if (channel < 0 || channel >= channels) {
        throw JobError(fmt::format("layers: {} has no channel {}: there are 0 to {}", layer.name,
                                   channel, channels - 1));
      }
    }
    const std::int64_t counted = layer.channels.empty() ? channels : std::ssize(layer.channels);
    const double size = static_cast<double>(map.elements() / channels * counted);
    terms.push_back({layer.name, node, -layer.coefficient / size, layer.channels});
  }
  return terms;
}

std::int64_t dream_bytes(const graph::Graph& graph, const DreamOptions& options, bool bf16) {
  constexpr std::int64_t kVectors = 10;  // of the optimizer, beside its pairs of differences
  constexpr std::int64_t kPairs = 10;
  const std::int64_t size = bf16 ? 2 : 4;
  std::int64_t kept = 0;
  std::int64_t largest = 0;
  for (int i = 0; i < graph.size(); ++i) {
    const std::int64_t elements = graph.node(i).shape.elements();
    largest = std::max(largest, elements);
    kept += is_free(graph.node(i).kind) ? 0 : elements;
  }
  std::int64_t looked_at = 0;  // of the largest wanted map the host has a copy, and its gradient
  for (const int output : graph.outputs()) {
    looked_at = std::max(looked_at, graph.node(output).shape.elements());
  }
  const std::int64_t image = graph.node(graph.inputs()[0]).shape.elements();
  const bool lbfgs = options.optimizer.name == DreamOptimizer::Name::kLbfgs;
  const std::int64_t pairs =
      lbfgs ? std::min(kPairs, options.optimizer.max_evaluations) : std::int64_t{0};
  return size * (kept + 3 * largest) + 2 * static_cast<std::int64_t>(sizeof(float)) * looked_at +
         static_cast<std::int64_t>(sizeof(double)) * image * (kVectors + 2 * pairs);
}

double dream_products(const graph::Graph& graph) {
  double products = 0;
  for (int i = 0; i < graph.size(); ++i) {
    const graph::Node& node = graph.node(i);
    if (!node.inputs.empty()) {
      products += static_cast<double>(
          graph::products_of(node.kind, graph.node(node.inputs[0]).shape, node.shape));
    }
  }
  return products;
}

}  // namespace gentrain::trainers
