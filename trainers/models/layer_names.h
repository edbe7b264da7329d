// Names of layers in jobs, model files and messages.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "trainers/models/layer_spec.h"

namespace gentrain::trainers {

inline constexpr std::array<std::pair<LayerKind, std::string_view>, 9> kLayerNames = {{
    {LayerKind::kConv, "conv"},
    {LayerKind::kMaxPool, "max_pool"},
    {LayerKind::kAveragePool, "average_pool"},
    {LayerKind::kLinear, "linear"},
    {LayerKind::kFlatten, "flatten"},
    {LayerKind::kDropout, "dropout"},
    {LayerKind::kTanh, "tanh"},
    {LayerKind::kRelu, "relu"},
    {LayerKind::kSigmoid, "sigmoid"},
}};

constexpr std::string_view name_of(LayerKind kind) {
  for (const auto& [known, name] : kLayerNames) {
    if (known == kind) {
      return name;
    }
  }
  return "?";
}

}  // namespace gentrain::trainers
