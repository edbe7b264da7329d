// Whether the texts of an ONNX model can be shown and written into other files.
#pragma once

#include <string_view>

#include "core/onnx/model.h"

namespace gentrain::onnx {

/// Whether a text is UTF-8 without control characters.
bool is_printable(std::string_view text);

/// Throws IoError unless all names and texts of a model that an import reads are: messages and
/// files hold them.
void need_printable(const Model& model);

}  // namespace gentrain::onnx
