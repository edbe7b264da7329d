// Pointwise routines and optimizer updates of the CPU backend against the reference, over sizes
// with and without vector tails, on and off vector boundaries.
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <tuple>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/elementwise.h"
#include "kernels/update.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using Values = std::vector<double>;

constexpr double kRounding = 6e-8;  // of one f32 operation, relative

/// Number of elements, and by how many the views are off their 64-byte boundary.
using Layout = std::tuple<std::int64_t, std::int64_t>;

class PointwiseConformance : public ::testing::TestWithParam<Layout> {
 protected:
  using Routine = std::function<void(const Workbench&, ConstView, ConstView, View)>;

  /// Runs a routine of two sources on one device.
  Values run(const Workbench& bench, DType dtype, const Routine& routine, const Values& a,
             const Values& b) const {
    const Result first(bench, shape_, dtype, offset_);
    const Result second(bench, shape_, dtype, offset_);
    copy(bench, a, first);
    copy(bench, b, second);
    const Result y(bench, shape_, dtype, offset_);
    routine(bench, first.view(), second.view(), y.view());
    Values apart = y.values();
    routine(bench, first.view(), second.view(), first.view());
    EXPECT_EQ(first.values(), apart) << "the destination is the first source";
    copy(bench, a, first);
    routine(bench, first.view(), second.view(), second.view());
    EXPECT_EQ(second.values(), apart) << "the destination is the second source";
    return apart;
  }

  /// Compares both devices; |error| <= bound * |result|, and never more is needed for zero.
  void expect_conforms(double bound, const Routine& routine) const {
    const Values expected = run(reference_, DType::kF64, routine, a_, b_);
    EXPECT_TRUE(within(bound, shape_, run(cpu_, DType::kF32, routine, a_, b_), expected,
                       test::absolute(expected)));
  }

  static void copy(const Workbench& bench, const Values& values, const Result& to) {
    const Tensor source = bench.tensor(to.tensor().shape(), values, to.tensor().dtype());
    bench.device().to_device(bench.queue(), source.data(), to.tensor().data(), source.bytes());
  }

  const std::int64_t count_ = std::get<0>(GetParam());
  const std::int64_t offset_ = std::get<1>(GetParam());
  const Shape shape_{count_};
  const Values a_ = random_values(count_, RngKey(1), -5, 5);
  const Values b_ = random_values(count_, RngKey(2), -5, 5);
  Workbench cpu_{test::cpu_device()};
  Workbench reference_{test::reference_device()};
};

TEST_P(PointwiseConformance, Activations) {
  const auto activate = [](Activation activation) {
    return [=](const Workbench& bench, ConstView x, ConstView, View y) {
      bench.device().elementwise().activate(bench.queue(), activation, x, y);
    };
  };
  const auto check = [&](Activation activation, double bound) {
    const Result x(cpu_, shape_, DType::kF32, offset_);
    copy(cpu_, a_, x);
    const Result y(cpu_, shape_, DType::kF32, offset_);
    activate(activation)(cpu_, x.view(), {}, y.view());
    const Tensor wide = reference_.tensor(shape_, a_, DType::kF64);
    const Result expected(reference_, shape_, DType::kF64);
    activate(activation)(reference_, wide.cview(), {}, expected.view());
    EXPECT_TRUE(
        within(bound, shape_, y.values(), expected.values(), test::absolute(expected.values())))
        << name_of(activation);
    activate(activation)(cpu_, x.view(), {}, x.view());
    EXPECT_EQ(x.values(), y.values()) << "in place";
  };
  check(Activation::kNone, 0);
  check(Activation::kRelu, 0);
  check(Activation::kTanh, 4e-7);
  check(Activation::kSigmoid, 4e-7);
}

TEST_P(PointwiseConformance, ActivationGradients) {
  for (const Activation activation :
       {Activation::kNone, Activation::kRelu, Activation::kTanh, Activation::kSigmoid}) {
    const Routine routine = [=](const Workbench& bench, ConstView y, ConstView dy, View dx) {
      bench.device().elementwise().activate_backward(bench.queue(), activation, y, dy, dx);
    };
    // 1 - y^2 and y (1 - y) cancel near their zeros: the error is relative to the terms.
    Values y = a_;
    Values magnitude = test::absolute(b_);
    for (std::size_t i = 0; i < y.size(); ++i) {
      y[i] = static_cast<float>(y[i] / 5);
      magnitude[i] *= 1 + y[i] * y[i];
    }
    EXPECT_TRUE(within(3 * kRounding, shape_, run(cpu_, DType::kF32, routine, y, b_),
                       run(reference_, DType::kF64, routine, y, b_), magnitude))
        << name_of(activation);
  }
}

TEST_P(PointwiseConformance, LeakyRelu) {
  for (const double slope : {0.2, 1.5}) {
    expect_conforms(2 * kRounding, [=](const Workbench& bench, ConstView a, ConstView, View y) {
      bench.device().elementwise().leaky_relu(bench.queue(), slope, a, y);
    });
    expect_conforms(2 * kRounding, [=](const Workbench& bench, ConstView a, ConstView b, View y) {
      bench.device().elementwise().leaky_relu_backward(bench.queue(), slope, a, b, y);
    });
  }
}

TEST_P(PointwiseConformance, AddAndActivate) {
  for (const Activation activation :
       {Activation::kNone, Activation::kRelu, Activation::kTanh, Activation::kSigmoid}) {
    const Routine routine = [=](const Workbench& bench, ConstView a, ConstView b, View y) {
      bench.device().elementwise().add_activate(bench.queue(), activation, a, b, y);
    };
    // The rounding of a sum of up to 10 passes through the function.
    EXPECT_TRUE(within(4e-7, shape_, run(cpu_, DType::kF32, routine, a_, b_),
                       run(reference_, DType::kF64, routine, a_, b_), Values(a_.size(), 2)))
        << name_of(activation);
  }
}

TEST_P(PointwiseConformance, Arithmetic) {
  expect_conforms(kRounding, [](const Workbench& bench, ConstView a, ConstView b, View y) {
    bench.device().elementwise().add(bench.queue(), a, b, y);
  });
  expect_conforms(kRounding, [](const Workbench& bench, ConstView a, ConstView b, View y) {
    bench.device().elementwise().multiply(bench.queue(), a, b, y);
  });
}

TEST_P(PointwiseConformance, Scale) {
  const Tensor x = cpu_.tensor(shape_, a_, DType::kF32);
  const Result y(cpu_, shape_, DType::kF32, offset_);
  cpu_.device().elementwise().scale(cpu_.queue(), 0.3, x.cview(), y.view());
  Values expected = a_;
  for (double& value : expected) {
    value *= 0.3;
  }
  // The factor is rounded to f32 too.
  EXPECT_TRUE(within(2 * kRounding, shape_, y.values(), expected, test::absolute(expected)));
}

TEST_P(PointwiseConformance, Fill) {
  const Result y(cpu_, shape_, DType::kF32, offset_);
  cpu_.device().elementwise().fill(cpu_.queue(), -2.5, y.view());
  EXPECT_THAT(y.values(), ::testing::Each(-2.5));
}

TEST_P(PointwiseConformance, CastFromBytes) {
  Values bytes;
  for (std::int64_t i = 0; i < count_; ++i) {
    bytes.push_back(static_cast<double>(i * 37 % 256));
  }
  const Result x(cpu_, shape_, DType::kU8, offset_);
  copy(cpu_, bytes, x);
  const Result y(cpu_, shape_, DType::kF32, offset_);
  const double factor = 1 / 255.0 / 0.30811;
  const double shift = -0.13066 / 0.30811;
  cpu_.device().elementwise().cast_u8(cpu_.queue(), x.view(), factor, shift, y.view());
  Values expected;
  for (const double byte : bytes) {
    expected.push_back(
        std::fma(static_cast<float>(byte), static_cast<float>(factor), static_cast<float>(shift)));
  }
  EXPECT_EQ(y.values(), expected) << "a fused multiply-add in f32, bit by bit";
}

TEST_P(PointwiseConformance, BitsDoNotDependOnThePlaceOfAnElement) {
  // Vector bodies and tails must agree: where an element falls depends on the extents before it.
  const Tensor x = cpu_.tensor(shape_, a_, DType::kF32);
  for (const Activation activation : {Activation::kTanh, Activation::kSigmoid}) {
    const Result whole(cpu_, shape_, DType::kF32, offset_);
    cpu_.device().elementwise().activate(cpu_.queue(), activation, x.cview(), whole.view());
    const Values expected = whole.values();
    for (std::int64_t i = 0; i < std::min<std::int64_t>(count_, 70); ++i) {
      const Result one(cpu_, {1}, DType::kF32);
      cpu_.device().elementwise().activate(cpu_.queue(), activation, x.slice(i, {1}).cview(),
                                           one.view());
      ASSERT_EQ(one.values()[0], expected[static_cast<std::size_t>(i)]) << i;
    }
  }
}

struct UpdateState {
  Values w, first, second;
};

class UpdateConformance : public PointwiseConformance {
 protected:
  /// Three steps of an optimizer on one device.
  template <class Step>
  UpdateState run_steps(const Workbench& bench, DType dtype, Step step) const {
    const Result w(bench, shape_, dtype, offset_);
    const Result first(bench, shape_, dtype, offset_);
    const Result second(bench, shape_, dtype, offset_);
    copy(bench, a_, w);
    copy(bench, Values(a_.size(), 0), first);
    copy(bench, Values(a_.size(), 0), second);
    for (int i = 1; i <= 3; ++i) {
      const Values gradient = random_values(count_, RngKey(7).fold(static_cast<std::uint64_t>(i)));
      const Tensor g = bench.tensor(shape_, gradient, dtype);
      step(bench, i, g.cview(), first.view(), second.view(), w.view());
    }
    return {w.values(), first.values(), second.values()};
  }

  /// Weights to 4 roundings of |w|, at most 5 here; moments to `moment_bound` of at most 1.
  template <class Step>
  void expect_steps_conform(Step step, double moment_bound) const {
    const UpdateState actual = run_steps(cpu_, DType::kF32, step);
    const UpdateState expected = run_steps(reference_, DType::kF64, step);
    const Values five(a_.size(), 5);
    const Values one(a_.size(), 1);
    EXPECT_TRUE(within(4 * kRounding, shape_, actual.w, expected.w, five)) << "w";
    EXPECT_TRUE(within(moment_bound, shape_, actual.first, expected.first, one)) << "first moment";
    EXPECT_TRUE(within(moment_bound, shape_, actual.second, expected.second, one))
        << "second moment";
  }
};

TEST_P(UpdateConformance, Sgd) {
  for (const SgdStep& options :
       {SgdStep{.lr = 0.4}, SgdStep{.lr = 0.1, .weight_decay = 0.01, .grad_scale = 0.5},
        SgdStep{.lr = 0.1, .momentum = 0.9},
        SgdStep{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true}}) {
    expect_steps_conform(
        [&](const Workbench& bench, int, ConstView g, View velocity, View, View w) {
          bench.device().update().sgd(bench.queue(), options, g,
                                      options.momentum == 0 ? View{} : velocity, w);
        },
        20 * kRounding);
  }
}

TEST_P(UpdateConformance, Adam) {
  for (const AdamStep& options :
       {AdamStep{.lr = 1e-3}, AdamStep{.lr = 1e-2, .weight_decay = 0.1, .grad_scale = 0.5},
        AdamStep{.lr = 1e-2, .weight_decay = 0.1, .decoupled = true},
        AdamStep{.lr = 1e-3, .beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-3},
        AdamStep{.lr = 1e-3, .beta1 = 0, .beta2 = 0.9}}) {
    expect_steps_conform(
        [&](const Workbench& bench, int step, ConstView g, View m, View v, View w) {
          AdamStep now = options;
          now.step = step;
          bench.device().update().adam(bench.queue(), now, g, options.beta1 == 0 ? View{} : m, v,
                                       w);
        },
        8 * kRounding);
  }
}

TEST_P(UpdateConformance, ASegmentAloneGivesTheSameBits) {
  const Tensor g = cpu_.tensor(shape_, b_, DType::kF32);
  const auto step_in_parts = [&](std::int64_t first_part) {
    const Tensor w = cpu_.tensor(shape_, a_, DType::kF32);
    const Tensor m = cpu_.full(shape_, 0.25, DType::kF32);
    const Tensor v = cpu_.full(shape_, 0.5, DType::kF32);
    const auto part = [&](std::int64_t first, std::int64_t count) {
      if (count > 0) {
        cpu_.device().update().adam(cpu_.queue(), {.lr = 0.01}, g.slice(first, {count}).cview(),
                                    m.slice(first, {count}).view(), v.slice(first, {count}).view(),
                                    w.slice(first, {count}).view());
      }
    };
    part(0, first_part);
    part(first_part, count_ - first_part);
    return cpu_.values(w);
  };
  const Values whole = step_in_parts(0);
  for (const std::int64_t cut : {count_ / 3, count_ / 2, count_ - 1}) {
    EXPECT_EQ(step_in_parts(cut), whole) << "cut at " << cut;
  }
}

std::string layout_name(const ::testing::TestParamInfo<Layout>& info) {
  return fmt::format("n{}_off{}", std::get<0>(info.param), std::get<1>(info.param));
}
const auto kLayouts =
    ::testing::Combine(::testing::Values(1, 3, 17, 64, 1003), ::testing::Values(0, 1));
INSTANTIATE_TEST_SUITE_P(Layouts, PointwiseConformance, kLayouts, layout_name);
INSTANTIATE_TEST_SUITE_P(Layouts, UpdateConformance, kLayouts, layout_name);

class PointwiseExtremes : public test::Conformance {
 protected:
  Values activate(Activation activation, const Values& x) const {
    const Tensor source = cpu_.tensor({static_cast<std::int64_t>(x.size())}, x, DType::kF32);
    const Result y(cpu_, source.shape(), DType::kF32);
    cpu_.device().elementwise().activate(cpu_.queue(), activation, source.cview(), y.view());
    return y.values();
  }
};

TEST_F(PointwiseExtremes, TanhHoldsItsBoundOverItsRange) {
  Values x;
  for (int i = 0; i < 7430; ++i) {  // 1e-30 to 127
    const double magnitude = 1e-30 * std::pow(1.01, i);
    x.push_back(static_cast<float>(magnitude));
    x.push_back(-static_cast<float>(magnitude));
  }
  Values expected;
  for (const double value : x) {
    expected.push_back(std::tanh(value));
  }
  EXPECT_TRUE(within(4e-7, {static_cast<std::int64_t>(x.size())}, activate(Activation::kTanh, x),
                     expected, test::absolute(expected)));
}

TEST_F(PointwiseExtremes, SigmoidHoldsItsBoundOverItsRange) {
  Values x;
  for (int i = 0; i < 2000; ++i) {  // up to 100
    x.push_back(static_cast<float>(-87 + 0.0937 * i));
  }
  Values expected;
  for (const double value : x) {
    expected.push_back(1 / (1 + std::exp(-value)));
  }
  EXPECT_TRUE(within(4e-7, {static_cast<std::int64_t>(x.size())}, activate(Activation::kSigmoid, x),
                     expected, test::absolute(expected)));
}

TEST_F(PointwiseExtremes, InfinitiesSaturate) {
  const double inf = std::numeric_limits<double>::infinity();
  using ::testing::ElementsAre;
  EXPECT_THAT(activate(Activation::kTanh, {-inf, inf, 0}), ElementsAre(-1, 1, 0));
  EXPECT_THAT(activate(Activation::kSigmoid, {-inf, inf, 0}), ElementsAre(0, 1, 0.5));
  EXPECT_THAT(activate(Activation::kRelu, {-inf, inf, 0}), ElementsAre(0, inf, 0));
}

TEST_F(PointwiseExtremes, NanIsNotLost) {
  const double nan = std::nan("");
  for (const Activation activation :
       {Activation::kNone, Activation::kTanh, Activation::kRelu, Activation::kSigmoid}) {
    EXPECT_THAT(activate(activation, {nan, 1})[0], ::testing::IsNan()) << name_of(activation);
    const Tensor x = cpu_.tensor({2}, Values{nan, 1}, DType::kF32);
    const Result y(cpu_, {2}, DType::kF32);
    cpu_.device().elementwise().add_activate(cpu_.queue(), activation, x.cview(), x.cview(),
                                             y.view());
    EXPECT_THAT(y.values()[0], ::testing::IsNan()) << name_of(activation);
    cpu_.device().elementwise().leaky_relu(cpu_.queue(), 0.2, x.cview(), y.view());
    EXPECT_THAT(y.values()[0], ::testing::IsNan());
  }
}

}  // namespace
}  // namespace gentrain
