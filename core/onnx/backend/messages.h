// Both directions between the bytes of an ONNX file and the structs of core/onnx/model.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/onnx/model.h"

namespace gentrain::onnx {

/// As OnnxLibrary::parse and OnnxLibrary::serialize.
Model parse_model(std::span<const std::uint8_t> file);
std::string serialize_model(const Model& model);

}  // namespace gentrain::onnx
