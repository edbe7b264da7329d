// Sequential and functional models, bare lists and objects, old and new forms of calls: all become
// layers whose calls take outputs of calls.
#include "core/keras/model_config.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "core/keras/place.h"
#include "core/keras/references.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

constexpr int kMostNested = 200;             // brackets of JSON within each other
constexpr std::size_t kMostLayers = 100000;  // of a model

constexpr std::array<std::string_view, 10> kLayerKeys = {
    "class_name",      "config",       "name",           "inbound_nodes",    "module",
    "registered_name", "build_config", "compile_config", "shared_object_id", "trainable"};
constexpr std::array<std::string_view, 8> kModelKeys = {"name",
                                                        "trainable",
                                                        "dtype",
                                                        "layers",
                                                        "input_layers",
                                                        "output_layers",
                                                        "build_input_shape",
                                                        "batch_input_shape"};

void check_keys(const json& object, std::span<const std::string_view> known, const char* what) {
  for (const auto& [key, value] : object.items()) {
    if (std::ranges::find(known, key) == known.end()) {
      throw IoError(fmt::format("{} {} = {} is not known", what, key, shown(value)));
    }
  }
}

/// The text of a key, "" if there is none.
std::string text_at(const json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || object[key].is_null()) {
    return "";
  }
  if (!object[key].is_string()) {
    throw IoError(fmt::format("{} is {}: a text is needed", key, shown(object[key])));
  }
  return object[key].get<std::string>();
}

std::string name_in(const json& object) {
  const std::string outer = text_at(object, "name");
  const std::string inner = text_at(object["config"], "name");
  if (!outer.empty() && !inner.empty() && outer != inner) {
    throw IoError(fmt::format("its config calls it {}", inner));
  }
  return outer.empty() ? inner : outer;
}

/// Classes that somebody registered, or that are in no module of Keras, are not what their name
/// says.
void check_class(const json& object, const std::string& type) {
  const std::string registered = text_at(object, "registered_name");
  const std::string module = text_at(object, "module");
  const bool ours = module.empty() || module.starts_with("keras") ||
                    module.starts_with("tf_keras") || module.starts_with("tensorflow");
  if (!ours || (!registered.empty() && registered != type)) {
    throw IoError(fmt::format("its class {} is no layer of Keras but a custom one ({})", type,
                              registered.empty() ? module : registered));
  }
}

/// A policy is a text, or an object with its name. Images may be given as bytes.
void check_dtype(const json& config, const std::string& type) {
  for (const char* key : {"dtype", "input_dtype"}) {
    if (!config.is_object() || !config.contains(key) || config[key].is_null()) {
      continue;
    }
    const json& value = config[key];
    const json policy = value.is_object() && value.contains("config") && value["config"].is_object()
                            ? value["config"].value("name", json())
                            : value;
    const bool bytes = type == "InputLayer" && policy == "uint8";
    if (policy != "float32" && !bytes) {
      throw IoError(fmt::format("its {} is {}; only float32 is supported", key, shown(policy)));
    }
  }
}

Layer read_layer(const json& object, const Version& version) {
  if (!object.is_object() || text_at(object, "class_name").empty() || !object.contains("config")) {
    throw IoError(fmt::format("{} is no layer: class_name and config are needed", shown(object)));
  }
  Layer layer;
  layer.type = text_at(object, "class_name");
  check_keys(object, kLayerKeys, "the entry");
  check_class(object, layer.type);
  layer.name = name_in(object);
  const json& config = object["config"];
  check_dtype(config, layer.type);
  if (config.is_object() && config.contains("trainable")) {
    layer.trainable = config["trainable"] != false;
  }
  if (is_model(layer.type)) {
    layer.model = std::make_unique<Model>(read_model(object, version));
    return layer;
  }
  if (layer.name.empty()) {
    throw IoError("a layer without a name");
  }
  if (version.major >= kNewKeras && !layer.is_input() &&
      (!config.is_object() || !config.contains("dtype"))) {
    throw IoError(fmt::format(
        "{} is an operation of Keras 3 between layers, not a layer; these are not supported",
        layer.type));
  }
  layer.config = config;
  return layer;
}

/// What a message calls an entry of the list.
std::string place_of(const json& entry, std::size_t index) {
  std::string name;
  if (entry.is_object() && entry.contains("config")) {
    const json& config = entry["config"];
    for (const json* holder : {&entry, &config}) {
      if (name.empty() && holder->is_object() && holder->contains("name") &&
          (*holder)["name"].is_string()) {
        name = (*holder)["name"].get<std::string>();
      }
    }
  }
  return name.empty() ? fmt::format("layer {} of the list", index) : "layer " + name;
}

const json& layers_of(const json& config) {
  const json& list = config.is_array() || !config.contains("layers") ? config : config["layers"];
  if (!list.is_array() || list.empty() || list.size() > kMostLayers) {
    throw IoError(
        fmt::format("its layers are {}: a list of 1 to {} is needed", shown(list), kMostLayers));
  }
  return list;
}

// ---- sequential -------------------------------------------------------------------------------

/// The shape that is said of what the first layer takes, null if none is.
json first_shape(const Layer& first) {
  if (first.model) {
    const Model& model = *first.model;
    const Layer& input = model.layers[static_cast<std::size_t>(model.inputs[0])];
    return first_shape(input);
  }
  for (const char* key : {"batch_input_shape", "batch_shape"}) {
    if (first.config.is_object() && first.config.contains(key)) {
      return first.config[key];
    }
  }
  return nullptr;
}

json built_shape(const json& object, const json& config) {
  if (config.is_object() && config.contains("build_input_shape")) {
    return config["build_input_shape"];
  }
  if (object.contains("build_config") && object["build_config"].is_object()) {
    return object["build_config"].value("input_shape", json());
  }
  return nullptr;
}

void connect_sequential(Model& model, const json& object, const json& config) {
  if (!model.layers[0].is_input()) {
    json shape = first_shape(model.layers[0]);
    model.knows_shape = !shape.is_null();
    if (shape.is_null()) {
      shape = built_shape(object, config);
    }
    Layer input;
    input.name = (model.layers[0].name.empty() ? "sequential" : model.layers[0].name) + "_input";
    input.type = "InputLayer";
    input.config = {{"batch_shape", shape}};
    model.layers.insert(model.layers.begin(), std::move(input));
  }
  model.layers[0].calls = {{}};
  for (std::size_t i = 1; i < model.layers.size(); ++i) {
    Layer& layer = model.layers[i];
    if (layer.is_input()) {
      throw IoError(fmt::format("layer {} is an input behind other layers", layer.name));
    }
    if (layer.model && (layer.model->inputs.size() != 1 || layer.model->outputs.size() != 1)) {
      throw IoError(
          fmt::format("layer {} has {} inputs and {} outputs: in a sequential model "
                      "each has one",
                      layer.name, layer.model->inputs.size(), layer.model->outputs.size()));
    }
    layer.calls = {{Source{static_cast<int>(i) - 1, 0, 0}}};
  }
  model.inputs = {0};
  model.outputs = {{static_cast<int>(model.layers.size()) - 1, 0, 0}};
}

// ---- functional -------------------------------------------------------------------------------

using Indices = std::map<std::string, int, std::less<>>;

/// Which call a node's number means. Of models Keras 1 and 2 count the one that made them first;
/// Keras 3 does so in its lists of outputs alone, and not of sequential ones.
std::int64_t call_of(const Layer& layer, std::int64_t node, bool in_list, const Version& version) {
  std::int64_t first = 0;
  if (layer.model) {
    first = version.major >= kNewKeras ? (in_list && layer.model->functional ? 1 : 0)
                                       : (layer.model->knows_shape ? 1 : 0);
    if (layer.calls.size() == 1 && node <= 1) {
      return 0;
    }
  }
  return node - first;
}

Source resolve(const Reference& reference, const Model& model, const Indices& indices, bool in_list,
               const Version& version) {
  const auto found = indices.find(reference.layer);
  if (found == indices.end()) {
    throw IoError(fmt::format("there is no layer {}, whose output is taken", reference.layer));
  }
  const Layer& layer = model.layers[static_cast<std::size_t>(found->second)];
  const std::int64_t call = call_of(layer, reference.node, in_list, version);
  if (call < 0 || call >= static_cast<std::int64_t>(layer.calls.size())) {
    throw IoError(fmt::format("node {} of layer {} is taken, which is called {} times",
                              reference.node, reference.layer, layer.calls.size()));
  }
  const auto outputs = static_cast<std::int64_t>(layer.model ? layer.model->outputs.size() : 1);
  if (reference.tensor >= outputs) {
    throw IoError(fmt::format("output {} of layer {} is taken, which has {}", reference.tensor,
                              reference.layer, outputs));
  }
  return {found->second, static_cast<int>(call), static_cast<int>(reference.tensor)};
}

const json& need_key(const json& object, const char* key) {
  if (!object.is_object() || !object.contains(key)) {
    throw IoError(fmt::format("it has no {}", key));
  }
  return object[key];
}

/// Calls of all layers by name; the layers get as many calls.
std::vector<std::vector<std::vector<Reference>>> list_calls(Model& model, const json& list) {
  std::vector<std::vector<std::vector<Reference>>> calls;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    Layer& layer = model.layers[i];
    calls.push_back(
        at("layer " + layer.name, [&] { return read_calls(need_key(list[i], "inbound_nodes")); }));
    if (layer.is_input() && !calls.back().empty()) {
      throw IoError(fmt::format("layer {} is an input that takes something", layer.name));
    }
    layer.calls.resize(layer.is_input() ? 1 : calls.back().size());
  }
  return calls;
}

void connect_inputs(Model& model, const json& config, const Indices& indices,
                    const Version& version) {
  for (const Reference& reference : read_references(need_key(config, "input_layers"))) {
    const int layer = resolve(reference, model, indices, true, version).layer;
    if (!model.layers[static_cast<std::size_t>(layer)].is_input()) {
      throw IoError(fmt::format("layer {} is no InputLayer", reference.layer));
    }
    if (std::ranges::find(model.inputs, layer) != model.inputs.end()) {
      throw IoError(fmt::format("layer {} is there twice", reference.layer));
    }
    model.inputs.push_back(layer);
  }
}

void connect_functional(Model& model, const json& config, const Version& version) {
  Indices indices;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    indices.emplace(model.layers[i].name, static_cast<int>(i));
  }
  const auto calls = list_calls(model, config["layers"]);
  const auto connect_layer = [&](std::size_t i) {
    for (std::size_t call = 0; call < calls[i].size(); ++call) {
      for (const Reference& reference : calls[i][call]) {
        model.layers[i].calls[call].push_back(resolve(reference, model, indices, false, version));
      }
    }
  };
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    at("layer " + model.layers[i].name, [&] { connect_layer(i); });
  }
  at("input_layers", [&] { connect_inputs(model, config, indices, version); });
  at("output_layers", [&] {
    for (const Reference& reference : read_references(need_key(config, "output_layers"))) {
      model.outputs.push_back(resolve(reference, model, indices, true, version));
    }
  });
  if (model.inputs.empty() || model.outputs.empty()) {
    throw IoError("a model without an input or without an output");
  }
}

/// Every InputLayer must be one of the inputs.
void check_inputs(const Model& model) {
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    if (model.layers[i].is_input() &&
        std::ranges::find(model.inputs, static_cast<int>(i)) == model.inputs.end()) {
      throw IoError(
          fmt::format("layer {} is an input that is not among input_layers", model.layers[i].name));
    }
  }
}

}  // namespace

bool is_model(const std::string& type) {
  return type == "Sequential" || type == "Functional" || type == "Model";
}

std::vector<std::int64_t> sample_extents(const json& shape) {
  std::vector<std::int64_t> extents;
  if (shape.is_null()) {
    return extents;
  }
  const json* list = &shape;
  if (shape.is_array() && shape.size() == 1 && shape[0].is_array()) {
    list = &shape[0];  // Keras 2 wrote shapes of inputs so for a while
  }
  constexpr std::size_t kMostExtents = 5;
  if (!list->is_array() || list->size() < 2 || list->size() > kMostExtents) {
    throw IoError(fmt::format("its shape is {}: the samples' axis and 1 to {} extents are needed",
                              shown(shape), kMostExtents - 1));
  }
  for (std::size_t i = 1; i < list->size(); ++i) {
    extents.push_back((*list)[i].is_null() ? -1 : to_integer((*list)[i], "an extent", 1));
  }
  return extents;
}

Model read_model(const json& object, const Version& version) {
  const std::string type = text_at(object, "class_name");
  if (!is_model(type) || !object.contains("config")) {
    throw IoError(
        fmt::format("it holds {}; models of the classes Sequential, Functional and Model are known",
                    type.empty() ? shown(object) : "a model of the class " + type));
  }
  check_class(object, type);
  const json& config = object["config"];
  Model model;
  model.functional = type != "Sequential";
  if (model.functional && !config.is_object()) {
    throw IoError(fmt::format("its config is {}: an object is needed", shown(config)));
  }
  if (config.is_object()) {
    check_keys(config, kModelKeys, "the model's attribute");
    check_dtype(config, type);
    model.name = text_at(config, "name");
  }
  const json& list = layers_of(config);
  std::map<std::string, int, std::less<>> seen;
  for (std::size_t i = 0; i < list.size(); ++i) {
    model.layers.push_back(at(place_of(list[i], i), [&] { return read_layer(list[i], version); }));
    const std::string& name = model.layers.back().name;
    if (!name.empty() && ++seen[name] > 1) {
      throw IoError(fmt::format("two layers are named {}", name));
    }
  }
  if (model.functional) {
    connect_functional(model, config, version);
  } else {
    connect_sequential(model, object, config);
  }
  check_inputs(model);
  return model;
}

json parse_json(const std::string& text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      i += c == '\\' ? 1 : 0;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    }
    if (depth > kMostNested) {
      throw IoError(fmt::format("its JSON is nested more than {} deep", kMostNested));
    }
  }
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    throw IoError(fmt::format("its JSON is damaged: {}", error.what()));
  }
}

}  // namespace gentrain::keras
