// export_keras: the list of layers, and the nodes one after the other.
#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "core/keras/export_layers.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

using graph::ExportedModel;
using graph::ImportedTensor;

/// The last version of Keras 2: what both generations read.
constexpr const char* kKerasVersion = "2.15.0";

/// Letters, digits, points, dashes and underscores, the first a letter or a digit.
std::string plain(const std::string& name) {
  std::string result;
  for (const char letter : name) {
    const bool fits = std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '.' ||
                      letter == '-' || letter == '_';
    result += fits ? letter : '_';
  }
  if (result.empty() || std::isalnum(static_cast<unsigned char>(result[0])) == 0) {
    result.insert(0, "layer_");
  }
  return result;
}

json counted_from_one(const std::vector<int>& axes) {
  json dims = json::array();
  for (const int axis : axes) {
    dims.push_back(axis + 1);
  }
  return dims;
}

class ModelExport {
 public:
  explicit ModelExport(const ExportedModel& model)
      : model_(model), outputs_(static_cast<std::size_t>(model.graph->size())) {}

  io::KerasModelFile run() {
    for (const ImportedTensor& tensor : model_.inputs) {
      add_input(tensor);
    }
    add_nodes();
    std::vector<LayerOutput> results;
    for (const ImportedTensor& tensor : model_.outputs) {
      results.push_back(result(tensor));
    }
    io::KerasModelFile file;
    file.keras_version = kKerasVersion;
    file.backend = "tensorflow";
    file.model_config = layers_.model(plain(model_.name), inputs_, results).dump();
    file.layers = layers_.take_layers(results);
    return file;
  }

 private:
  std::optional<LayerOutput>& output(int node) { return outputs_[static_cast<std::size_t>(node)]; }

  void add_input(const ImportedTensor& tensor) {
    const Shape& shape = model_.graph->node(tensor.node).shape;
    json extents = json::array({nullptr});
    for (const int axis : graph::inverse(tensor.axes)) {
      extents.push_back(shape[axis]);
    }
    const LayerOutput given = layers_.add(
        tensor.name, "InputLayer",
        {{"batch_input_shape", std::move(extents)}, {"sparse", false}, {"ragged", false}}, {});
    inputs_.push_back(given);
    output(tensor.node) = graph::keeps_order(tensor.axes)
                              ? given
                              : layers_.add(tensor.name + "_permuted", "Permute",
                                            {{"dims", counted_from_one(tensor.axes)}}, {given});
  }

  void add_nodes() {
    std::vector<int> wanted;
    for (const ImportedTensor& tensor : model_.outputs) {
      wanted.push_back(tensor.node);
    }
    const std::vector<bool> needed = graph::needed_for(*model_.graph, wanted);
    const std::vector<bool> dependent = graph::dependent_on_inputs(*model_.graph);
    for (int i = 0; i < model_.graph->size(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (!needed[at] || !dependent[at] || output(i)) {
        continue;
      }
      const graph::Node& node = model_.graph->node(i);
      try {
        output(i) = std::visit(NodeExport(model_, layers_, outputs_, i), node.kind);
      } catch (const JobError& error) {
        throw JobError(fmt::format("{} ({}) cannot be exported to Keras: {}", node.name,
                                   graph::name_of(node.kind), error.what()));
      }
    }
  }

  LayerOutput result(const ImportedTensor& tensor) {
    const std::optional<LayerOutput>& of = output(tensor.node);
    if (!of) {
      throw JobError(fmt::format("output {} cannot be exported to Keras: it depends on no input",
                                 tensor.name));
    }
    if (graph::keeps_order(tensor.axes)) {
      return *of;
    }
    return layers_.add(tensor.name + "_permuted", "Permute",
                       {{"dims", counted_from_one(graph::inverse(tensor.axes))}}, {*of});
  }

  const ExportedModel& model_;
  LayerList layers_;
  std::vector<std::optional<LayerOutput>> outputs_;  // by node
  std::vector<LayerOutput> inputs_;
};

}  // namespace

std::string LayerList::unique(const std::string& name) {
  const std::string wanted = plain(name);
  std::string candidate = wanted;
  for (int i = 1; !taken_.insert(candidate).second; ++i) {
    candidate = fmt::format("{}_{}", wanted, i);
  }
  return candidate;
}

LayerOutput LayerList::add(const std::string& name, const char* type, json config,
                           const std::vector<LayerOutput>& inputs,
                           std::vector<io::KerasModelArray> arrays) {
  layers_.push_back({unique(name), type, std::move(config), {inputs}, std::move(arrays)});
  return {layers_.size() - 1, 0};
}

LayerOutput LayerList::add_shared(const std::string& key, const char* type, json config,
                                  const std::vector<LayerOutput>& inputs,
                                  std::vector<io::KerasModelArray> arrays) {
  for (const std::size_t index : shared_[key]) {
    Layer& layer = layers_[index];
    if (layer.config == config) {
      layer.calls.push_back(inputs);
      return {index, layer.calls.size() - 1};
    }
  }
  shared_[key].push_back(layers_.size());
  return add(key, type, std::move(config), inputs, std::move(arrays));
}

json LayerList::reference(const LayerOutput& output) const {
  return {layers_[output.layer].name, output.call, 0};
}

json LayerList::model(const std::string& name, const std::vector<LayerOutput>& inputs,
                      const std::vector<LayerOutput>& outputs) const {
  json list = json::array();
  for (const Layer& layer : layers_) {
    json calls = json::array();
    for (const std::vector<LayerOutput>& call : layer.calls) {
      json sources = json::array();
      for (const LayerOutput& source : call) {
        sources.push_back(reference(source));
        sources.back().push_back(json::object());
      }
      if (!sources.empty()) {
        calls.push_back(std::move(sources));
      }
    }
    json config = layer.config;
    config["name"] = layer.name;
    config["dtype"] = "float32";
    if (std::string_view(layer.type) != "InputLayer") {
      config["trainable"] = true;
    }
    list.push_back({{"class_name", layer.type},
                    {"config", std::move(config)},
                    {"name", layer.name},
                    {"inbound_nodes", std::move(calls)}});
  }
  const auto references = [&](const std::vector<LayerOutput>& all) {
    json result = json::array();
    for (const LayerOutput& one : all) {
      result.push_back(reference(one));
    }
    return result;
  };
  return {{"class_name", "Functional"},
          {"config",
           {{"name", name},
            {"trainable", true},
            {"layers", std::move(list)},
            {"input_layers", references(inputs)},
            {"output_layers", references(outputs)}}}};
}

std::vector<io::KerasModelLayer> LayerList::take_layers(const std::vector<LayerOutput>& outputs) {
  LayerCalls calls;
  for (const Layer& layer : layers_) {
    calls.push_back(layer.calls);
  }
  std::vector<io::KerasModelLayer> result;
  for (const std::size_t index : keras_order(calls, outputs)) {
    Layer& layer = layers_[index];
    for (io::KerasModelArray& array : layer.arrays) {
      array.name = fmt::format("{}/{}:0", layer.name, array.name);
    }
    result.push_back({layer.name, std::move(layer.arrays)});
  }
  return result;
}

}  // namespace gentrain::keras

namespace gentrain::graph {

void export_keras(const ExportedModel& model, const std::filesystem::path& path) {
  need_own_samples(model);
  io::write_keras_model(path, keras::ModelExport(model).run());
}

}  // namespace gentrain::graph
