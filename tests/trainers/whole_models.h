// A small whole model as Keras writes it: a convolution, a batch norm, a residual block, a softmax.
#pragma once

#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/keras_file.h"

namespace gentrain::trainers {

/// What differs from file to file.
struct WholeModel {
  bool channels_first = false;
  bool permuted = false;  // images have their channels first, and a layer turns them at once
  std::int64_t classes = 2;
  const char* activation = "softmax";  // of the output
  std::vector<std::string> inputs = {"image"};
  std::vector<std::string> outputs = {"out"};
  std::vector<std::int64_t> sample = {12, 10, 3};  // [h, w, c] or another shape
  bool noise = false;                              // a layer that acts in training alone
  double scale = 1;                                // of all weights
  const char* conv = "conv";                       // the name of the first convolution
};

/// Numbers without a pattern that a network could not tell apart.
inline test::KerasFileArray waves(const std::string& name, const Shape& shape, double scale) {
  test::KerasFileArray array{name, shape, {}};
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    array.values.push_back(scale * std::sin(static_cast<double>(3 * i + shape.elements())));
  }
  return array;
}

/// An entry of a functional model's list of layers, called once.
inline nlohmann::json keras_layer(const std::string& type, const std::string& name,
                                  const std::vector<std::string>& from, nlohmann::json config) {
  config["name"] = name;
  nlohmann::json call = nlohmann::json::array();
  for (const std::string& layer : from) {
    call.push_back({layer, 0, 0, nlohmann::json::object()});
  }
  nlohmann::json calls = nlohmann::json::array();
  if (!from.empty()) {
    calls.push_back(call);
  }
  return {{"class_name", type}, {"name", name}, {"config", config}, {"inbound_nodes", calls}};
}

/// The layers image, conv, norm, pool, mixed, sum, avg, out of 4 channels, with or without noise
/// before conv.
inline nlohmann::json whole_model_config(const WholeModel& model) {
  using nlohmann::json;
  std::vector<std::int64_t> sample = model.sample;
  const char* format = model.channels_first ? "channels_first" : "channels_last";
  if (model.channels_first || model.permuted) {
    sample = {sample[2], sample[0], sample[1]};
  }
  json shape = json::array({nullptr});
  for (const std::int64_t extent : sample) {
    shape.push_back(extent);
  }
  json layers = json::array();
  for (const std::string& input : model.inputs) {
    layers.push_back(keras_layer("InputLayer", input, {}, {{"batch_input_shape", shape}}));
  }
  std::vector<std::string> from = {model.inputs[0]};
  if (model.inputs.size() > 1) {
    layers.push_back(keras_layer("Add", "both", model.inputs, json::object()));
    from = {"both"};
  }
  if (model.permuted) {
    layers.push_back(keras_layer("Permute", "turned", from, {{"dims", {2, 3, 1}}}));
    from = {"turned"};
  }
  if (model.noise) {
    layers.push_back(keras_layer("GaussianNoise", "noise", from, {{"stddev", 0.1}}));
    from = {"noise"};
  }
  if (sample.size() == 3) {
    layers.push_back(keras_layer("Conv2D", model.conv, from,
                                 {{"filters", 4},
                                  {"kernel_size", {3, 3}},
                                  {"padding", "same"},
                                  {"activation", "relu"},
                                  {"data_format", format}}));
    layers.push_back(keras_layer("BatchNormalization", "norm", {model.conv},
                                 {{"axis", model.channels_first ? 1 : 3}}));
    layers.push_back(keras_layer("MaxPooling2D", "pool", {"norm"},
                                 {{"pool_size", {2, 2}}, {"data_format", format}}));
    layers.push_back(
        keras_layer("Conv2D", "mixed", {"pool"},
                    {{"filters", 4}, {"kernel_size", {1, 1}}, {"data_format", format}}));
    layers.push_back(keras_layer("Add", "sum", {"pool", "mixed"}, json::object()));
    layers.push_back(
        keras_layer("GlobalAveragePooling2D", "avg", {"sum"}, {{"data_format", format}}));
    from = {"avg"};
  }
  json in = json::array();
  json out = json::array();
  for (const std::string& output : model.outputs) {
    layers.push_back(keras_layer("Dense", output, from,
                                 {{"units", model.classes}, {"activation", model.activation}}));
    out.push_back({output, 0, 0});
  }
  for (const std::string& input : model.inputs) {
    in.push_back({input, 0, 0});
  }
  return {{"class_name", "Functional"},
          {"config",
           {{"name", "small"}, {"layers", layers}, {"input_layers", in}, {"output_layers", out}}}};
}

inline void write_whole_model(const std::filesystem::path& path, const WholeModel& model = {}) {
  std::vector<test::KerasFileLayer> layers;
  const double scale = model.scale;
  std::int64_t width = model.sample.back();
  if (model.sample.size() == 3) {
    layers.push_back({model.conv,
                      {waves("conv/kernel:0", {3, 3, width, 4}, 0.3 * scale),
                       waves("conv/bias:0", {4}, 0.1 * scale)}});
    test::KerasFileArray variance{"norm/moving_variance:0", {4}, {1.5, 0.5, 2, 1}};
    layers.push_back({"norm",
                      {waves("norm/gamma:0", {4}, scale), waves("norm/beta:0", {4}, 0.1 * scale),
                       waves("norm/moving_mean:0", {4}, 0.1 * scale), std::move(variance)}});
    layers.push_back({"mixed",
                      {waves("mixed/kernel:0", {1, 1, 4, 4}, 0.5 * scale),
                       waves("mixed/bias:0", {4}, 0.1 * scale)}});
    width = 4;
  }
  for (const std::string& output : model.outputs) {
    layers.push_back({output,
                      {waves(output + "/kernel:0", {width, model.classes}, scale),
                       waves(output + "/bias:0", {model.classes}, 0.1 * scale)}});
  }
  test::write_keras_file(
      path, layers, {.group = "model_weights", .model_config = whole_model_config(model).dump()});
}

}  // namespace gentrain::trainers
