// How the windows of ONNX's convolutions and pools lie over an image.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/onnx/operators.h"

namespace gentrain::onnx {

/// Along one axis, [0] rows, [1] columns.
struct WindowAxis {
  std::int64_t window = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  std::int64_t before = 0;  // padding
  std::int64_t after = 0;
  std::int64_t from = 1;  // extent of the image
  std::int64_t to = 1;    // extent of the result

  /// Pixels from the first to the last that a window sees.
  [[nodiscard]] std::int64_t covered() const { return (window - 1) * dilation + 1; }
  /// Padding behind that the last window reaches.
  [[nodiscard]] std::int64_t reached() const {
    return std::max<std::int64_t>(0, (to - 1) * stride + covered() - from - before);
  }
};
using Windows = std::array<WindowAxis, 2>;

/// Reads strides, dilations, pads, auto_pad and, of pools, ceil_mode, of a node that gets `image`
/// (in the order h, w, c). Padding is as the file has it: with ceil_mode the last window may reach
/// beyond, but it begins within the image or its padding before.
///
/// Throws IoError: numbers out of range, pads beside an automatic padding, an image that is smaller
/// than the window.
Windows read_windows(Call& call, const Placed& image, std::array<std::int64_t, 2> window,
                     bool may_round_up);

/// The attribute kernel_shape. Throws IoError if it is missing, unless `otherwise` is given, and
/// unless it is two extents, equal to `otherwise` if that is given.
std::array<std::int64_t, 2> read_kernel(Call& call, const std::int64_t* otherwise);

/// The attribute of two numbers, or the given ones; in [low, 2^20].
std::array<std::int64_t, 2> read_pair(Call& call, const char* name, std::int64_t otherwise,
                                      std::int64_t low);
/// Padding [top, left, bottom, right] as the file has it, 0 each if it does not say; [0, 2^20].
std::array<std::int64_t, 4> read_pads(Call& call);

enum class AutoPad : std::uint8_t { kExplicit, kUpper, kLower, kValid };
/// Throws IoError for another one, and for pads that are not 0 beside an automatic padding.
AutoPad read_auto_pad(Call& call, const std::array<std::int64_t, 4>& pads);

}  // namespace gentrain::onnx
