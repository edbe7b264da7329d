// Element-wise comparison with a report of the worst element.
#include "tests/support/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace gentrain::test {

namespace {

/// Index of a row-major element by axis: "[1, 0, 2]".
std::string position(const Shape& shape, std::size_t element) {
  std::vector<std::int64_t> index(static_cast<std::size_t>(shape.rank()));
  auto rest = static_cast<std::int64_t>(element);
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index[static_cast<std::size_t>(axis)] = rest % shape[axis];
    rest /= shape[axis];
  }
  return fmt::format("[{}]", fmt::join(index, ", "));
}

/// Error in units of what is allowed: at most 1 is good.
double share_of_allowed(double actual, double expected, double allowed) {
  if (actual == expected || (std::isnan(actual) && std::isnan(expected))) {
    return 0;
  }
  const double share = std::abs(actual - expected) / allowed;
  return std::isnan(share) ? std::numeric_limits<double>::infinity() : share;
}

}  // namespace

::testing::AssertionResult within(double bound, const Shape& shape, std::span<const double> actual,
                                  std::span<const double> expected,
                                  std::span<const double> magnitude) {
  const auto elements = static_cast<std::size_t>(shape.elements());
  if (actual.size() != elements || expected.size() != elements || magnitude.size() != elements) {
    return ::testing::AssertionFailure()
           << fmt::format("{} has {} elements, but {} are compared with {} at {} magnitudes",
                          shape.str(), elements, actual.size(), expected.size(), magnitude.size());
  }
  std::size_t off = 0;
  std::size_t worst = 0;
  double worst_share = 0;
  for (std::size_t i = 0; i < elements; ++i) {
    const double share = share_of_allowed(actual[i], expected[i], bound * magnitude[i]);
    off += share > 1 ? 1 : 0;
    if (share > worst_share) {
      worst_share = share;
      worst = i;
    }
  }
  if (off == 0) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << fmt::format(
             "{} of {} elements of {} are off; worst at {}: {:.9g} instead of {:.9g}, an error of "
             "{:.3g} where {:.3g} * {:.3g} is allowed",
             off, elements, shape.str(), position(shape, worst), actual[worst], expected[worst],
             std::abs(actual[worst] - expected[worst]), bound, magnitude[worst]);
}

::testing::AssertionResult within(double bound, const Shape& shape, std::span<const double> actual,
                                  std::span<const double> expected) {
  double largest = 0;
  for (const double value : expected) {
    largest = std::max(largest, std::abs(value));
  }
  const std::vector<double> magnitude(expected.size(), largest);
  return within(bound, shape, actual, expected, magnitude);
}

double relative_distance(std::span<const double> actual, std::span<const double> expected) {
  if (actual.size() != expected.size()) {
    return std::numeric_limits<double>::infinity();
  }
  double distance = 0;
  double size = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    distance += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(distance / size);
}

}  // namespace gentrain::test
