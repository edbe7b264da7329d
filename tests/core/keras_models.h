// Small models as Keras writes them, made of JSON and arrays: .h5 files through HDF5, .keras
// archives through libzip.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <zip.h>

#include "core/graph/imported.h"
#include "tests/core/keras_fixture.h"

namespace gentrain::keras {

using graph::ImportedArray;
using graph::ImportedModel;
using io::counting;
using nlohmann::json;
using Layers = std::vector<test::KerasFileLayer>;

/// An entry of a list of layers.
inline json layer(const std::string& type, const std::string& name, json attributes = {}) {
  json config = std::move(attributes);
  config["name"] = name;
  return {{"class_name", type}, {"config", config}};
}

/// The same in a functional model of Keras 2, called once with each list of outputs.
inline json called(json entry, const std::vector<json>& calls) {
  entry["name"] = entry["config"]["name"];
  entry["inbound_nodes"] = calls;
  return entry;
}
/// A call of Keras 2: [["a", 0, 0, {}], ...].
inline json of(const std::vector<std::pair<std::string, int>>& outputs) {
  json call = json::array();
  for (const auto& [name, node] : outputs) {
    call.push_back({name, node, 0, json::object()});
  }
  return call;
}
/// A call of Keras 3.
inline json of_tensors(const std::vector<std::pair<std::string, int>>& outputs) {
  json tensors = json::array();
  for (const auto& [name, node] : outputs) {
    tensors.push_back(
        {{"class_name", "__keras_tensor__"}, {"config", {{"keras_history", {name, node, 0}}}}});
  }
  return {{"args", tensors}, {"kwargs", {{"mask", nullptr}}}};
}

inline json input(const std::string& name, const std::vector<int>& sample) {
  json shape = json::array({nullptr});
  for (const int extent : sample) {
    shape.push_back(extent);
  }
  return layer("InputLayer", name, {{"batch_input_shape", shape}});
}

inline json sequential(const std::vector<json>& layers, const std::string& name = "model") {
  return {{"class_name", "Sequential"}, {"config", {{"name", name}, {"layers", layers}}}};
}

inline json functional(const std::vector<json>& layers, const std::vector<std::string>& inputs,
                       const std::vector<std::pair<std::string, int>>& outputs,
                       const std::string& name = "model") {
  json in = json::array();
  for (const std::string& input : inputs) {
    in.push_back({input, 0, 0});
  }
  json out = json::array();
  for (const auto& [layer, node] : outputs) {
    out.push_back({layer, node, 0});
  }
  return {{"class_name", "Functional"},
          {"config",
           {{"name", name}, {"layers", layers}, {"input_layers", in}, {"output_layers", out}}}};
}

/// With the element type that Keras 3 says of each layer.
inline json with_dtypes(json model) {
  for (json& entry : model["config"]["layers"]) {
    entry["config"]["dtype"] = {{"class_name", "DTypePolicy"}, {"config", {{"name", "float32"}}}};
    if (entry["config"].contains("layers")) {
      entry = with_dtypes(entry);
    }
  }
  return model;
}

class KerasModels : public io::KerasFiles {
 protected:
  /// A whole model: its configuration and version at the root.
  void save(const json& model, const Layers& layers = {}, const std::string& version = "2.13.1") {
    save_text(model.dump(), layers, version);
  }
  void save_text(const std::string& config, const Layers& layers, const std::string& version) {
    write(layers, {.group = "model_weights"});
    change([&](hid_t file) {
      set_text(file, "model_config", config);
      set_text(file, "keras_version", version);
    });
  }
  static void set_text(hid_t object, const char* name, const std::string& text) {
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const char* const data = text.c_str();
    EXPECT_GE(H5Awrite(attribute, type, &data), 0);
    H5Aclose(attribute);
    H5Tclose(type);
    H5Sclose(space);
  }
  [[nodiscard]] ImportedModel import() const { return graph::import_keras(path_); }
  [[nodiscard]] ImportedModel import(const json& model, const Layers& layers = {},
                                     const std::string& version = "2.13.1") {
    save(model, layers, version);
    return import();
  }
  /// What is said of a file, behind its name.
  [[nodiscard]] std::string refusal() const {
    return behind_path(test::message_of<IoError>([&] { static_cast<void>(import()); }));
  }
  [[nodiscard]] std::string refusal(const json& model, const Layers& layers = {},
                                    const std::string& version = "2.13.1") {
    save(model, layers, version);
    return refusal();
  }

  /// A zip of these files.
  void zip(const std::vector<std::pair<std::string, std::string>>& files) const {
    std::filesystem::remove(path_);
    zip_t* const archive = zip_open(path_.c_str(), ZIP_CREATE, nullptr);
    for (const auto& [name, content] : files) {
      zip_source_t* const source = zip_source_buffer(archive, content.data(), content.size(), 0);
      EXPECT_GE(zip_file_add(archive, name.c_str(), source, 0), 0);
    }
    EXPECT_EQ(zip_close(archive), 0);
  }
  [[nodiscard]] std::string bytes() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

inline std::vector<std::string> names_of(const graph::Graph& graph) {
  std::vector<std::string> names;
  for (int i = 0; i < graph.size(); ++i) {
    names.push_back(graph.node(i).name);
  }
  return names;
}

inline std::vector<std::string> names_of(const std::vector<graph::ImportedTensor>& tensors) {
  std::vector<std::string> names;
  for (const graph::ImportedTensor& tensor : tensors) {
    names.push_back(tensor.name);
  }
  return names;
}

inline const graph::Node& node_of(const ImportedModel& model, const std::string& name) {
  return model.graph.node(model.graph.index_of(name));
}

/// The kind of a node; a default one, and a failure, if it has another.
template <class Kind>
Kind kind_of(const ImportedModel& model, const std::string& name) {
  const auto* kind = std::get_if<Kind>(&node_of(model, name).kind);
  EXPECT_NE(kind, nullptr) << name;
  return kind == nullptr ? Kind{} : *kind;
}

inline ImportedArray array_of(const ImportedModel& model, const std::string& parameter) {
  for (const ImportedArray& array : model.arrays) {
    if (array.parameter == parameter) {
      return array;
    }
  }
  ADD_FAILURE() << "no array " << parameter;
  return {};
}

}  // namespace gentrain::keras
