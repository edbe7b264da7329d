// The pointwise functions and their derivatives.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/activation.h"

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

}  // namespace gentrain::reference
