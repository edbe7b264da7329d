// Functions of constants: the arithmetic of shapes, and what exporters leave to do with weights.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

std::shared_ptr<Constant> made(Call& call, bool real, std::vector<std::int64_t> dims) {
  const std::int64_t count = count_of(dims, "its result");
  call.build().budget().charge(count);
  auto result = std::make_shared<Constant>();
  result->name = call.node().outputs.empty() ? "" : call.node().outputs[0];
  result->real = real;
  result->dims = std::move(dims);
  if (real) {
    result->reals.resize(static_cast<std::size_t>(count));
  } else {
    result->integers.resize(static_cast<std::size_t>(count));
  }
  return result;
}

/// Extents of what two constants give together, as NumPy fits them.
std::vector<std::int64_t> fitted(const Constant& a, const Constant& b) {
  std::vector<std::int64_t> dims(std::max(a.dims.size(), b.dims.size()), 1);
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const auto extent = [&](const Constant& of) {
      return i < of.dims.size() ? of.dims[of.dims.size() - 1 - i] : 1;
    };
    const std::int64_t left = extent(a);
    const std::int64_t right = extent(b);
    if (left != right && left != 1 && right != 1) {
      refuse("its inputs {} and {} do not fit", text_of(a.dims), text_of(b.dims));
    }
    dims[dims.size() - 1 - i] = left == 1 ? right : left;
  }
  return dims;
}

/// How far elements of a constant lie apart along each axis of a larger array; 0: repeated.
std::vector<std::int64_t> strides_in(const std::vector<std::int64_t>& dims, const Constant& of) {
  std::vector<std::int64_t> strides(dims.size(), 0);
  std::int64_t stride = 1;
  for (std::size_t i = 1; i <= of.dims.size(); ++i) {
    const std::int64_t extent = of.dims[of.dims.size() - i];
    strides[dims.size() - i] = extent == 1 ? 0 : stride;
    stride *= extent;
  }
  return strides;
}

/// Calls `element(i, a, b)` with the index of each element of the result and of those it is of.
template <class Element>
void for_each_pair(const std::vector<std::int64_t>& dims, const Constant& a, const Constant& b,
                   Element element) {
  const std::int64_t count = count_of(dims, "its result");
  const std::vector<std::int64_t> strides_of_a = strides_in(dims, a);
  const std::vector<std::int64_t> strides_of_b = strides_in(dims, b);
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i;
    std::int64_t of_a = 0;
    std::int64_t of_b = 0;
    for (std::size_t k = dims.size(); k-- > 0;) {
      of_a += rest % dims[k] * strides_of_a[k];
      of_b += rest % dims[k] * strides_of_b[k];
      rest /= dims[k];
    }
    element(static_cast<std::size_t>(i), static_cast<std::size_t>(of_a),
            static_cast<std::size_t>(of_b));
  }
}

void need_no_samples(std::int64_t a) {
  if (a == kSamples) {
    refuse("it computes with the number of samples, which is not known here");
  }
}

/// Neither overflow nor the number of samples.
struct Add {
  static float of(float a, float b) { return a + b; }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    if (a == 0 || b == 0) {
      return a + b;
    }
    need_no_samples(a);
    need_no_samples(b);
    std::int64_t result = 0;
    return __builtin_add_overflow(a, b, &result) ? (a > 0 ? kMax : kMin) : result;
  }
};

struct Subtract {
  static float of(float a, float b) { return a - b; }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    if (b == 0) {
      return a;
    }
    need_no_samples(a);
    need_no_samples(b);
    std::int64_t result = 0;
    return __builtin_sub_overflow(a, b, &result) ? (a > 0 ? kMax : kMin) : result;
  }
};

struct Multiply {
  static float of(float a, float b) { return a * b; }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    if (a == 1 || b == 1) {
      return a == 1 ? b : a;
    }
    need_no_samples(a);
    need_no_samples(b);
    std::int64_t result = 0;
    return __builtin_mul_overflow(a, b, &result) ? ((a > 0) == (b > 0) ? kMax : kMin) : result;
  }
};

struct Divide {
  static float of(float a, float b) { return a / b; }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    if (b == 1) {
      return a;
    }
    need_no_samples(a);
    need_no_samples(b);
    if (b == 0 || (a == kMin && b == -1)) {
      refuse("it divides {} by {}", a, b);
    }
    return a / b;
  }
};

struct Maximum {
  static float of(float a, float b) { return std::max(a, b); }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    need_no_samples(a);
    need_no_samples(b);
    return std::max(a, b);
  }
};

struct Minimum {
  static float of(float a, float b) { return std::min(a, b); }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    need_no_samples(a);
    need_no_samples(b);
    return std::min(a, b);
  }
};

struct Power {
  static float of(float a, float b) { return std::pow(a, b); }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    need_no_samples(a);
    need_no_samples(b);
    return static_cast<std::int64_t>(
        std::clamp(std::pow(static_cast<double>(a), static_cast<double>(b)), -9e18, 9e18));
  }
};

void need_one_type(const Constant& a, const Constant& b) {
  if (a.real != b.real) {
    refuse("its inputs {} and {} have different types", a.name, b.name);
  }
}

template <class Function>
ConstantPointer combined(Call& call, const Constant& a, const Constant& b) {
  need_one_type(a, b);
  auto result = made(call, a.real, fitted(a, b));
  for_each_pair(result->dims, a, b, [&](std::size_t i, std::size_t of_a, std::size_t of_b) {
    if (a.real) {
      result->reals[i] = Function::of(a.reals[of_a], b.reals[of_b]);
    } else {
      result->integers[i] = Function::of(a.integers[of_a], b.integers[of_b]);
    }
  });
  return result;
}

template <class Function>
void binary(Call& call) {
  call.give(combined<Function>(call, *call.constant(0), *call.constant(1)));
}

/// Of one input or more.
template <class Function>
void many(Call& call) {
  ConstantPointer result = call.constant(0);
  for (int i = 1; i < call.inputs(); ++i) {
    result = combined<Function>(call, *result, *call.constant(i));
  }
  call.give(result);
}

/// Equal, and comparisons: 1 or 0.
template <int sign>
void compare(Call& call) {
  const Constant& a = *call.constant(0);
  const Constant& b = *call.constant(1);
  need_one_type(a, b);
  auto result = made(call, false, fitted(a, b));
  for_each_pair(result->dims, a, b, [&](std::size_t i, std::size_t of_a, std::size_t of_b) {
    int order = 0;
    if (a.real) {
      order = (a.reals[of_a] > b.reals[of_b] ? 1 : 0) - (a.reals[of_a] < b.reals[of_b] ? 1 : 0);
    } else {
      if (sign != 0) {  // only its equality is known
        need_no_samples(a.integers[of_a]);
        need_no_samples(b.integers[of_b]);
      }
      order = (a.integers[of_a] > b.integers[of_b] ? 1 : 0) -
              (a.integers[of_a] < b.integers[of_b] ? 1 : 0);
    }
    result->integers[i] = order == sign ? 1 : 0;
  });
  call.give(ConstantPointer(result));
}

/// A function of single floats.
template <class Function>
void unary(Call& call, Function function) {
  const Constant& a = *call.reals(0);
  auto result = made(call, true, a.dims);
  std::transform(a.reals.begin(), a.reals.end(), result->reals.begin(), function);
  call.give(ConstantPointer(result));
}

void square_root(Call& call) {
  unary(call, [](float x) { return std::sqrt(x); });
}
void reciprocal(Call& call) {
  unary(call, [](float x) { return 1 / x; });
}
void exponential(Call& call) {
  unary(call, [](float x) { return std::exp(x); });
}
void logarithm(Call& call) {
  unary(call, [](float x) { return std::log(x); });
}
void relu(Call& call) {
  unary(call, [](float x) { return x < 0 ? 0 : x; });
}
void magnitude(Call& call) {
  unary(call, [](float x) { return std::abs(x); });
}
void round_down(Call& call) {
  unary(call, [](float x) { return std::floor(x); });
}
void round_up(Call& call) {
  unary(call, [](float x) { return std::ceil(x); });
}
void round_to_even(Call& call) {
  unary(call, [](float x) { return std::nearbyint(x); });
}

void negative_constant(Call& call) {
  const Constant& a = *call.constant(0);
  if (a.real) {
    return unary(call, [](float x) { return -x; });
  }
  auto result = made(call, false, a.dims);
  for (std::size_t i = 0; i < a.integers.size(); ++i) {
    result->integers[i] = Subtract::of(0, a.integers[i]);
  }
  call.give(ConstantPointer(result));
}

void invert(Call& call) {
  const Constant& a = *call.constant(0);
  if (a.real) {
    refuse("it inverts numbers");
  }
  auto result = made(call, false, a.dims);
  for (std::size_t i = 0; i < a.integers.size(); ++i) {
    result->integers[i] = a.integers[i] == 0 ? 1 : 0;
  }
  call.give(ConstantPointer(result));
}

float number_of(std::int64_t value) {
  need_no_samples(value);
  return static_cast<float>(value);
}

std::int64_t integer_of(float value, bool to_bool) {
  if (to_bool) {
    return value != 0 ? 1 : 0;
  }
  if (!(std::abs(value) < 9e18F)) {
    refuse("it makes an integer of {}", value);
  }
  return static_cast<std::int64_t>(value);
}

void cast_constant(Call& call) {
  const ConstantPointer& a = call.constant(0);
  const std::int64_t to = call.attributes().integer("to", 0);
  call.attributes().flag("saturate", true);
  const auto type = static_cast<ElementType>(to);
  const bool real = type == ElementType::kFloat || type == ElementType::kDouble ||
                    type == ElementType::kFloat16 || type == ElementType::kBfloat16;
  if (to < 1 || to > 16 || type == ElementType::kString || to == 14 || to == 15) {
    refuse("its element type {} is not supported", to);
  }
  if (real && a->real) {
    return call.give(a);
  }
  auto result = made(call, real, a->dims);
  const auto count = static_cast<std::size_t>(a->size());
  for (std::size_t i = 0; i < count; ++i) {
    if (real) {
      result->reals[i] = number_of(a->integers[i]);
    } else if (a->real) {
      result->integers[i] = integer_of(a->reals[i], type == ElementType::kBool);
    } else if (type == ElementType::kBool) {
      result->integers[i] = a->integers[i] != 0 ? 1 : 0;
    } else {
      result->integers[i] = a->integers[i];
    }
  }
  call.give(ConstantPointer(result));
}

void product(Call& call) {
  const Constant& a = *call.constant(0);
  const auto axes = call.list("axes", 1);
  const bool keep = call.attributes().flag("keepdims", true);
  call.attributes().flag("noop_with_empty_axes", false);
  const bool all = !axes || (axes->size() == 1 && a.rank() == 1);
  if (a.real || !all) {
    refuse("its product is not of all elements of a list of integers");
  }
  auto result = made(call, false, std::vector<std::int64_t>(keep ? a.dims.size() : 0, 1));
  result->integers[0] = 1;
  for (const std::int64_t value : a.integers) {
    result->integers[0] = Multiply::of(result->integers[0], value);
  }
  call.give(ConstantPointer(result));
}

constexpr OperatorEntry kArithmeticEntries[] = {{"Add", binary<Add>},
                                                {"Sub", binary<Subtract>},
                                                {"Mul", binary<Multiply>},
                                                {"Div", binary<Divide>},
                                                {"Max", many<Maximum>},
                                                {"Min", many<Minimum>},
                                                {"Pow", binary<Power>},
                                                {"Equal", compare<0>},
                                                {"Greater", compare<1>},
                                                {"Less", compare<-1>},
                                                {"Sqrt", square_root},
                                                {"Reciprocal", reciprocal},
                                                {"Exp", exponential},
                                                {"Log", logarithm},
                                                {"Floor", round_down},
                                                {"Ceil", round_up},
                                                {"Round", round_to_even},
                                                {"Neg", negative_constant},
                                                {"Not", invert},
                                                {"Cast", cast_constant},
                                                {"ReduceProd", product},
                                                {"Sum", many<Add>},
                                                {"Relu", relu},
                                                {"Abs", magnitude}};

}  // namespace

std::span<const OperatorEntry> constant_arithmetic() {
  return kArithmeticEntries;
}

}  // namespace gentrain::onnx
