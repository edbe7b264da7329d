// Which kernels compute a convolution.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/conv.h"
#include "kernels/cpu/onednn.h"

namespace gentrain::cpu {

enum class ConvKind : std::uint8_t { kWinograd, kWinogradLine, kColumns, kOneDnn };

/// Of a pass over f32 images that no max pooling follows. The rule looks at the geometry alone.
ConvKind conv_kind(Operation pass, const ConvGeometry& g);

/// "Winograd", "Winograd along lines", "columns" or "oneDNN".
std::string_view name_of(ConvKind kind);

}  // namespace gentrain::cpu
