// Pointwise functions of the CPU backend against the reference: values and gradients over their
// ranges, at kinks, infinities and NaN.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/pointwise.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using ::testing::ElementsAre;
using ::testing::IsNan;
using Values = std::vector<double>;
using F = PointwiseFunction;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

struct Case {
  const char* name;
  PointwiseRule rule;
  double low = -8, high = 8;
  /// Of terms that cancel: how large they are beside the result, and how much of |x|.
  double terms = 0, terms_of_x = 0;
};

const Case kCases[] = {{"affine", {F::kAffine, -1.7, 0.3}, -8, 8, 0.3, 2},
                       {"relu", {F::kRelu, 0, 0}},
                       {"relu6", {F::kRelu, 0, 0, 6}},
                       {"relu_of_keras", {F::kRelu, 0.25, 1.5, 4}, -8, 8, 1},
                       {"clip", {F::kClip, -1.5, 2}},
                       {"clip_below", {F::kClip, 0.5, kInfinity}},
                       {"elu", {F::kElu, 0.5, 1, 1}, -20, 8},
                       {"celu", {F::kElu, 1.5, 1, 1.5}, -20, 8},
                       {"selu", {F::kElu, 1.6732632423543772, 1.0507009873554805, 1}, -20, 8},
                       {"hard_sigmoid", {F::kHardSigmoid, 0.2, 0.5}, -8, 8, 1},
                       {"hard_swish", {F::kHardSwish, 1.0 / 6, 0.5}, -8, 8, 1, 1},
                       {"swish", {F::kSwish, 1}, -80, 80},
                       {"swish_a", {F::kSwish, 1.702}},
                       {"gelu", {F::kGelu}, -8, 8, 0, 1},
                       {"gelu_tanh", {F::kGeluTanh}, -8, 8, 0, 1},
                       {"mish", {F::kMish}, -40, 40},
                       {"softplus", {F::kSoftplus, 1}, -80, 80},
                       {"softplus_a", {F::kSoftplus, 2.5}, -6, 6},
                       {"softsign", {F::kSoftsign}},
                       {"log_sigmoid", {F::kLogSigmoid}, -80, 80},
                       {"exp", {F::kExp}, -80, 80},
                       {"log", {F::kLog}, 1e-3, 3},
                       {"log_large", {F::kLog}, 1, 1e30},
                       {"sqrt", {F::kSqrt}, 0, 9},
                       {"abs", {F::kAbs}},
                       {"erf", {F::kErf}, -5, 5},
                       {"erf_small", {F::kErf}, -1e-3, 1e-3},
                       {"reciprocal", {F::kReciprocal}, 0.01, 8},
                       {"power", {F::kPower, 2.5}, 0, 8},
                       {"square", {F::kPower, 2}},
                       {"cube", {F::kPower, 3}},
                       {"power_of_0", {F::kPower, 0}},
                       {"inverse_square", {F::kPower, -2}, 0.1, 8},
                       {"threshold", {F::kThreshold, 0.5, -3}},
                       {"soft_shrink", {F::kSoftShrink, 0.5}},
                       {"hard_shrink", {F::kHardShrink, 0.5}},
                       {"tanh_shrink", {F::kTanhShrink}, -8, 8, 0, 1}};

/// GoogleTest looks for this name.
void PrintTo(const Case& c, std::ostream* stream) {  // NOLINT(readability-identifier-naming)
  *stream << c.name;
}

Values forward(const Workbench& bench, DType dtype, const PointwiseRule& rule, const Values& x,
               std::int64_t misalignment = 0) {
  const Shape shape{static_cast<std::int64_t>(x.size())};
  const Result y(bench, shape, dtype, misalignment);
  bench.device().pointwise().forward(bench.queue(), rule, bench.tensor(shape, x, dtype).cview(),
                                     y.view());
  return y.values();
}

Values backward(const Workbench& bench, DType dtype, const PointwiseRule& rule, const Values& x,
                const Values& dy) {
  const Shape shape{static_cast<std::int64_t>(x.size())};
  const Result dx(bench, shape, dtype, 1);
  bench.device().pointwise().backward(bench.queue(), rule, bench.tensor(shape, x, dtype).cview(),
                                      bench.tensor(shape, dy, dtype).cview(), dx.view());
  return dx.values();
}

class FunctionConformance : public ::testing::TestWithParam<Case> {
 protected:
  const Case c_ = GetParam();
  Workbench cpu_{test::cpu_device()};
  Workbench reference_{test::reference_device()};
};

TEST_P(FunctionConformance, Values) {
  for (const std::int64_t count : {0, 1, 7, 1003}) {
    const Values x = random_values(count, RngKey(1), c_.low, c_.high);
    const Values expected = forward(reference_, DType::kF64, c_.rule, x);
    Values magnitude = test::absolute(expected);
    for (std::size_t i = 0; i < x.size(); ++i) {
      magnitude[i] += c_.terms + c_.terms_of_x * std::abs(x[i]);
    }
    EXPECT_TRUE(within(1e-6, {count}, forward(cpu_, DType::kF32, c_.rule, x), expected, magnitude))
        << count;
  }
}

TEST_P(FunctionConformance, Gradients) {
  for (const std::int64_t count : {0, 1, 7, 1003}) {
    const Values x = random_values(count, RngKey(1), c_.low, c_.high);
    const Values dy = random_values(count, RngKey(2));
    const Values expected = backward(reference_, DType::kF64, c_.rule, x, dy);
    // Terms of a derivative are about as large as it or 1, and cancel somewhere.
    Values magnitude = test::absolute(expected);
    for (std::size_t i = 0; i < x.size(); ++i) {
      magnitude[i] += std::abs(dy[i]);
    }
    EXPECT_TRUE(
        within(2e-6, {count}, backward(cpu_, DType::kF32, c_.rule, x, dy), expected, magnitude))
        << count;
  }
}

TEST_P(FunctionConformance, AnElementHasTheSameBitsWhereverItStands) {
  const Values x = random_values(37, RngKey(3), c_.low, c_.high);
  const Values dy = random_values(37, RngKey(4));
  const Values together = forward(cpu_, DType::kF32, c_.rule, x);
  const Values gradients = backward(cpu_, DType::kF32, c_.rule, x, dy);
  EXPECT_EQ(forward(cpu_, DType::kF32, c_.rule, x, 3), together);
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(forward(cpu_, DType::kF32, c_.rule, {x[i]})[0], together[i]) << i;
    EXPECT_EQ(backward(cpu_, DType::kF32, c_.rule, {x[i]}, {dy[i]})[0], gradients[i]) << i;
  }
}

TEST_P(FunctionConformance, InPlace) {
  const Values x = random_values(19, RngKey(3), c_.low, c_.high);
  const Values dy = random_values(19, RngKey(4));
  const Tensor y = cpu_.tensor({19}, x, DType::kF32);
  PointwiseKernels& kernels = cpu_.device().pointwise();
  kernels.forward(cpu_.queue(), c_.rule, y.cview(), y.view());
  EXPECT_EQ(cpu_.values(y), forward(cpu_, DType::kF32, c_.rule, x));
  const Tensor dx = cpu_.tensor({19}, dy, DType::kF32);
  kernels.backward(cpu_.queue(), c_.rule, cpu_.tensor({19}, x, DType::kF32).cview(), dx.cview(),
                   dx.view());
  EXPECT_EQ(cpu_.values(dx), backward(cpu_, DType::kF32, c_.rule, x, dy));
}

TEST_P(FunctionConformance, ExtremesAreWhatTheFormulaGives) {
  const Values x = {kInfinity, -kInfinity, 0, -0.0, 1e-40, -1e-40, 1e10, -1e10, -1};
  const Shape shape{static_cast<std::int64_t>(x.size())};
  const Values expected = forward(reference_, DType::kF32, c_.rule, x);
  EXPECT_TRUE(within(1e-6, shape, forward(cpu_, DType::kF32, c_.rule, x), expected,
                     test::absolute(expected)));
  const Values finite(x.begin() + 2, x.end());
  const Values dy(finite.size(), 0.5);
  const Values gradient = backward(reference_, DType::kF32, c_.rule, finite, dy);
  Values magnitude = test::absolute(gradient);
  for (double& value : magnitude) {
    value += 1;
  }
  EXPECT_TRUE(within(1e-6, {std::ssize(finite)}, backward(cpu_, DType::kF32, c_.rule, finite, dy),
                     gradient, magnitude));
}

TEST_P(FunctionConformance, NanIsNotLost) {
  for (const Workbench* bench : {&cpu_, &reference_}) {
    EXPECT_THAT(forward(*bench, DType::kF32, c_.rule, {kNan, 1})[0], IsNan());
    EXPECT_THAT(backward(*bench, DType::kF32, c_.rule, {kNan, 1}, {1, 1})[0], IsNan());
    EXPECT_THAT(backward(*bench, DType::kF32, c_.rule, {0.75, 1}, {kNan, 1})[0], IsNan());
  }
}

INSTANTIATE_TEST_SUITE_P(Functions, FunctionConformance, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

class FunctionRules : public test::OnBothDevices {
 protected:
  [[nodiscard]] Values value(const PointwiseRule& rule, const Values& x) const {
    return forward(bench_, DType::kF32, rule, x);
  }
  [[nodiscard]] Values slope(const PointwiseRule& rule, const Values& x) const {
    return backward(bench_, DType::kF32, rule, x, Values(x.size(), 1));
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, FunctionRules,
                         ::testing::Values(&test::cpu_device, &test::reference_device),
                         test::name_of_device);

TEST_P(FunctionRules, Rectifiers) {
  const PointwiseRule relu6{F::kRelu, 0, 0, 6};
  EXPECT_THAT(value(relu6, {-kInfinity, -1, 0, 3, 6, 7, kInfinity}),
              ElementsAre(0, 0, 0, 3, 6, 6, 6));
  EXPECT_THAT(slope(relu6, {-kInfinity, -1, 0, 3, 6, 7, kInfinity}),
              ElementsAre(0, 0, 0, 1, 0, 0, 0));
  const PointwiseRule keras{F::kRelu, 0.25, 1, 4};
  EXPECT_THAT(value(keras, {-3, 0, 1, 2, 4, 5}), ElementsAre(-1, -0.25, 1, 2, 4, 4));
  EXPECT_THAT(slope(keras, {-3, 0, 1, 2, 4, 5}), ElementsAre(0.25, 0.25, 0.25, 1, 0, 0));
  EXPECT_THAT(slope({F::kRelu, 0.25, 1, 1}, {0, 1, 2}), ElementsAre(0.25, 0, 0));
}

TEST_P(FunctionRules, Clips) {
  const PointwiseRule clip{F::kClip, -1, 2};
  EXPECT_THAT(value(clip, {-kInfinity, -1, 0, 2, kInfinity}), ElementsAre(-1, -1, 0, 2, 2));
  EXPECT_THAT(slope(clip, {-1.5, -1, 0, 2, 2.5}), ElementsAre(0, 1, 1, 1, 0));
}

TEST_P(FunctionRules, HardOnes) {
  const PointwiseRule sigmoid{F::kHardSigmoid, 0.25, 0.5};
  EXPECT_THAT(value(sigmoid, {-3, -2, 0, 1, 2, 3}), ElementsAre(0, 0, 0.5, 0.75, 1, 1));
  EXPECT_THAT(slope(sigmoid, {-3, -2, 0, 1, 2, 3}), ElementsAre(0, 0, 0.25, 0.25, 0, 0));
  const PointwiseRule swish{F::kHardSwish, 0.25, 0.5};
  EXPECT_THAT(value(swish, {-3, -2, 0, 1, 2, 3}), ElementsAre(0, 0, 0, 0.75, 2, 3));
  EXPECT_THAT(slope(swish, {-3, -2, 0, 1, 2, 3}), ElementsAre(0, 0, 0.5, 1, 1, 1));
}

TEST_P(FunctionRules, Kinks) {
  EXPECT_THAT(slope({F::kAbs}, {-2, -0.0, 0, 2}), ElementsAre(-1, 0, 0, 1));
  EXPECT_THAT(slope({F::kElu, 2, 3, 1}, {0, 1}), ElementsAre(6, 3));
  EXPECT_THAT(value({F::kThreshold, 1, 7}, {0, 1, 2}), ElementsAre(7, 7, 2));
  EXPECT_THAT(slope({F::kThreshold, 1, 7}, {0, 1, 2}), ElementsAre(0, 0, 1));
  EXPECT_THAT(value({F::kSoftShrink, 1}, {-3, -1, 0, 1, 3}), ElementsAre(-2, 0, 0, 0, 2));
  EXPECT_THAT(value({F::kHardShrink, 1}, {-3, -1, 0, 1, 3}), ElementsAre(-3, 0, 0, 0, 3));
  for (const F shrink : {F::kSoftShrink, F::kHardShrink}) {
    EXPECT_THAT(slope({shrink, 1}, {-3, -1, 0, 1, 3}), ElementsAre(1, 0, 0, 0, 1));
  }
}

TEST(PointwiseNames, AreThoseOfTheFunctions) {
  EXPECT_EQ(name_of(F::kAffine), "affine");
  EXPECT_EQ(name_of(F::kGeluTanh), "gelu_tanh");
  EXPECT_EQ(name_of(F::kTanhShrink), "tanh_shrink");
  EXPECT_EQ(name_of(BinaryFunction::kAdd), "add");
  EXPECT_EQ(name_of(BinaryFunction::kMinimum), "minimum");
}

}  // namespace
}  // namespace gentrain
