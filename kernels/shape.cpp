// Shape: construction checks and printing.
#include "kernels/shape.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain {

Shape::Shape(std::initializer_list<std::int64_t> extents)
    : Shape(std::span<const std::int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const std::int64_t> extents) {
  if (extents.size() > kMaxRank) {
    throw ShapeError(fmt::format("a shape of {} extents: at most {} are supported", extents.size(),
                                 static_cast<int>(kMaxRank)));
  }
  std::int64_t product = 1;
  for (const std::int64_t extent : extents) {
    if (extent < 0) {
      throw ShapeError(fmt::format("shape [{}] has a negative extent", fmt::join(extents, ", ")));
    }
    const std::int64_t factor = extent == 0 ? 1 : extent;
    if (__builtin_mul_overflow(product, factor, &product) || product > kMaxElements) {
      throw ShapeError(fmt::format("shape [{}] has too many elements: at most {} are supported",
                                   fmt::join(extents, ", "), std::int64_t{kMaxElements}));
    }
  }
  std::copy(extents.begin(), extents.end(), extents_.begin());
  rank_ = static_cast<int>(extents.size());
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : extents()) {
    product *= extent;
  }
  return product;
}

std::string Shape::str() const {
  return fmt::format("[{}]", fmt::join(extents(), ", "));
}

}  // namespace gentrain
