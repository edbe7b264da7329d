// One case for each function; smooth ones apart from those with kinks.
#include "tests/reference/functions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>

namespace gentrain::reference {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// log(1 + e^x)
double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

/// The share of the normal distribution below x, and its density.
double below(double x) {
  return std::erfc(-x / std::numbers::sqrt2) / 2;
}
double density(double x) {
  return std::exp(-x * x / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
}

/// What kGeluTanh takes the tanh of, and its derivative.
double gelu_inner(double x) {
  return std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
}
double gelu_inner_derivative(double x) {
  return std::sqrt(2 / std::numbers::pi) * (1 + 3 * 0.044715 * x * x);
}

double clip(double x, double low, double high) {
  return std::min(high, std::max(low, x));
}

/// Of a function with kinks; x is a number.
double broken_value(const PointwiseRule& rule, double x) {
  const auto& [function, a, b, c] = rule;
  switch (function) {
    case PointwiseFunction::kRelu:
      if (x < b) {
        return a == 0 ? 0 : a * (x - b);
      }
      return std::min(x, c);
    case PointwiseFunction::kClip:
      return clip(x, a, b);
    case PointwiseFunction::kElu:
      return x > 0 ? b * x : b * a * std::expm1(x / c);
    case PointwiseFunction::kHardSigmoid:
      return clip(a * x + b, 0, 1);
    case PointwiseFunction::kHardSwish:
      return x * clip(a * x + b, 0, 1);
    case PointwiseFunction::kThreshold:
      return x > a ? x : b;
    case PointwiseFunction::kSoftShrink:
      return std::abs(x) > a ? x - std::copysign(a, x) : 0;
    case PointwiseFunction::kHardShrink:
      return std::abs(x) > a ? x : 0;
    default:
      return std::abs(x);
  }
}

double broken_derivative(const PointwiseRule& rule, double x) {
  const auto& [function, a, b, c] = rule;
  const double inside = a * x + b > 0 && a * x + b < 1 ? a : 0;
  switch (function) {
    case PointwiseFunction::kRelu:
      if (x >= c) {
        return 0;
      }
      return x > b ? 1 : a;
    case PointwiseFunction::kClip:
      return x >= a && x <= b ? 1 : 0;
    case PointwiseFunction::kElu:
      return x > 0 ? b : b * a * std::exp(x / c) / c;
    case PointwiseFunction::kHardSigmoid:
      return inside;
    case PointwiseFunction::kHardSwish:
      return clip(a * x + b, 0, 1) + x * inside;
    case PointwiseFunction::kThreshold:
      return x > a ? 1 : 0;
    case PointwiseFunction::kSoftShrink:
    case PointwiseFunction::kHardShrink:
      return std::abs(x) > a ? 1 : 0;
    default:
      return x == 0 ? 0 : std::copysign(1, x);
  }
}

/// Of an activation without kinks; none for other functions.
std::optional<double> activation_value(const PointwiseRule& rule, double x) {
  switch (rule.function) {
    case PointwiseFunction::kSwish:
      return x * sigmoid(rule.a * x);
    case PointwiseFunction::kGelu:
      return x * below(x);
    case PointwiseFunction::kGeluTanh:
      return x * (1 + std::tanh(gelu_inner(x))) / 2;
    case PointwiseFunction::kMish:
      return x * std::tanh(softplus(x));
    case PointwiseFunction::kSoftplus:
      return softplus(rule.a * x) / rule.a;
    case PointwiseFunction::kSoftsign:
      return x / (1 + std::abs(x));
    case PointwiseFunction::kLogSigmoid:
      return -softplus(-x);
    case PointwiseFunction::kTanhShrink:
      return x - std::tanh(x);
    default:
      return {};
  }
}

std::optional<double> activation_derivative(const PointwiseRule& rule, double x) {
  switch (rule.function) {
    case PointwiseFunction::kSwish: {
      const double s = sigmoid(rule.a * x);
      return s * (1 + rule.a * x * (1 - s));
    }
    case PointwiseFunction::kGelu:
      return below(x) + x * density(x);
    case PointwiseFunction::kGeluTanh: {
      const double t = std::tanh(gelu_inner(x));
      return (1 + t + x * ((1 - t * t) * gelu_inner_derivative(x))) / 2;
    }
    case PointwiseFunction::kMish: {
      const double t = std::tanh(softplus(x));
      return t + x * ((1 - t * t) * sigmoid(x));
    }
    case PointwiseFunction::kSoftplus:
      return sigmoid(rule.a * x);
    case PointwiseFunction::kSoftsign:
      return 1 / ((1 + std::abs(x)) * (1 + std::abs(x)));
    case PointwiseFunction::kLogSigmoid:
      return sigmoid(-x);
    case PointwiseFunction::kTanhShrink:
      return std::tanh(x) * std::tanh(x);
    default:
      return {};
  }
}

/// Of a function of analysis; none for other functions.
std::optional<double> smooth_value(const PointwiseRule& rule, double x) {
  switch (rule.function) {
    case PointwiseFunction::kAffine:
      return rule.a * x + rule.b;
    case PointwiseFunction::kExp:
      return std::exp(x);
    case PointwiseFunction::kLog:
      return std::log(x);
    case PointwiseFunction::kSqrt:
      return std::sqrt(x);
    case PointwiseFunction::kErf:
      return std::erf(x);
    case PointwiseFunction::kReciprocal:
      return 1 / x;
    case PointwiseFunction::kPower:
      return std::pow(x, rule.a);
    default:
      return activation_value(rule, x);
  }
}

std::optional<double> smooth_derivative(const PointwiseRule& rule, double x) {
  switch (rule.function) {
    case PointwiseFunction::kAffine:
      return rule.a;
    case PointwiseFunction::kExp:
      return std::exp(x);
    case PointwiseFunction::kLog:
      return 1 / x;
    case PointwiseFunction::kSqrt:
      return 0.5 / std::sqrt(x);
    case PointwiseFunction::kErf:
      return 2 * std::numbers::inv_sqrtpi * std::exp(-x * x);
    case PointwiseFunction::kReciprocal:
      return -1 / (x * x);
    case PointwiseFunction::kPower:
      return rule.a == 0 ? 0 : rule.a * std::pow(x, rule.a - 1);
    default:
      return activation_derivative(rule, x);
  }
}

}  // namespace

double value_at(const PointwiseRule& rule, double x) {
  if (std::isnan(x)) {
    return kNan;
  }
  const std::optional<double> smooth = smooth_value(rule, x);
  return smooth ? *smooth : broken_value(rule, x);
}

double derivative_at(const PointwiseRule& rule, double x) {
  if (std::isnan(x)) {
    return kNan;
  }
  const std::optional<double> smooth = smooth_derivative(rule, x);
  return smooth ? *smooth : broken_derivative(rule, x);
}

}  // namespace gentrain::reference
