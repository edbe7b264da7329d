// The numbers of the functions that PointwiseKernels computes; kernels/pointwise.h says more.
#pragma once

#include <cstdint>

namespace gentrain {

/// Functions of x with the constants a, b and c of PointwiseRule.
enum class PointwiseFunction : std::uint8_t {
  kAffine,       // a x + b
  kRelu,         // min(x, c) from b on, a (x - b) below b; a: slope, b: threshold, c: maximum
  kClip,         // x, at least a and at most b
  kElu,          // b x above 0, b a (exp(x / c) - 1) elsewhere; ELU and CELU b = 1, SELU both
  kHardSigmoid,  // a x + b, at least 0 and at most 1
  kHardSwish,    // x times kHardSigmoid
  kSwish,        // x / (1 + exp(-a x)); a = 1: SiLU
  kGelu,         // x (1 + erf(x / sqrt(2))) / 2
  kGeluTanh,     // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  kMish,         // x tanh(log(1 + exp(x)))
  kSoftplus,     // log(1 + exp(a x)) / a
  kSoftsign,     // x / (1 + |x|)
  kLogSigmoid,   // -log(1 + exp(-x))
  kExp,
  kLog,
  kSqrt,
  kAbs,
  kErf,
  kReciprocal,  // 1 / x
  kPower,       // x^a
  kThreshold,   // x above a, b elsewhere
  kSoftShrink,  // x - a above a, x + a below -a, 0 elsewhere
  kHardShrink,  // x above a and below -a, 0 elsewhere
  kTanhShrink,  // x - tanh(x)
};

/// Functions of two numbers.
enum class BinaryFunction : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kMaximum,
  kMinimum,
};

}  // namespace gentrain
