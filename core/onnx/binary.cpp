// Functions of two or more values, and choices between two. A constant of one element is part of
// the function; a larger one is a Variable, which trains.
#include <cmath>
#include <limits>
#include <optional>

#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// x function c, or, `turned`, c function x, as functions of x that follow on each other.
std::vector<PointwiseRule> with_number(BinaryFunction function, double c, bool turned) {
  using F = PointwiseFunction;
  switch (function) {
    case BinaryFunction::kAdd:
      return {{F::kAffine, 1, c}};
    case BinaryFunction::kSubtract:
      return {turned ? PointwiseRule{F::kAffine, -1, c} : PointwiseRule{F::kAffine, 1, -c}};
    case BinaryFunction::kMultiply:
      return {{F::kAffine, c, 0}};
    case BinaryFunction::kDivide:
      if (!turned && c == 0) {
        refuse("it divides by 0");
      }
      return turned ? std::vector<PointwiseRule>{{F::kReciprocal}, {F::kAffine, c, 0}}
                    : std::vector<PointwiseRule>{{F::kAffine, 1 / c, 0}};
    case BinaryFunction::kMaximum:
      return {{F::kClip, c, kInfinity}};
    case BinaryFunction::kMinimum:
      break;
  }
  return {{F::kClip, -kInfinity, c}};
}

/// The only element of a constant that has not more axes than x.
std::optional<double> number_for(const Value& value, const Placed& x) {
  const auto* const constant = std::get_if<ConstantPointer>(&value);
  if (constant == nullptr || (*constant)->size() != 1 || !(*constant)->real ||
      (*constant)->rank() > Call::rank(x)) {
    return std::nullopt;
  }
  const double number = static_cast<double>((*constant)->reals[0]);
  if (!std::isfinite(number)) {
    refuse("tensor {} holds a value that is not finite", (*constant)->name);
  }
  return number;
}

Placed with_constant(Call& call, BinaryFunction function, const Placed& x, const Value& value,
                     bool turned) {
  if (const std::optional<double> number = number_for(value, x)) {
    Placed result = x;
    const std::vector<PointwiseRule> rules = with_number(function, *number, turned);
    for (const PointwiseRule& rule : rules) {
      result = call.build().pointwise(result, rule, &rule == &rules.back() ? "" : "inner");
    }
    return result;
  }
  const int node = call.build().constant_node(std::get<ConstantPointer>(value), x);
  Placed result = x;
  result.node = call.build().add(
      graph::Binary{function},
      turned ? std::vector<int>{node, x.node} : std::vector<int>{x.node, node}, "");
  return result;
}

const Placed* numbers_of(const Value& value) {
  const auto* const placed = std::get_if<Placed>(&value);
  if (placed != nullptr && placed->condition) {
    refuse("it computes with a condition");
  }
  return placed;
}

/// Two values, one of which may be a constant.
Value combined(Call& call, BinaryFunction function, const Value& a, const Value& b) {
  const Placed* const left = numbers_of(a);
  const Placed* const right = numbers_of(b);
  if (left != nullptr && right != nullptr) {
    return call.build().binary(function, *left, *right);
  }
  if (left == nullptr && right == nullptr) {
    refuse("two of its inputs are constants, which is not supported of more than two");
  }
  return left != nullptr ? with_constant(call, function, *left, b, false)
                         : with_constant(call, function, *right, a, true);
}

template <BinaryFunction function>
void two(Call& call) {
  call.give(combined(call, function, call.value(0), call.value(1)));
}

Value folded(Call& call, BinaryFunction function) {
  Value result = call.value(0);
  for (int i = 1; i < call.inputs(); ++i) {
    result = combined(call, function, result, call.value(i));
  }
  return result;
}

template <BinaryFunction function>
void many(Call& call) {
  call.give(folded(call, function));
}

void mean(Call& call) {
  const Value sum = folded(call, BinaryFunction::kAdd);
  const double part = 1.0 / call.inputs();
  call.give(call.build().pointwise(std::get<Placed>(sum), {PointwiseFunction::kAffine, part, 0}));
}

void power(Call& call) {
  const Placed& x = call.anywhere(0);
  const std::optional<double> exponent =
      call.is_constant(1) && !call.constant(1)->real && call.constant(1)->size() == 1
          ? call.number(1)
          : number_for(call.value(1), x);
  if (!exponent) {
    refuse("its exponent is no constant of one element, which alone is supported");
  }
  call.give(call.build().pointwise(x, {PointwiseFunction::kPower, *exponent, 0}));
}

/// 1 where x is above a number, else 0: two straight lines so steep that no float lies on the slope
/// of both. One of them leaves differences below 1e-30 between 0 and 1.
Placed above(Call& call, const Placed& x, double number) {
  constexpr double kSteep = 1e30;
  const Placed shifted =
      call.build().pointwise(x, {PointwiseFunction::kAffine, 1, -number}, "difference");
  const Placed steep =
      call.build().pointwise(shifted, {PointwiseFunction::kHardSigmoid, kSteep, 0}, "steep");
  Placed result = call.build().pointwise(steep, {PointwiseFunction::kHardSigmoid, kSteep, 0});
  result.condition = true;
  return result;
}

Placed opposite(Call& call, const Placed& condition) {
  return call.build().pointwise(condition, {PointwiseFunction::kAffine, -1, 1}, "opposite");
}

/// x > c, and by that all comparisons of a value with a number.
void compare(Call& call, bool greater, bool or_equal) {
  const bool turned = call.is_constant(0);
  const Placed& x = call.anywhere(turned ? 1 : 0);
  const std::optional<double> number = number_for(call.value(turned ? 0 : 1), x);
  if (!number) {
    refuse(
        "it compares with something else than a constant of one element, which alone is "
        "supported");
  }
  const bool up = greater != turned;  // x > c or x >= c
  // x >= c is not c > x; x < c is -x > -c.
  const bool of_negative = up == or_equal;
  const Placed from =
      of_negative ? call.build().pointwise(x, {PointwiseFunction::kAffine, -1, 0}, "negative") : x;
  const Placed strict = above(call, from, of_negative ? -*number : *number);
  call.give(or_equal ? opposite(call, strict) : strict);
}

template <bool greater_than, bool or_equal>
void comparison(Call& call) {
  compare(call, greater_than, or_equal);
}

/// Without infinities, whose product with 0 is no number. The largest float itself would be no
/// limit to some exports.
Value finite(Call& call, const Value& value) {
  static const double kMost =
      static_cast<double>(std::nextafter(std::numeric_limits<float>::max(), 0.0F));
  const Placed* const placed = numbers_of(value);
  return placed == nullptr ? value
                           : Value(call.build().pointwise(
                                 *placed, {PointwiseFunction::kClip, -kMost, kMost}, "finite"));
}

/// condition * a + (1 - condition) * b: exact, but for infinities, which become the largest
/// numbers, and for what is no number, which is chosen wherever it stands.
void where(Call& call) {
  const auto* const found = std::get_if<Placed>(&call.value(0));
  if (found == nullptr || !found->condition) {
    refuse("its condition is no comparison of a value with a number, which alone is supported");
  }
  const Placed condition = *found;
  Placed numbers = condition;
  numbers.condition = false;
  Placed others = opposite(call, condition);
  others.condition = false;
  const Value a = combined(call, BinaryFunction::kMultiply, numbers, finite(call, call.value(1)));
  const Value b = combined(call, BinaryFunction::kMultiply, others, finite(call, call.value(2)));
  call.give(combined(call, BinaryFunction::kAdd, a, b));
}

constexpr OperatorEntry kBinaryEntries[] = {{"Add", two<BinaryFunction::kAdd>},
                                            {"Sub", two<BinaryFunction::kSubtract>},
                                            {"Mul", two<BinaryFunction::kMultiply>},
                                            {"Div", two<BinaryFunction::kDivide>},
                                            {"Max", many<BinaryFunction::kMaximum>},
                                            {"Min", many<BinaryFunction::kMinimum>},
                                            {"Sum", many<BinaryFunction::kAdd>},
                                            {"Mean", mean},
                                            {"Pow", power},
                                            {"Greater", comparison<true, false>},
                                            {"GreaterOrEqual", comparison<true, true>},
                                            {"Less", comparison<false, false>},
                                            {"LessOrEqual", comparison<false, true>},
                                            {"Where", where}};

}  // namespace

std::span<const OperatorEntry> binary_operators() {
  return kBinaryEntries;
}

}  // namespace gentrain::onnx
