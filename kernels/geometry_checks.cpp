// Checks of sliding windows.
#include "kernels/geometry_checks.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/shape.h"

namespace gentrain {

void GeometryChecks::range(std::int64_t least, const char* name, std::int64_t value) const {
  constexpr std::int64_t kMost = Shape::kMaxElements;
  if (value < least) {
    throw ShapeError(
        fmt::format("{}: {} is {}, at least {} needed", operation_, name, value, least));
  }
  if (value > kMost) {
    throw ShapeError(
        fmt::format("{}: {} is {}, at most {} supported", operation_, name, value, kMost));
  }
}

void GeometryChecks::fits(const char* axis, std::int64_t padded, std::int64_t window) const {
  if (padded < window) {
    throw ShapeError(fmt::format("{}: the image has {} {} with its padding, the {} {}: no result",
                                 operation_, padded, axis, window_, window));
  }
}

}  // namespace gentrain
