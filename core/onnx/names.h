// Whether the texts of an ONNX model can be shown and written into other files.
#pragma once

#include <string_view>

#include "core/onnx/model.h"

namespace gentrain::onnx {

/// Whether a text is UTF-8 without control characters.
bool is_printable(std::string_view text);

/// Throws IoError unless the names and texts of all nodes, inputs, outputs and arrays are: messages
/// and files hold them.
void need_printable(const Model& model);

}  // namespace gentrain::onnx
