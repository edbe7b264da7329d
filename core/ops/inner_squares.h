// How strongly a map of a network answers: what a dream makes larger.
#pragma once

#include <cstdint>
#include <span>

#include "core/context.h"
#include "core/tensor.h"

namespace gentrain::ops {

/// The sum of the squares of a map away from its border.
struct InnerSquares {
  Tensor loss;     // []: scale * sum, of the type of x; has the history
  double sum = 0;  // unscaled, added in double: one row after the other, those in order
};

/// x        [n, h, w, c], or [n, c], which has no border
/// border   pixels on each side that are left out, at least 0
/// channels those that count, each once; none: all
///
/// The sum is made on the host. Throws ShapeError for another x, a border that leaves no pixel, and
/// a channel that is not there or there twice; Error while shards stand side by side.
InnerSquares inner_square_sum(Context& context, const Tensor& x, std::int64_t border,
                              std::span<const std::int64_t> channels, double scale);

}  // namespace gentrain::ops
