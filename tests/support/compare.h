// Comparisons whose failures can be read: how many elements are off, which one most, by how much of
// what was allowed.
#pragma once

#include <span>
#include <string>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/shape.h"

namespace gentrain::test {

/// Element by element |actual - expected| <= bound * magnitude; two NaN are equal, one is not.
///
/// Where a result is a sum, its magnitude is the sum of the absolute terms: rounding errors grow
/// with them, not with a sum that may cancel. The spans have shape.elements() elements each.
::testing::AssertionResult within(double bound, const Shape& shape, std::span<const double> actual,
                                  std::span<const double> expected,
                                  std::span<const double> magnitude);

/// The same with the largest |expected| as the magnitude of every element.
::testing::AssertionResult within(double bound, const Shape& shape, std::span<const double> actual,
                                  std::span<const double> expected);

/// |actual - expected| / |expected| in Euclidean norms.
double relative_distance(std::span<const double> actual, std::span<const double> expected);

/// Runs `action`, which must throw a ThrownError; returns its message, or "nothing was thrown".
template <class ThrownError, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const ThrownError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace gentrain::test
