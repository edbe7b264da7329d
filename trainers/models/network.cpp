// Building networks by name, their JSON form, and their arithmetic.
#include "trainers/models/network.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "trainers/models/graph_network.h"
#include "trainers/models/imported.h"
#include "trainers/models/layer_names.h"

namespace gentrain::trainers {

std::unique_ptr<Network> build_network(const ModelOptions& model, const InitOptions& init,
                                       const Shape& image, std::int64_t outputs,
                                       ParameterSet& parameters) {
  if (!model.layers.empty()) {
    return make_sequential(model.layers, init, image, outputs, parameters);
  }
  if (model.name == "lenet") {
    return make_lenet(init, image, outputs, parameters);
  }
  if (is_imported(model)) {
    return make_imported(model, init, image, outputs, parameters);
  }
  if (is_pretrained(model)) {
    return make_pretrained(model, init, image, outputs, parameters);
  }
  throw JobError(
      fmt::format("model: there is no '{}' (known: {})", model.name, fmt::join(kModelNames, ", ")));
}

namespace {

// By their values.
constexpr std::array<std::string_view, 4> kTops = {"head", "original", "none", "regression"};
constexpr std::array<std::string_view, 3> kPoolNames = {"avg", "max", "none"};

/// Index of a name in a list. Throws JobError.
template <std::size_t n>
std::size_t index_in(const std::array<std::string_view, n>& names, const char* what,
                     const std::string& name) {
  const auto* const found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    throw JobError(
        fmt::format("the model has a {} '{}' that this version does not know", what, name));
  }
  return static_cast<std::size_t>(found - names.begin());
}

void write_pretrained(const PretrainedOptions& pretrained, nlohmann::json& json) {
  json["top"] = kTops.at(static_cast<std::size_t>(pretrained.top));
  json["hidden"] = pretrained.hidden;
  json["batch_statistics"] = pretrained.batch_statistics;
  if (pretrained.top == PretrainedOptions::Top::kRegression) {
    json["layer"] = pretrained.layer;
    json["pool"] = kPoolNames.at(static_cast<std::size_t>(pretrained.pool));
  }
}

PretrainedOptions read_pretrained(const nlohmann::json& json) {
  PretrainedOptions pretrained;
  pretrained.top = static_cast<PretrainedOptions::Top>(
      index_in(kTops, "top", json.at("top").get<std::string>()));
  pretrained.hidden = json.at("hidden").get<std::int64_t>();
  pretrained.batch_statistics = json.at("batch_statistics").get<bool>();
  if (pretrained.top == PretrainedOptions::Top::kRegression) {
    pretrained.layer = json.at("layer").get<std::string>();
    pretrained.pool = static_cast<PretrainedOptions::Pool>(
        index_in(kPoolNames, "pool", json.at("pool").get<std::string>()));
  }
  return pretrained;
}

}  // namespace

nlohmann::json to_json(const ModelOptions& model) {
  nlohmann::json json;
  if (is_imported(model)) {
    json["imported"] = imported_json(model.imported);
    return json;
  }
  if (model.layers.empty()) {
    json["name"] = model.name;
    if (is_vae(model)) {
      json["latent"] = model.vae.latent;
      json["hidden"] = model.vae.hidden;
    }
    if (is_srgan(model)) {
      json["paper"] = model.srgan.variant == SrganOptions::Variant::kPaper;
      json["width"] = model.srgan.width;
      json["blocks"] = model.srgan.blocks;
      if (model.srgan.blur != 0) {
        json["blur"] = model.srgan.blur;
      }
      if (model.srgan.ema != 0) {
        json["ema"] = model.srgan.ema;
      }
    }
    if (is_pretrained(model)) {
      write_pretrained(model.pretrained, json);
    }
    return json;
  }
  json["layers"] = nlohmann::json::array();
  for (const LayerSpec& layer : model.layers) {
    json["layers"].push_back({{"kind", name_of(layer.kind)},
                              {"out", layer.out},
                              {"kernel", {layer.kernel_h, layer.kernel_w}},
                              {"stride", {layer.stride_h, layer.stride_w}},
                              {"padding", {layer.pad_h, layer.pad_w}},
                              {"same", layer.same},
                              {"bias", layer.bias},
                              {"rate", layer.rate}});
  }
  return json;
}

namespace {

LayerSpec layer_from_json(const nlohmann::json& json) {
  LayerSpec layer;
  const auto kind = json.at("kind").get<std::string>();
  bool known = false;
  for (const auto& [value, name] : kLayerNames) {
    if (name == kind) {
      layer.kind = value;
      known = true;
    }
  }
  if (!known) {
    throw JobError(fmt::format("the model has a layer '{}' that this version does not know", kind));
  }
  layer.out = json.at("out").get<std::int64_t>();
  layer.kernel_h = json.at("kernel").at(0).get<std::int64_t>();
  layer.kernel_w = json.at("kernel").at(1).get<std::int64_t>();
  layer.stride_h = json.at("stride").at(0).get<std::int64_t>();
  layer.stride_w = json.at("stride").at(1).get<std::int64_t>();
  layer.pad_h = json.at("padding").at(0).get<std::int64_t>();
  layer.pad_w = json.at("padding").at(1).get<std::int64_t>();
  layer.same = json.at("same").get<bool>();
  layer.bias = json.at("bias").get<bool>();
  layer.rate = json.at("rate").get<double>();
  return layer;
}

}  // namespace

ModelOptions model_from_json(const nlohmann::json& json) {
  ModelOptions model;
  try {
    if (json.contains("imported")) {
      return imported_from(json.at("imported"));
    }
    if (json.contains("layers")) {
      for (const auto& layer : json.at("layers")) {
        model.layers.push_back(layer_from_json(layer));
      }
    } else {
      model.name = json.at("name").get<std::string>();
      if (is_vae(model)) {
        model.vae.latent = json.at("latent").get<std::int64_t>();
        model.vae.hidden = json.at("hidden").get<std::int64_t>();
      }
      if (is_srgan(model)) {
        model.srgan.variant = json.at("paper").get<bool>() ? SrganOptions::Variant::kPaper
                                                           : SrganOptions::Variant::kBook;
        model.srgan.width = json.at("width").get<std::int64_t>();
        model.srgan.blocks = json.at("blocks").get<std::int64_t>();
        model.srgan.blur = json.value("blur", 0.0);
        model.srgan.ema = json.value("ema", 0.0);
      }
      if (is_pretrained(model)) {
        model.pretrained = read_pretrained(json);
      }
    }
  } catch (const nlohmann::json::exception& error) {
    throw JobError(fmt::format("the model's description cannot be read: {}", error.what()));
  }
  return model;
}

std::vector<std::string> parameter_names(const ParameterSet& parameters, const std::string& layer) {
  std::vector<std::string> names;
  for (int i = 0; i < parameters.size(); ++i) {
    if (parameters.info(i).name.starts_with(layer + "/")) {
      names.push_back(parameters.info(i).name);
    }
  }
  return names;
}

double forward_flops_per_image(const std::vector<LayerInfo>& layers) {
  double flops = 0;
  for (const LayerInfo& layer : layers) {
    flops += 2.0 * static_cast<double>(layer.products);
  }
  return flops;
}

double training_flops_per_image(const std::vector<LayerInfo>& layers,
                                const ParameterSet& parameters,
                                const std::vector<bool>& trainable) {
  double flops = 0;
  bool gradient_needed = false;  // of the layer's input
  for (const LayerInfo& layer : layers) {
    bool trained = false;
    for (int i = 0; i < parameters.size(); ++i) {
      const ParameterInfo& info = parameters.info(i);
      const bool own = info.name.starts_with(layer.name + "/") ||
                       std::ranges::find(layer.names, info.name) != layer.names.end();
      trained = trained || (own && trainable[static_cast<std::size_t>(i)] &&
                            info.role == ParameterRole::kTrained);
    }
    const int products = 1 + (trained ? 1 : 0) + (gradient_needed ? 1 : 0);
    flops += 2.0 * products * static_cast<double>(layer.products);
    gradient_needed = gradient_needed || trained;
  }
  return flops;
}

}  // namespace gentrain::trainers
