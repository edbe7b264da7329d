// Functions of one tensor: each a pair of formulas on vectors, the value and the derivative at x.
#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/map.h"
#include "kernels/cpu/simd/tables.h"
#include "kernels/pointwise_function.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

// t, at least 0 and at most 1.
Vec clip01(Vec t) {
  return min(broadcast(1.0F), max(broadcast(0.0F), t));
}

// 1 inside of (0, 1), else 0.
Vec inside01(Vec t) {
  const Vec one = broadcast(1.0F);
  return select((t > Vec{}) & (t < one), one, Vec{});
}

struct Affine {
  Vec a, b;
  [[nodiscard]] Vec value(Vec x) const { return a * x + b; }
  [[nodiscard]] Vec derivative(Vec x) const { return where_number(x, a); }
};

struct Relu {
  Vec a, b, c;
  [[nodiscard]] Vec value(Vec x) const {
    // Without a slope 0 below b, not 0 times infinity.
    const Vec below = select((a == Vec{}) & (x == x), Vec{}, a * (x - b));
    return select(x >= b, min(c, x), below);
  }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec above = select(x < c, broadcast(1.0F), Vec{});
    // At b the slope, unless the maximum is there.
    return where_number(x, select((x > b) | (x >= c), above, a));
  }
};

struct Clip {
  Vec a, b;
  [[nodiscard]] Vec value(Vec x) const { return min(b, max(a, x)); }
  [[nodiscard]] Vec derivative(Vec x) const {
    return where_number(x, select((x >= a) & (x <= b), broadcast(1.0F), Vec{}));
  }
};

struct Elu {
  Vec a, b, c;
  [[nodiscard]] Vec value(Vec x) const {
    return select(x > Vec{}, b * x, b * (a * expm1_vec(x / c)));
  }
  [[nodiscard]] Vec derivative(Vec x) const {
    return select(x > Vec{}, b, b * (a * (exp_vec(x / c) / c)));
  }
};

struct HardSigmoid {
  Vec a, b;
  [[nodiscard]] Vec value(Vec x) const { return clip01(a * x + b); }
  [[nodiscard]] Vec derivative(Vec x) const { return where_number(x, a * inside01(a * x + b)); }
};

struct HardSwish {
  Vec a, b;
  [[nodiscard]] Vec value(Vec x) const { return x * clip01(a * x + b); }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec t = a * x + b;
    return clip01(t) + x * (a * inside01(t));
  }
};

struct Swish {
  Vec a;
  [[nodiscard]] Vec value(Vec x) const { return x * sigmoid_vec(a * x); }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec one = broadcast(1.0F);
    const Vec s = sigmoid_vec(a * x);
    return s * (one + (a * x) * (one - s));
  }
};

struct Gelu {
  [[nodiscard]] static Vec below(Vec x) {  // of the normal distribution, the share below x
    return broadcast(0.5F) * (broadcast(1.0F) + erf_vec(x * broadcast(0.707106781F)));
  }
  [[nodiscard]] Vec value(Vec x) const { return x * below(x); }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec density = broadcast(0.398942280F) * exp_vec(broadcast(-0.5F) * (x * x));
    return below(x) + x * density;
  }
};

// (1 + tanh(u)) / 2 is the sigmoid of 2 u, and its derivative that times the sigmoid of -2 u: so
// nothing cancels.
struct GeluTanh {
  static constexpr float kTwice = 1.59576912F;  // 2 sqrt(2 / pi)
  static constexpr float kCube = 0.044715F;
  [[nodiscard]] static Vec twice_u(Vec x) {
    return broadcast(kTwice) * (x + broadcast(kCube) * (x * x * x));
  }
  [[nodiscard]] Vec value(Vec x) const { return x * sigmoid_vec(twice_u(x)); }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec t = twice_u(x);
    const Vec s = sigmoid_vec(t);
    const Vec inside = broadcast(kTwice) * (broadcast(1.0F) + broadcast(3 * kCube) * (x * x));
    return s + x * ((s * sigmoid_vec(-t)) * inside);
  }
};

struct Mish {
  // tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2) and e = e^x; beyond 20 it is 1.
  [[nodiscard]] static Vec exponential(Vec x) { return exp_vec(min(broadcast(20.0F), x)); }
  [[nodiscard]] Vec value(Vec x) const {
    const Vec two = broadcast(2.0F);
    const Vec e = exponential(x);
    const Vec n = e * (e + two);
    return x * (n / (n + two));
  }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec two = broadcast(2.0F);
    const Vec e = exponential(x);
    const Vec n = e * (e + two);
    const Vec d = n + two;
    const Vec one = broadcast(1.0F);
    const Vec inside = n / d + x * (broadcast(4.0F) * ((e / d) * ((e + one) / d)));
    return select(x > broadcast(20.0F), one, inside);
  }
};

struct Softplus {
  Vec a;
  [[nodiscard]] Vec value(Vec x) const {
    const Vec t = a * x;
    return (max(broadcast(0.0F), t) + log1p_vec(exp_vec(-abs_vec(t)))) / a;
  }
  [[nodiscard]] Vec derivative(Vec x) const { return sigmoid_vec(a * x); }
};

struct Softsign {
  [[nodiscard]] Vec value(Vec x) const { return x / (broadcast(1.0F) + abs_vec(x)); }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec d = broadcast(1.0F) / (broadcast(1.0F) + abs_vec(x));
    return d * d;
  }
};

struct LogSigmoid {
  [[nodiscard]] Vec value(Vec x) const {
    return min(broadcast(0.0F), x) - log1p_vec(exp_vec(-abs_vec(x)));
  }
  [[nodiscard]] Vec derivative(Vec x) const { return sigmoid_vec(-x); }
};

struct Exp {
  [[nodiscard]] Vec value(Vec x) const { return exp_vec(x); }
  [[nodiscard]] Vec derivative(Vec x) const { return exp_vec(x); }
};

struct Log {
  [[nodiscard]] Vec value(Vec x) const { return log_any_vec(x); }
  [[nodiscard]] Vec derivative(Vec x) const { return broadcast(1.0F) / x; }
};

struct Sqrt {
  [[nodiscard]] Vec value(Vec x) const { return sqrt(x); }
  [[nodiscard]] Vec derivative(Vec x) const { return broadcast(0.5F) / sqrt(x); }
};

struct Abs {
  [[nodiscard]] Vec value(Vec x) const { return abs_vec(x); }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec sign = with_sign_of(broadcast(1.0F), x);
    return where_number(x, select(x == Vec{}, Vec{}, sign));
  }
};

struct Erf {
  [[nodiscard]] Vec value(Vec x) const { return erf_vec(x); }
  [[nodiscard]] Vec derivative(Vec x) const {
    return broadcast(1.12837917F) * exp_vec(-(x * x));  // 2 / sqrt(pi)
  }
};

struct Reciprocal {
  [[nodiscard]] Vec value(Vec x) const { return broadcast(1.0F) / x; }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec y = broadcast(1.0F) / x;
    return -(y * y);
  }
};

struct Power {
  float a;
  // The C library's, lane by lane: no exponent loses accuracy by a logarithm in f32.
  [[nodiscard]] static Vec power(Vec x, float exponent) {
    Vec y = {};
    for (int i = 0; i < kLanes; ++i) {
      y[i] = __builtin_powf(x[i], exponent);
    }
    return y;
  }
  [[nodiscard]] Vec value(Vec x) const { return where_number(x, a == 2 ? x * x : power(x, a)); }
  [[nodiscard]] Vec derivative(Vec x) const {
    if (a == 0) {
      return where_number(x, Vec{});
    }
    return where_number(x, broadcast(a) * (a == 2 ? x : power(x, a - 1)));
  }
};

struct Threshold {
  Vec a, b;
  [[nodiscard]] Vec value(Vec x) const { return select(x <= a, b, x); }
  [[nodiscard]] Vec derivative(Vec x) const {
    return where_number(x, select(x > a, broadcast(1.0F), Vec{}));
  }
};

struct SoftShrink {
  Vec a;
  [[nodiscard]] Vec value(Vec x) const {
    return select(abs_vec(x) <= a, Vec{}, x - with_sign_of(a, x));
  }
  [[nodiscard]] Vec derivative(Vec x) const {
    return where_number(x, select(abs_vec(x) > a, broadcast(1.0F), Vec{}));
  }
};

struct HardShrink {
  Vec a;
  [[nodiscard]] Vec value(Vec x) const { return select(abs_vec(x) <= a, Vec{}, x); }
  [[nodiscard]] Vec derivative(Vec x) const { return SoftShrink{a}.derivative(x); }
};

struct TanhShrink {
  [[nodiscard]] Vec value(Vec x) const { return x - tanh_vec(x); }
  [[nodiscard]] Vec derivative(Vec x) const {
    const Vec t = tanh_vec(x);
    return t * t;
  }
};

// visit(the function), with its constants.
template <class Visit>
void choose(const PointwiseCall& call, const Visit& visit) {
  const Vec a = broadcast(call.a);
  const Vec b = broadcast(call.b);
  const Vec c = broadcast(call.c);
  switch (static_cast<PointwiseFunction>(call.function)) {
    case PointwiseFunction::kAffine:
      return visit(Affine{a, b});
    case PointwiseFunction::kRelu:
      return visit(Relu{a, b, c});
    case PointwiseFunction::kClip:
      return visit(Clip{a, b});
    case PointwiseFunction::kElu:
      return visit(Elu{a, b, c});
    case PointwiseFunction::kHardSigmoid:
      return visit(HardSigmoid{a, b});
    case PointwiseFunction::kHardSwish:
      return visit(HardSwish{a, b});
    case PointwiseFunction::kSwish:
      return visit(Swish{a});
    case PointwiseFunction::kGelu:
      return visit(Gelu{});
    case PointwiseFunction::kGeluTanh:
      return visit(GeluTanh{});
    case PointwiseFunction::kMish:
      return visit(Mish{});
    case PointwiseFunction::kSoftplus:
      return visit(Softplus{a});
    case PointwiseFunction::kSoftsign:
      return visit(Softsign{});
    case PointwiseFunction::kLogSigmoid:
      return visit(LogSigmoid{});
    case PointwiseFunction::kExp:
      return visit(Exp{});
    case PointwiseFunction::kLog:
      return visit(Log{});
    case PointwiseFunction::kSqrt:
      return visit(Sqrt{});
    case PointwiseFunction::kAbs:
      return visit(Abs{});
    case PointwiseFunction::kErf:
      return visit(Erf{});
    case PointwiseFunction::kReciprocal:
      return visit(Reciprocal{});
    case PointwiseFunction::kPower:
      return visit(Power{call.a});
    case PointwiseFunction::kThreshold:
      return visit(Threshold{a, b});
    case PointwiseFunction::kSoftShrink:
      return visit(SoftShrink{a});
    case PointwiseFunction::kHardShrink:
      return visit(HardShrink{a});
    case PointwiseFunction::kTanhShrink:
      return visit(TanhShrink{});
  }
}

void forward(const PointwiseCall& call, const float* x, float* y, std::int64_t count) {
  choose(call,
         [&](const auto& function) { map(x, y, count, [&](Vec v) { return function.value(v); }); });
}

void backward(const PointwiseCall& call, const float* x, const float* dy, float* dx,
              std::int64_t count) {
  choose(call, [&](const auto& function) {
    map(x, dy, dx, count, [&](Vec v, Vec d) { return d * function.derivative(v); });
  });
}

}  // namespace

PointwiseTable make_pointwise_table() {
  return {forward, backward};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
