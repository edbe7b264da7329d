// Convolutions of the CPU backend against the reference over odd shapes, alone and fused with
// pooling. Bounds are relative to the sum of the absolute terms of each result.
#include <array>
#include <cmath>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/conv.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::absolute;
using test::message_of;
using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using ::testing::HasSubstr;
using Values = std::vector<double>;

/// One rounding is 6e-8; sums of a few hundred f32 terms in any order, or by Winograd's method.
constexpr double kSumBound = 1.5e-6;
/// The activations' own error, relative to their result.
constexpr double kActivationBound = 4e-7;

/// Host values of all operands of one geometry.
struct Operands {
  Values x, w, bias, dy, dp;
};

Operands random_operands(const ConvGeometry& g) {
  const RngKey key(17);
  return {random_values(g.x_shape().elements(), key.fold(0)),
          random_values(g.w_shape().elements(), key.fold(1)), random_values(g.oc, key.fold(2)),
          random_values(g.y_shape().elements(), key.fold(3)),
          random_values(g.pooled_shape().elements(), key.fold(4))};
}

Operands absolute(const Operands& o) {
  return {absolute(o.x), absolute(o.w), absolute(o.bias), absolute(o.dy), absolute(o.dp)};
}

struct WeightGradients {
  Values dw, dbias;
};
struct Pooled {
  Values y, argmax;
};

/// The routines of one device on one set of operands.
class Conv {
 public:
  Conv(const Workbench& bench, DType dtype, const ConvGeometry& g, const Operands& o)
      : bench_(bench),
        dtype_(dtype),
        g_(g),
        x_(bench.tensor(g.x_shape(), o.x, dtype)),
        w_(bench.tensor(g.w_shape(), o.w, dtype)),
        bias_(bench.tensor({g.oc}, o.bias, dtype)),
        dy_(bench.tensor(g.y_shape(), o.dy, dtype)),
        dp_(bench.tensor(g.pooled_shape(), o.dp, dtype)) {}

  Values forward(Activation activation, bool with_bias = true) const {
    const Result y(bench_, g_.y_shape(), dtype_);
    kernels().forward(bench_.queue(), g_, x_.cview(), w_.weights(), bias(with_bias), activation,
                      y.view());
    return y.values();
  }
  Values backward_data() const {
    const Result dx(bench_, g_.x_shape(), dtype_);
    kernels().backward_data(bench_.queue(), g_, dy_.cview(), w_.weights(), dx.view());
    return dx.values();
  }
  WeightGradients backward_weights(bool with_bias = true) const {
    const Result dw(bench_, g_.w_shape(), dtype_);
    const Result dbias(bench_, {g_.oc}, dtype_);
    kernels().backward_weights(bench_.queue(), g_, x_.cview(), dy_.cview(), dw.view(),
                               with_bias ? dbias.view() : View{});
    return {dw.values(), dbias.values()};
  }
  Pooled pool_forward(Activation activation, bool with_bias = true) const {
    const Result y(bench_, g_.pooled_shape(), dtype_);
    const Result argmax(bench_, g_.pooled_shape(), DType::kU8);
    kernels().pool_forward(bench_.queue(), g_, x_.cview(), w_.weights(), bias(with_bias),
                           activation, {y.view(), argmax.view()});
    return {y.values(), argmax.values()};
  }
  Values pool_backward_data(const Values& argmax) const {
    const Result dx(bench_, g_.x_shape(), dtype_);
    kernels().pool_backward_data(bench_.queue(), g_, dp_.cview(), positions(argmax).cview(),
                                 w_.weights(), dx.view());
    return dx.values();
  }
  WeightGradients pool_backward_weights(const Values& argmax, bool with_bias = true) const {
    const Result dw(bench_, g_.w_shape(), dtype_);
    const Result dbias(bench_, {g_.oc}, dtype_);
    kernels().pool_backward_weights(bench_.queue(), g_, x_.cview(), dp_.cview(),
                                    positions(argmax).cview(), dw.view(),
                                    with_bias ? dbias.view() : View{});
    return {dw.values(), dbias.values()};
  }

  [[nodiscard]] const Tensor& w() const { return w_; }

 private:
  [[nodiscard]] ConvKernels& kernels() const { return bench_.device().conv(); }
  [[nodiscard]] ConstView bias(bool present) const { return present ? bias_.cview() : ConstView{}; }
  [[nodiscard]] Tensor positions(const Values& argmax) const {
    return bench_.tensor(g_.pooled_shape(), argmax, DType::kU8);
  }

  const Workbench& bench_;
  DType dtype_;
  ConvGeometry g_;
  Tensor x_, w_, bias_, dy_, dp_;
};

/// bound * magnitude of the sum, plus the activation's own error, as a magnitude for `within`.
Values with_activation(const Values& magnitude, const Values& result, Activation activation) {
  Values sum = magnitude;
  for (std::size_t i = 0; activation != Activation::kNone && i < sum.size(); ++i) {
    sum[i] += std::abs(result[i]) * kActivationBound / kSumBound;
  }
  return sum;
}

constexpr std::array kActivations{Activation::kNone, Activation::kTanh, Activation::kRelu,
                                  Activation::kSigmoid};

struct Case {
  const char* name;
  ConvGeometry g;
};

class ConvConformance : public ::testing::TestWithParam<Case> {
 protected:
  const ConvGeometry g_ = GetParam().g;
  const Operands operands_ = random_operands(g_);
  Workbench cpu_bench_{test::cpu_device()};
  Workbench reference_bench_{test::reference_device()};
  Conv cpu_{cpu_bench_, DType::kF32, g_, operands_};
  Conv reference_{reference_bench_, DType::kF64, g_, operands_};
  Conv magnitude_{reference_bench_, DType::kF64, g_, absolute(operands_)};
};

TEST_P(ConvConformance, Forward) {
  for (const bool with_bias : {true, false}) {
    const Values magnitude = magnitude_.forward(Activation::kNone, with_bias);
    for (const Activation activation : kActivations) {
      const Values expected = reference_.forward(activation, with_bias);
      EXPECT_TRUE(within(kSumBound, g_.y_shape(), cpu_.forward(activation, with_bias), expected,
                         with_activation(magnitude, expected, activation)))
          << name_of(activation) << (with_bias ? " with bias" : " without bias");
    }
  }
}

TEST_P(ConvConformance, BackwardData) {
  EXPECT_TRUE(within(kSumBound, g_.x_shape(), cpu_.backward_data(), reference_.backward_data(),
                     magnitude_.backward_data()));
}

TEST_P(ConvConformance, BackwardWeights) {
  const WeightGradients expected = reference_.backward_weights();
  const WeightGradients magnitude = magnitude_.backward_weights();
  const WeightGradients actual = cpu_.backward_weights();
  EXPECT_TRUE(within(kSumBound, g_.w_shape(), actual.dw, expected.dw, magnitude.dw));
  EXPECT_TRUE(within(kSumBound, {g_.oc}, actual.dbias, expected.dbias, magnitude.dbias));
  EXPECT_TRUE(
      within(kSumBound, g_.w_shape(), cpu_.backward_weights(false).dw, expected.dw, magnitude.dw));
}

TEST_P(ConvConformance, RepeatsItsBits) {
  EXPECT_EQ(cpu_.forward(Activation::kTanh), cpu_.forward(Activation::kTanh));
  EXPECT_EQ(cpu_.backward_data(), cpu_.backward_data());
  const WeightGradients first = cpu_.backward_weights();
  std::thread other([&] {
    const Workbench bench(test::cpu_device());
    const Conv again(bench, DType::kF32, g_, operands_);
    EXPECT_EQ(again.backward_weights().dw, first.dw);
    EXPECT_EQ(again.forward(Activation::kTanh), cpu_.forward(Activation::kTanh));
  });
  other.join();
}

using Stride = std::array<std::int64_t, 2>;
using Padding = std::array<std::int64_t, 4>;  // top, bottom, left, right
using Dilation = std::array<std::int64_t, 2>;

/// Images {n, h, w, c} and kernels {oc, kh, kw}.
ConvGeometry conv(std::array<std::int64_t, 4> x, std::array<std::int64_t, 3> w,
                  Stride stride = {1, 1}, Padding padding = {}) {
  return {.n = x[0],
          .h = x[1],
          .w = x[2],
          .c = x[3],
          .oc = w[0],
          .kh = w[1],
          .kw = w[2],
          .stride_h = stride[0],
          .stride_w = stride[1],
          .top = padding[0],
          .bottom = padding[1],
          .left = padding[2],
          .right = padding[3]};
}

/// The same convolution in groups, or with dilation.
ConvGeometry with(ConvGeometry g, std::int64_t groups, Dilation dilation = {1, 1}) {
  g.groups = groups;
  g.dilation_h = dilation[0];
  g.dilation_w = dilation[1];
  return g;
}

constexpr Padding kOne{1, 1, 1, 1};
constexpr Padding kTwo{2, 2, 2, 2};

INSTANTIATE_TEST_SUITE_P(
    Shapes, ConvConformance,
    ::testing::Values(
        Case{"one_pixel", conv({1, 1, 1, 1}, {1, 1, 1})},
        Case{"one_pixel_padded", conv({2, 1, 1, 3}, {17, 3, 3}, {1, 1}, kOne)},
        Case{"k1_c17", conv({2, 5, 7, 17}, {3, 1, 1})},
        Case{"k1_stride2", conv({2, 7, 9, 17}, {17, 1, 1}, {2, 2})},
        Case{"k3_c3_same", conv({2, 6, 7, 3}, {17, 3, 3}, {1, 1}, kOne)},
        Case{"k3_c17_stride2", conv({1, 9, 8, 17}, {3, 3, 3}, {2, 2}, kOne)},
        Case{"k3_c17_valid", conv({3, 5, 5, 17}, {17, 3, 3})},
        Case{"k3_wide", conv({1, 12, 12, 16}, {32, 3, 3}, {1, 1}, kOne)},
        Case{"k3_winograd", conv({3, 12, 11, 40}, {32, 3, 3}, {1, 1}, kOne)},
        Case{"k3_winograd_wide", conv({2, 7, 8, 160}, {130, 3, 3}, {1, 1}, kOne)},
        Case{"k3_winograd_uneven", conv({1, 15, 17, 33}, {35, 3, 3}, {1, 1}, {2, 0, 1, 2})},
        Case{"k3_first_layer", conv({2, 46, 49, 3}, {65, 3, 3}, {1, 1}, kOne)},
        Case{"k9_c64_oc3", conv({1, 11, 10, 64}, {3, 9, 9}, {1, 1}, {4, 4, 4, 4})},
        Case{"k9_c3_oc64", conv({1, 10, 11, 3}, {64, 9, 9}, {1, 1}, {4, 4, 4, 4})},
        Case{"k5_c1_same", conv({3, 6, 6, 1}, {1, 5, 5}, {1, 1}, kTwo)},
        Case{"k3_c64_stride2", conv({2, 9, 10, 64}, {70, 3, 3}, {2, 2}, kOne)},
        Case{"k3x2_c65_stride2", conv({1, 8, 7, 65}, {64, 3, 2}, {2, 2}, {1, 0, 0, 1})},
        Case{"k5_c3_stride2", conv({2, 12, 11, 3}, {3, 5, 5}, {2, 2})},
        Case{"k5_c1_oc17", conv({2, 9, 12, 1}, {17, 5, 5})},
        Case{"k1x7", conv({1, 4, 9, 3}, {5, 1, 7}, {1, 1}, {0, 0, 3, 3})},
        Case{"k7x1", conv({1, 9, 4, 3}, {5, 7, 1}, {1, 1}, {3, 3, 0, 0})},
        Case{"uneven_padding", conv({2, 5, 6, 3}, {4, 3, 3}, {1, 2}, {1, 2, 0, 1})},
        Case{"stride_beyond_kernel", conv({1, 10, 10, 3}, {2, 1, 2}, {3, 3})},
        Case{"kernel_is_image", conv({17, 4, 3, 3}, {6, 4, 3})},
        Case{"lenet_conv1", conv({5, 28, 28, 1}, {6, 5, 5})},
        Case{"lenet_conv2", conv({5, 12, 12, 6}, {12, 5, 5})}),
    [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Groups, ConvConformance,
    ::testing::Values(
        Case{"two", with(conv({2, 6, 7, 8}, {12, 3, 3}, {1, 1}, kOne), 2)},
        Case{"two_of_many", with(conv({2, 12, 11, 64}, {64, 3, 3}, {1, 1}, kOne), 2)},
        Case{"two_of_many_stride2", with(conv({2, 9, 10, 128}, {140, 3, 3}, {2, 2}, kOne), 2)},
        Case{"three_k3x2", with(conv({3, 8, 7, 9}, {6, 3, 2}, {2, 1}, {1, 0, 0, 1}), 3)},
        Case{"many_of_four", with(conv({1, 7, 7, 64}, {64, 3, 3}, {1, 1}, kOne), 16)},
        Case{"k1", with(conv({2, 5, 7, 8}, {6, 1, 1}), 2)},
        Case{"k1_stride2", with(conv({2, 7, 9, 32}, {64, 1, 1}, {2, 2}), 4)},
        Case{"depthwise", with(conv({2, 9, 8, 17}, {17, 3, 3}, {1, 1}, kOne), 17)},
        Case{"depthwise_stride2", with(conv({2, 9, 8, 32}, {32, 3, 3}, {2, 2}, {0, 1, 0, 1}), 32)},
        Case{"depthwise_k5", with(conv({2, 9, 8, 24}, {24, 5, 5}, {1, 1}, kTwo), 24)},
        Case{"depthwise_one_row", with(conv({3, 1, 9, 16}, {16, 1, 3}), 16)},
        Case{"depthwise_two_each", with(conv({2, 6, 7, 5}, {10, 3, 3}, {1, 1}, kOne), 5)},
        Case{"depthwise_two_each_of_many", with(conv({2, 9, 8, 32}, {64, 3, 3}, {2, 2}, kOne), 32)},
        Case{"one_for_three", with(conv({2, 6, 7, 6}, {2, 3, 3}), 2)}),
    [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Dilation, ConvConformance,
    ::testing::Values(
        Case{"by2", with(conv({2, 12, 11, 40}, {32, 3, 3}, {1, 1}, kTwo), 1, {2, 2})},
        Case{"by2x3", with(conv({2, 9, 11, 5}, {6, 3, 3}, {1, 1}, {2, 2, 3, 3}), 1, {2, 3})},
        Case{"by2x3_stride2",
             with(conv({2, 12, 13, 5}, {6, 3, 3}, {2, 2}, {2, 1, 3, 0}), 1, {2, 3})},
        Case{"by1x2_stride2", with(conv({1, 9, 10, 64}, {70, 3, 3}, {2, 2}, kOne), 1, {1, 2})},
        Case{"by3_of_3_channels", with(conv({2, 16, 17, 3}, {64, 3, 3}, {1, 1}, kOne), 1, {3, 3})},
        Case{"k1_by2", with(conv({2, 5, 7, 17}, {3, 1, 1}), 1, {2, 2})},
        Case{"covers_the_image", with(conv({2, 7, 5, 4}, {3, 3, 3}), 1, {3, 2})},
        Case{"two_groups", with(conv({2, 9, 11, 8}, {6, 3, 3}, {2, 1}, {2, 2, 3, 3}), 2, {2, 3})},
        Case{"depthwise", with(conv({2, 12, 11, 32}, {32, 3, 3}, {1, 1}, kTwo), 32, {2, 2})}),
    [](const auto& info) { return std::string(info.param.name); });

class ConvPoolConformance : public ConvConformance {
 protected:
  void SetUp() override {
    if (!cpu_bench_.device().conv().fuses_max_pool(g_)) {
      GTEST_SKIP() << "the CPU does not fuse this geometry";
    }
  }
};

TEST_P(ConvPoolConformance, Forward) {
  const Shape shape = g_.pooled_shape();
  for (const bool with_bias : {true, false}) {
    const Values magnitude = magnitude_.pool_forward(Activation::kNone, with_bias).y;
    for (const Activation activation : kActivations) {
      const Values expected = reference_.pool_forward(activation, with_bias).y;
      EXPECT_TRUE(within(kSumBound, shape, cpu_.pool_forward(activation, with_bias).y, expected,
                         with_activation(magnitude, expected, activation)))
          << name_of(activation) << (with_bias ? " with bias" : " without bias");
    }
  }
}

TEST_P(ConvPoolConformance, ArgmaxPointsAtALargestValue) {
  // Where two values of a window are nearly equal, rounding decides: the value pointed at must be
  // the largest up to the bound.
  const Shape shape = g_.pooled_shape();
  const Values full = reference_.forward(Activation::kNone);
  const Values argmax = cpu_.pool_forward(Activation::kTanh).argmax;
  Values pointed_at;
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    const auto position = static_cast<std::int64_t>(argmax[static_cast<std::size_t>(i)]);
    ASSERT_LT(position, 4);
    const std::int64_t oc = i % g_.oc;
    const std::int64_t column = i / g_.oc % shape[2] * 2 + position % 2;
    const std::int64_t row = i / g_.oc / shape[2] % shape[1] * 2 + position / 2;
    const std::int64_t n = i / g_.oc / shape[2] / shape[1];
    const std::int64_t element = ((n * g_.oh() + row) * g_.ow() + column) * g_.oc + oc;
    pointed_at.push_back(full[static_cast<std::size_t>(element)]);
  }
  EXPECT_TRUE(within(2 * kSumBound, shape, pointed_at, reference_.pool_forward(Activation::kNone).y,
                     magnitude_.pool_forward(Activation::kNone).y));
}

TEST_P(ConvPoolConformance, BackwardData) {
  const Values argmax = reference_.pool_forward(Activation::kNone).argmax;
  EXPECT_TRUE(within(kSumBound, g_.x_shape(), cpu_.pool_backward_data(argmax),
                     reference_.pool_backward_data(argmax), magnitude_.pool_backward_data(argmax)));
}

TEST_P(ConvPoolConformance, BackwardWeights) {
  const Values argmax = reference_.pool_forward(Activation::kNone).argmax;
  const WeightGradients expected = reference_.pool_backward_weights(argmax);
  const WeightGradients magnitude = magnitude_.pool_backward_weights(argmax);
  const WeightGradients actual = cpu_.pool_backward_weights(argmax);
  EXPECT_TRUE(within(kSumBound, g_.w_shape(), actual.dw, expected.dw, magnitude.dw));
  EXPECT_TRUE(within(kSumBound, {g_.oc}, actual.dbias, expected.dbias, magnitude.dbias));
  EXPECT_TRUE(within(kSumBound, g_.w_shape(), cpu_.pool_backward_weights(argmax, false).dw,
                     expected.dw, magnitude.dw));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, ConvPoolConformance,
    ::testing::Values(Case{"lenet_conv1", conv({2, 28, 28, 1}, {6, 5, 5})},
                      Case{"lenet_conv1_one", conv({1, 28, 28, 1}, {6, 5, 5})},
                      Case{"lenet_conv1_many", conv({19, 28, 28, 1}, {6, 5, 5})},
                      Case{"lenet_conv2", conv({3, 12, 12, 6}, {12, 5, 5})},
                      Case{"lenet_conv2_many", conv({18, 12, 12, 6}, {12, 5, 5})},
                      Case{"k3", conv({3, 10, 12, 3}, {8, 3, 3})},
                      Case{"k3_odd_result", conv({2, 9, 11, 1}, {17, 3, 3})},
                      Case{"k5_c3_oc1", conv({2, 11, 9, 3}, {1, 5, 5})},
                      Case{"k1", conv({2, 6, 4, 17}, {3, 1, 1})},
                      Case{"k1x3", conv({2, 6, 8, 2}, {5, 1, 3})},
                      Case{"one_window", conv({7, 6, 6, 1}, {6, 5, 5})},
                      Case{"strided", conv({2, 12, 12, 1}, {6, 3, 3}, {2, 2})},
                      Case{"padded", conv({2, 14, 14, 1}, {6, 5, 5}, {1, 1}, kTwo)}),
    [](const auto& info) { return std::string(info.param.name); });

class ConvRules : public test::Conformance {};

TEST_F(ConvRules, WithoutPaddingWinogradsErrorsFollowTheLargestOfATile) {
  // A corner's gradient is the sum of a ninth of the terms that its neighbours have, with the
  // neighbours' rounding errors: the bound is relative to the largest.
  const ConvGeometry g = conv({2, 14, 12, 32}, {56, 3, 3});
  const Operands o = random_operands(g);
  const Conv cpu(cpu_, DType::kF32, g, o);
  const Conv reference(reference_, DType::kF64, g, o);
  EXPECT_TRUE(within(kSumBound, g.y_shape(), cpu.forward(Activation::kNone),
                     reference.forward(Activation::kNone)));
  EXPECT_TRUE(within(kSumBound, g.x_shape(), cpu.backward_data(), reference.backward_data()));
  EXPECT_TRUE(
      within(kSumBound, g.w_shape(), cpu.backward_weights().dw, reference.backward_weights().dw));
}

TEST_F(ConvRules, TheConvolutionsOfLenetAreFused) {
  ConvKernels& kernels = cpu_.device().conv();
  EXPECT_TRUE(kernels.fuses_max_pool(conv({128, 28, 28, 1}, {6, 5, 5})));
  const ConvGeometry second = conv({128, 12, 12, 6}, {12, 5, 5});
  EXPECT_TRUE(kernels.fuses_max_pool(second));
  EXPECT_FALSE(kernels.fuses_max_pool(with(second, 2)));
  EXPECT_FALSE(kernels.fuses_max_pool(with(second, 1, {2, 1})));
  EXPECT_FALSE(kernels.fuses_max_pool(with(second, 1, {1, 2})));
}

TEST_F(ConvRules, TiesGoToTheFirst) {
  // Whole numbers are exact in any order of summation, and a window of equal values ties.
  const ConvGeometry g = conv({2, 12, 12, 6}, {12, 5, 5});
  Operands o = random_operands(g);
  o.x.assign(o.x.size(), 1);
  o.w.assign(o.w.size(), 2);
  o.bias.assign(o.bias.size(), 1);
  const Conv device(cpu_, DType::kF32, g, o);
  const Pooled pooled = device.pool_forward(Activation::kNone);
  EXPECT_THAT(pooled.y, ::testing::Each(301.0));
  EXPECT_THAT(pooled.argmax, ::testing::Each(0.0));
}

TEST_F(ConvRules, WholeNumbersGiveTheReferencesArgmax) {
  const ConvGeometry g = conv({3, 28, 28, 1}, {6, 5, 5});
  Operands o = random_operands(g);
  for (Values* values : {&o.x, &o.w, &o.bias}) {
    for (double& value : *values) {
      value = std::round(2 * value);
    }
  }
  const Conv device(cpu_, DType::kF32, g, o);
  const Conv reference(reference_, DType::kF64, g, o);
  const Pooled expected = reference.pool_forward(Activation::kNone);
  const Pooled actual = device.pool_forward(Activation::kNone);
  EXPECT_EQ(actual.y, expected.y);
  EXPECT_EQ(actual.argmax, expected.argmax);
}

TEST_F(ConvRules, TheFirstNanOfAWindowWins) {
  const ConvGeometry g = conv({3, 12, 12, 6}, {12, 5, 5});
  Operands o = random_operands(g);
  for (Values* values : {&o.x, &o.w, &o.bias}) {
    for (double& value : *values) {
      value = std::round(2 * value);  // exact in any order
    }
  }
  for (std::size_t i = 50; i < o.x.size(); i += 311) {
    o.x[i] = std::nan("");
  }
  const Pooled expected = Conv(reference_, DType::kF64, g, o).pool_forward(Activation::kTanh);
  const Pooled actual = Conv(cpu_, DType::kF32, g, o).pool_forward(Activation::kTanh);
  EXPECT_EQ(actual.argmax, expected.argmax);
  EXPECT_TRUE(within(kSumBound, g.pooled_shape(), actual.y, expected.y));
  for (const double position : {0, 1, 2, 3}) {
    EXPECT_THAT(expected.argmax, ::testing::Contains(position));
  }
}

TEST_F(ConvRules, NewWeightsAreUsedAtOnce) {
  for (const ConvGeometry& g : {conv({2, 8, 8, 16}, {16, 3, 3}), conv({2, 28, 28, 1}, {6, 5, 5}),
                                conv({2, 8, 8, 32}, {40, 3, 3}, {1, 1}, kOne)}) {
    const Operands o = random_operands(g);
    Operands doubled = o;
    for (double& value : doubled.w) {
      value *= 2;
    }
    for (const bool versioned : {true, false}) {
      const Conv device(cpu_, DType::kF32, g, o);
      if (versioned) {
        device.w().buffer().mark_changed();
      }
      const Values before = device.forward(Activation::kNone, false);
      const Values dx_before = device.backward_data();
      std::vector<float> weights(doubled.w.begin(), doubled.w.end());
      copy_from_host<float>(cpu_.device(), cpu_.queue(), weights, device.w());
      if (versioned) {
        device.w().buffer().mark_changed();
      }
      const Values after = device.forward(Activation::kNone, false);
      const Values dx_after = device.backward_data();
      for (std::size_t i = 0; i < before.size(); ++i) {
        ASSERT_EQ(after[i], 2 * before[i]) << (versioned ? "new version" : "version 0");
      }
      for (std::size_t i = 0; i < dx_before.size(); ++i) {
        ASSERT_EQ(dx_after[i], 2 * dx_before[i]) << (versioned ? "new version" : "version 0");
      }
    }
  }
}

}  // namespace
}  // namespace gentrain
