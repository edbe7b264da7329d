// Which part of a file's graph is trained, what stands behind it, and its JSON.
#include "trainers/models/imported.h"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/graph/graph_json.h"
#include "core/graph/node_parameters.h"
#include "core/pattern.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

using Top = ImportedOptions::Top;

std::string text_of(const graph::Graph& graph, const std::vector<graph::ImportedTensor>& tensors) {
  std::vector<std::string> texts;
  texts.reserve(tensors.size());
  for (const graph::ImportedTensor& tensor : tensors) {
    texts.push_back(fmt::format("{} {}", tensor.name, graph.node(tensor.node).shape.str()));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

/// The image that a file's network takes. Throws JobError.
PictureAxes picture_in(const std::string& file, const graph::ImportedModel& model) {
  if (model.inputs.size() != 1) {
    throw JobError(
        fmt::format("model.file: {} has {} inputs ({}), but a classifier takes one image", file,
                    model.inputs.size(), text_of(model.graph, model.inputs)));
  }
  const auto picture = picture_axes(model.graph.node(model.inputs[0].node).shape);
  if (!picture) {
    throw JobError(
        fmt::format("model.file: {} takes {}, but a classifier takes an image of 1 or 3 channels",
                    file, text_of(model.graph, model.inputs)));
  }
  return *picture;
}

void check_image(const std::string& file, const Shape& takes, const Shape& image) {
  if (image != takes) {
    throw JobError(fmt::format(
        "model.file: {} takes images {}, but the data has {}: set data.size to [{}, {}] and "
        "data.channels to {}",
        file, takes.str(), image.str(), takes[0], takes[1], takes[2]));
  }
}

/// A name that neither a node nor parameters of the graph have.
std::string unique(const graph::Graph& graph, std::string name) {
  const auto taken = [&graph](const std::string& of) {
    for (int i = 0; i < graph.size(); ++i) {
      if (graph.node(i).name == of || graph.node(i).parameters == of) {
        return true;
      }
    }
    return false;
  };
  while (taken(name)) {
    name += '_';
  }
  return name;
}

/// The file's names of nodes whose own names are others.
std::unordered_map<int, std::string> layer_names(const graph::ImportedModel& model) {
  std::unordered_map<int, std::string> names;
  std::set<std::string> used;
  for (const graph::ImportedTensor& layer : model.layers) {
    if (model.graph.find(layer.name) < 0 && !names.contains(layer.node) &&
        used.insert(layer.name).second) {
      names.emplace(layer.node, layer.name);
    }
  }
  return names;
}

/// What parameters are called of nodes of a file: names that arrays of gentrain's files can have,
/// which "/conv1/Conv_output_0" cannot.
class ParameterNames {
 public:
  explicit ParameterNames(const graph::Graph& whole) : whole_(whole) {}

  /// Of nodes whose parameters the file calls `original`.
  const std::string& add(const std::string& original) {
    const auto found = names_.find(original);
    if (found != names_.end()) {
      return found->second;
    }
    std::string name = cleaned(original);
    while (used_.contains(name) || (name != original && whole_.find(name) >= 0)) {
      name += '_';
    }
    used_.insert(name);
    return names_.emplace(original, std::move(name)).first->second;
  }

  /// Gives arrays their new names; those of no node that was added go.
  void rename(std::vector<graph::ImportedArray>& arrays) const {
    std::erase_if(arrays, [this](graph::ImportedArray& array) {
      const std::size_t slash = array.parameter.rfind('/');
      const auto found = names_.find(array.parameter.substr(0, slash));
      if (found != names_.end()) {
        array.parameter = found->second + array.parameter.substr(slash);
      }
      return found == names_.end();
    });
  }

 private:
  /// Words between single slashes, none of them the name of an array itself, and room for what
  /// checkpoints put before and behind.
  static std::string cleaned(const std::string& original) {
    constexpr std::size_t kMost = 180;
    static const std::set<std::string> kArrays = {"weight",       "bias",        "gamma", "beta",
                                                  "running_mean", "running_var", "alpha", "value"};
    std::string name;
    for (std::size_t begin = 0; begin <= original.size();) {
      const std::size_t end = std::min(original.find('/', begin), original.size());
      std::string word = original.substr(begin, end - begin);
      begin = end + 1;
      if (word.empty()) {
        continue;
      }
      if (word == "." || kArrays.contains(word)) {
        word += '_';
      }
      name += (name.empty() ? "" : "/") + word;
    }
    if (name.size() > kMost) {
      name = "_" + name.substr(name.size() - kMost);
    }
    return name.empty() ? "_" : name;
  }

  const graph::Graph& whole_;
  std::unordered_map<std::string, std::string> names_;  // by the file's
  std::set<std::string> used_;
};

/// What `target` needs of the file's graph, itself last; images come in as [h, w, c].
graph::Graph part_for(const graph::ImportedModel& model, const PictureAxes& picture, int target,
                      ParameterNames& parameters) {
  const graph::Graph& whole = model.graph;
  const std::vector<bool> needed = graph::needed_for(whole, {&target, 1});
  const std::unordered_map<int, std::string> names = layer_names(model);
  std::vector<int> places(static_cast<std::size_t>(whole.size()), -1);
  graph::Graph part;
  for (int i = 0; i < whole.size(); ++i) {
    if (!needed[static_cast<std::size_t>(i)]) {
      continue;
    }
    const graph::Node& node = whole.node(i);
    const auto found = names.find(i);
    const std::string& name = found == names.end() ? node.name : found->second;
    int& place = places[static_cast<std::size_t>(i)];
    if (i == model.inputs[0].node && picture.order == ChannelOrder::kFirst) {
      const int input = part.add(unique(whole, "image"), graph::Input{picture.image});
      place = part.add(name, graph::Permute{{2, 0, 1}}, {input});
      continue;
    }
    std::vector<int> inputs;
    inputs.reserve(node.inputs.size());
    for (const int input : node.inputs) {
      inputs.push_back(places[static_cast<std::size_t>(input)]);
    }
    const bool has_parameters = !graph::parameters_of(whole, node).empty();
    place = part.add(name, node.kind, std::move(inputs),
                     has_parameters ? parameters.add(node.parameters) : node.parameters);
  }
  return part;
}

/// The file's only output. Throws JobError.
const graph::ImportedTensor& output_of(const std::string& file, const graph::ImportedModel& model,
                                       Top top) {
  if (model.outputs.size() != 1) {
    throw JobError(fmt::format("model.file: {} has {} outputs ({}), but a classifier has one: {}",
                               file, model.outputs.size(), text_of(model.graph, model.outputs),
                               top == Top::kHead
                                   ? "say in model.layer what the head stands behind"
                                   : "model.top head puts a new one behind model.layer"));
  }
  return model.outputs[0];
}

bool is_sigmoid(const graph::NodeKind& kind) {
  return std::visit(
      graph::Overloaded{
          [](const graph::Activate& node) { return node.activation == Activation::kSigmoid; },
          [](const graph::Dense& node) { return node.activation == Activation::kSigmoid; },
          [](const graph::Convolution& node) { return node.activation == Activation::kSigmoid; },
          [](const graph::Pointwise& node) {
            return node.rule.function == PointwiseFunction::kHardSigmoid;
          },
          [](const auto& /*node*/) { return false; }},
      kind);
}

/// The file's own output as that of a classifier. Throws JobError.
int original_output(const std::string& file, const graph::ImportedModel& model,
                    std::int64_t classes) {
  const graph::ImportedTensor& output = output_of(file, model, Top::kOriginal);
  const graph::Node& logits = model.graph.node(graph::before_softmax(model.graph, output.node));
  if (logits.shape != Shape{classes}) {
    throw JobError(fmt::format(
        "model.file: {}: its output {} gives {}, but the data has {} classes: model.top head puts "
        "a new output behind model.layer",
        file, output.name, logits.shape.str(), classes));
  }
  if (is_sigmoid(logits.kind)) {
    throw JobError(fmt::format(
        "model.file: {}: its output {} is a sigmoid of each class for itself, but a classifier is "
        "trained by the softmax over all: model.top head puts a new output behind model.layer",
        file, output.name));
  }
  return output.node;
}

/// What the head stands behind. Throws JobError.
graph::ImportedTensor below_head(const ImportedOptions& options,
                                 const graph::ImportedModel& model) {
  if (options.layer.empty()) {
    const graph::ImportedTensor& output = output_of(options.file, model, Top::kHead);
    if (graph::before_softmax(model.graph, output.node) != output.node) {
      throw JobError(fmt::format(
          "model.layer is missing: the output {} of {} is probabilities, behind which no head "
          "learns well: name a layer before it",
          output.name, options.file));
    }
    return output;
  }
  const auto found = std::ranges::find(model.layers, options.layer, &graph::ImportedTensor::name);
  if (found == model.layers.end()) {
    std::vector<std::string> known;
    std::ranges::transform(model.layers, std::back_inserter(known), &graph::ImportedTensor::name);
    throw JobError(fmt::format("model.layer: {} has no layer '{}' (known: {})", options.file,
                               options.layer, listed_near(options.layer, std::move(known))));
  }
  return *found;
}

/// Which axis of each node the channels are, as far as the nodes before it tell; else -1. Windows
/// have them last, whatever the file's order is.
std::vector<int> channel_axes(const graph::Graph& graph) {
  std::vector<int> axes;
  for (int i = 0; i < graph.size(); ++i) {
    const graph::Node& node = graph.node(i);
    const auto kept = [&] {
      for (const int input : node.inputs) {
        const int axis = axes[static_cast<std::size_t>(input)];
        if (axis >= 0 && graph.node(input).shape.rank() == node.shape.rank()) {
          return axis;
        }
      }
      return -1;
    };
    axes.push_back(
        std::visit(graph::Overloaded{[](const graph::Input& /*node*/) { return 2; },
                                     [](const graph::Convolution& /*node*/) { return 2; },
                                     [](const graph::TransposedConvolution& /*node*/) { return 2; },
                                     [](const graph::Pooling& /*node*/) { return 2; },
                                     [](const graph::Reshape& /*node*/) { return -1; },
                                     [&](const graph::Permute& permute) {
                                       const auto found = std::ranges::find(permute.axes, kept());
                                       return found == permute.axes.end()
                                                  ? -1
                                                  : static_cast<int>(found - permute.axes.begin());
                                     },
                                     [&](const auto& /*node*/) { return kept(); }},
                   node.kind));
  }
  return axes;
}

/// Which axis of the last node, maps, the channels are. Where no node tells, the maps have the
/// order of the file's images; [h, w, c] of a file's [c, h, w] is what the import made of images.
int channel_axis(const graph::Graph& graph, const graph::ImportedTensor& below,
                 const graph::ImportedTensor& image, const PictureAxes& picture) {
  const int known = channel_axes(graph).back();
  if (known >= 0 || below.axes == std::vector<int>{1, 2, 0}) {
    return known >= 0 ? known : 2;
  }
  const std::size_t of_image = picture.order == ChannelOrder::kFirst ? 0 : 2;
  const auto found = std::ranges::find(below.axes, image.axes[of_image]);
  return found == below.axes.end() ? 2 : static_cast<int>(found - below.axes.begin());
}

/// Adds the head behind the last node; `channels`: which axis they are, if that node gives maps.
void add_head(graph::Graph& graph, const ModelOptions& model, const graph::ImportedTensor& below,
              int channels, std::int64_t classes) {
  int x = graph.size() - 1;
  const Shape shape = graph.node(x).shape;
  if (shape.rank() != 1 && shape.rank() != 3) {
    throw JobError(fmt::format(
        "model.layer: {} of {} gives {}, but a head stands behind maps [h, w, c] or a row of "
        "numbers",
        below.name, model.imported.file, shape.str()));
  }
  if (shape.rank() == 3) {
    if (channels != 2) {
      x = graph.add(
          unique(graph, "head_maps"),
          graph::Permute{channels == 0 ? std::vector<int>{1, 2, 0} : std::vector<int>{0, 2, 1}},
          {x});
    }
    x = graph.add(unique(graph, "global_average_pooling"), graph::GlobalPooling{}, {x});
  }
  if (model.pretrained.hidden > 0) {
    x = graph.add(unique(graph, "head_dense"),
                  graph::Dense{.out = model.pretrained.hidden, .activation = Activation::kRelu},
                  {x});
  }
  graph.add(unique(graph, "head_logits"), graph::Dense{.out = classes}, {x});
}

graph::Graph classifier_graph(const ModelOptions& options, const graph::ImportedModel& model,
                              const PictureAxes& picture, std::int64_t classes,
                              ParameterNames& parameters) {
  const std::string& file = options.imported.file;
  if (!model.training_only.empty()) {
    throw JobError(fmt::format(
        "model.file: {}: {} act in training alone, and are not computed here: train a copy of the "
        "model without them",
        file, fmt::join(model.training_only, ", ")));
  }
  const bool head = options.imported.top == Top::kHead;
  const graph::ImportedTensor below =
      head ? below_head(options.imported, model) : graph::ImportedTensor{};
  const int target = head ? below.node : original_output(file, model, classes);
  graph::Graph graph = part_for(model, picture, target, parameters);
  if (graph.inputs().empty()) {
    throw JobError(fmt::format("model.file: {}: what is trained does not depend on its input {}",
                               file, model.inputs[0].name));
  }
  if (head) {
    const int channels = channel_axis(graph, below, model.inputs[0], picture);
    add_head(graph, options, below, channels, classes);
  }
  return graph;
}

/// The graph of ImportedOptions::network, of one image. Throws JobError.
graph::Graph stored_graph(const ImportedOptions& options) {
  try {
    graph::Graph graph = graph::graph_from_json(nlohmann::json::parse(options.network).at("graph"));
    if (graph.inputs().size() != 1 || graph.node(graph.inputs()[0]).shape.rank() != 3) {
      throw JobError("the model's graph does not take one image [h, w, c]");
    }
    return graph;
  } catch (const IoError& error) {
    throw JobError(fmt::format("the model's graph: {}", error.what()));
  } catch (const nlohmann::json::exception& error) {
    throw JobError(fmt::format("the model's graph cannot be read: {}", error.what()));
  }
}

std::unique_ptr<GraphNetwork> network_of(graph::Graph graph, const ModelOptions& model,
                                         const InitOptions& init, std::int64_t outputs,
                                         ParameterSet& parameters) {
  auto network = std::make_unique<GraphNetwork>(
      std::move(graph), Initializer{init.name, init.stddev},
      graph::ExecutorOptions{.batch_statistics = model.pretrained.batch_statistics}, outputs,
      parameters);
  network->take_signed(model.imported.preprocess);
  return network;
}

}  // namespace

std::unique_ptr<GraphNetwork> make_imported(const ModelOptions& model, const InitOptions& init,
                                            const Shape& image, std::int64_t outputs,
                                            ParameterSet& parameters) {
  const ImportedOptions& options = model.imported;
  if (!options.network.empty()) {
    graph::Graph graph = stored_graph(options);
    check_image(options.file, graph.node(graph.inputs()[0]).shape, image);
    return network_of(std::move(graph), model, init, outputs, parameters);
  }
  graph::ImportedModel file = graph::import_model(options.file);
  const PictureAxes picture = picture_in(options.file, file);
  check_image(options.file, picture.image, image);
  ParameterNames names(file.graph);
  graph::Graph graph = classifier_graph(model, file, picture, outputs, names);
  names.rename(file.arrays);
  auto network = network_of(std::move(graph), model, init, outputs, parameters);
  network->set_file(
      {options.file, std::move(file.sha256), std::move(file.writer), std::move(file.arrays)});
  return network;
}

Shape picture_of(const ImportedOptions& options) {
  if (options.network.empty()) {
    return picture_in(options.file, graph::import_model(options.file)).image;
  }
  const graph::Graph graph = stored_graph(options);
  return graph.node(graph.inputs()[0]).shape;
}

ModelOptions self_contained(const ModelOptions& model, const Network* network) {
  ModelOptions whole = model;
  const auto* const graph = dynamic_cast<const GraphNetwork*>(network);
  if (is_imported(model) && model.imported.network.empty() && graph != nullptr) {
    const ImportedFile& file = *graph->file();
    whole.imported.network = nlohmann::json{{"file", file.path},
                                            {"sha256", file.sha256},
                                            {"writer", file.writer},
                                            {"preprocess", name_of(model.imported.preprocess)},
                                            {"batch_statistics", model.pretrained.batch_statistics},
                                            {"graph", graph::to_json(graph->executor().graph())}}
                                 .dump();
  }
  return whole;
}

nlohmann::json imported_json(const ImportedOptions& options) {
  return options.network.empty() ? nlohmann::json{{"file", options.file}}
                                 : nlohmann::json::parse(options.network);
}

ModelOptions imported_from(const nlohmann::json& json) {
  ModelOptions model;
  const auto preprocess = json.at("preprocess").get<std::string>();
  const auto* const found = std::ranges::find(kPreprocessingNames, preprocess);
  if (found == kPreprocessingNames.end()) {
    throw JobError(fmt::format("the model has a preprocessing '{}' that this version does not know",
                               preprocess));
  }
  model.imported.file = json.at("file").get<std::string>();
  model.imported.preprocess = static_cast<Preprocessing>(found - kPreprocessingNames.begin());
  model.imported.network = json.dump();
  model.pretrained.batch_statistics = json.at("batch_statistics").get<bool>();
  return model;
}

}  // namespace gentrain::trainers
