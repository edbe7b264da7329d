// Rows of axis maps that copy positions: what padding, cropping, slices and repetition are made of.
#pragma once

#include <cstdint>
#include <span>

#include "core/ops/maps.h"

namespace gentrain::graph {

/// Position i of the result is position sources[i] of `from` ones, below it; `fill` where that is
/// negative. There is at least one.
ops::AxisRows copied_rows(std::int64_t from, std::span<const std::int64_t> sources, float fill = 0);

}  // namespace gentrain::graph
