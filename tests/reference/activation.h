// The pointwise functions and their derivatives.
#pragma once

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/activation.h"
#include "kernels/error.h"

namespace gentrain::reference {

inline double apply(Activation activation, double x) {
  switch (activation) {
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kSigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case Activation::kNone:
      break;
  }
  return x;
}

/// The derivative, from the result y = apply(activation, x).
inline double derivative(Activation activation, double y) {
  switch (activation) {
    case Activation::kTanh:
      return 1.0 - y * y;
    case Activation::kRelu:
      return y > 0.0 ? 1.0 : 0.0;
    case Activation::kSigmoid:
      return y * (1.0 - y);
    case Activation::kNone:
      break;
  }
  return 1.0;
}

/// z above 0, slope * z elsewhere; with slope 0 it is 0 for -infinity too.
inline double rectify(double slope, double z) {
  if (slope == 0) {
    return std::max(z, 0.0);
  }
  return z > 0 ? z : slope * z;
}

/// Throws ShapeError if a slope is not in [0, 1].
inline void check_slope(const char* routine, double slope) {
  if (!(slope >= 0 && slope <= 1)) {
    throw ShapeError(fmt::format("{}: slope is {}: from 0 to 1 needed", routine, slope));
  }
}

}  // namespace gentrain::reference
