// Line searches: by backtracking, and by brackets and cubic interpolation.
#include "core/optim/line_search.h"

#include <algorithm>
#include <cmath>

namespace gentrain::optim {

namespace {

constexpr double kDecrease = 1e-4;
constexpr double kCurvature = 0.9;
constexpr double kGrow = 2.1;  // of backtracking, where the slope is still steep
constexpr double kShortest = 1e-10;
constexpr double kLongest = 1e10;

bool is_finite(const SearchPoint& point) {
  return std::isfinite(point.value) && std::isfinite(point.slope);
}

bool is_flat_enough(const SearchPoint& start, const SearchPoint& point) {
  return std::abs(point.slope) <= kCurvature * std::abs(start.slope);
}

/// The minimum of the cubic through both points, or a tenth of the way inside of either.
double interpolate(const SearchPoint& a, const SearchPoint& b) {
  const SearchPoint& left = a.step < b.step ? a : b;
  const SearchPoint& right = a.step < b.step ? b : a;
  const double width = right.step - left.step;
  const double d1 = left.slope + right.slope - 3 * (right.value - left.value) / width;
  const double root = std::sqrt(d1 * d1 - left.slope * right.slope);
  const double step =
      right.step - width * (right.slope + root - d1) / (right.slope - left.slope + 2 * root);
  if (!std::isfinite(step)) {
    return left.step + width / 2;
  }
  return std::clamp(step, left.step + width / 10, right.step - width / 10);
}

/// `low` has the least value so far of those with sufficient decrease, and descends towards `high`.
bool zoom(const SearchPoint& start, SearchPoint low, SearchPoint high,
          const AlongDirection& along) {
  const auto between = [&] {
    return is_finite(high) ? interpolate(low, high) : (low.step + high.step) / 2;
  };
  while (const std::optional<SearchPoint> point = along(between())) {
    if (!sufficient_decrease(start, *point) || point->value >= low.value) {
      high = *point;
      continue;
    }
    if (is_flat_enough(start, *point)) {
      return true;
    }
    if (point->slope * (high.step - low.step) >= 0) {
      high = low;
    }
    low = *point;
  }
  return false;
}

}  // namespace

bool sufficient_decrease(const SearchPoint& start, const SearchPoint& point) {
  return is_finite(point) && point.value <= start.value + kDecrease * point.step * start.slope;
}

bool backtracking_search(const SearchPoint& start, double first_step, double shrink,
                         const AlongDirection& along) {
  double step = first_step;
  while (step >= kShortest && step <= kLongest) {
    const std::optional<SearchPoint> point = along(step);
    if (!point) {
      return false;
    }
    if (!sufficient_decrease(start, *point)) {
      step *= shrink;
    } else if (is_flat_enough(start, *point)) {
      return true;
    } else {
      step *= point->slope < 0 ? kGrow : shrink;
    }
  }
  return false;
}

bool strong_wolfe_search(const SearchPoint& start, double first_step, double growth,
                         const AlongDirection& along) {
  SearchPoint low = start;
  double step = first_step;
  while (const std::optional<SearchPoint> point = along(step)) {
    if (!sufficient_decrease(start, *point) || (low.step > 0 && point->value >= low.value)) {
      return zoom(start, low, *point, along);
    }
    if (is_flat_enough(start, *point)) {
      return true;
    }
    if (point->slope >= 0) {
      return zoom(start, *point, low, along);
    }
    low = *point;
    step *= growth;
  }
  return false;
}

}  // namespace gentrain::optim
