// The rows of axis maps that pad, cut and enlarge images.
#pragma once

#include <cstdint>
#include <memory>

#include "core/ops/maps.h"

namespace gentrain::keras {

using Rows = std::shared_ptr<const ops::AxisRows>;

/// Zeros before and behind; negative numbers cut positions off. Throws IoError if nothing is left
/// or more than 2^20 positions would be.
Rows padded(std::int64_t extent, std::int64_t before, std::int64_t behind);

/// Each position `times` times. Throws IoError for more than 2^20 positions, as repeated().
Rows repeated(std::int64_t extent, std::int64_t times);

/// Linear interpolation between pixels whose centres lie at i + 1/2; beyond the outer centres their
/// values. TensorFlow's resize_bilinear with half-pixel centres.
Rows interpolated(std::int64_t extent, std::int64_t times);

}  // namespace gentrain::keras
