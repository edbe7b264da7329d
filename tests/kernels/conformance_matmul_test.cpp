// Dense layers of the CPU backend against the reference over odd extents. Bounds are relative to
// the sum of the absolute terms.
#include <array>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/matmul.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::absolute;
using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using Values = std::vector<double>;

constexpr double kSumBound = 1.5e-6;
constexpr double kActivationBound = 4e-7;

struct Extents {
  std::int64_t n, k, m;
};

/// The routines of one device on one set of operands.
class Linear {
 public:
  Linear(const Workbench& bench, DType dtype, Extents e, bool magnitudes)
      : bench_(bench), dtype_(dtype), e_(e) {
    const auto make = [&](const Shape& shape, std::uint64_t key) {
      const Values values = random_values(shape.elements(), RngKey(key));
      return bench.tensor(shape, magnitudes ? absolute(values) : values, dtype);
    };
    x_ = make({e.n, e.k}, 1);
    w_ = make({e.m, e.k}, 2);
    bias_ = make({e.m}, 3);
    dy_ = make({e.n, e.m}, 4);
  }

  Values forward(Activation activation, bool with_bias) const {
    const Result y(bench_, {e_.n, e_.m}, dtype_);
    kernels().linear_forward(bench_.queue(), x_.cview(), w_.weights(),
                             with_bias ? bias_.cview() : ConstView{}, activation, y.view());
    return y.values();
  }
  Values backward_data() const {
    const Result dx(bench_, {e_.n, e_.k}, dtype_);
    kernels().linear_backward_data(bench_.queue(), dy_.cview(), w_.weights(), dx.view());
    return dx.values();
  }
  struct Gradients {
    Values dw, dbias;
  };
  Gradients backward_weights(bool with_bias) const {
    const Result dw(bench_, {e_.m, e_.k}, dtype_);
    const Result dbias(bench_, {e_.m}, dtype_);
    kernels().linear_backward_weights(bench_.queue(), x_.cview(), dy_.cview(), dw.view(),
                                      with_bias ? dbias.view() : View{});
    return {dw.values(), dbias.values()};
  }
  [[nodiscard]] const Tensor& w() const { return w_; }

 private:
  [[nodiscard]] MatmulKernels& kernels() const { return bench_.device().matmul(); }

  const Workbench& bench_;
  DType dtype_;
  Extents e_;
  Tensor x_, w_, bias_, dy_;
};

class LinearConformance : public ::testing::TestWithParam<Extents> {
 protected:
  const Extents e_ = GetParam();
  Workbench cpu_bench_{test::cpu_device()};
  Workbench reference_bench_{test::reference_device()};
  Linear cpu_{cpu_bench_, DType::kF32, e_, false};
  Linear reference_{reference_bench_, DType::kF64, e_, false};
  Linear magnitude_{reference_bench_, DType::kF64, e_, true};
};

TEST_P(LinearConformance, Forward) {
  constexpr std::array kActivations{Activation::kNone, Activation::kTanh, Activation::kRelu,
                                    Activation::kSigmoid};
  for (const bool with_bias : {true, false}) {
    const Values sums = magnitude_.forward(Activation::kNone, with_bias);
    for (const Activation activation : kActivations) {
      const Values expected = reference_.forward(activation, with_bias);
      Values magnitude = sums;
      for (std::size_t i = 0; i < magnitude.size(); ++i) {
        magnitude[i] += std::abs(expected[i]) * kActivationBound / kSumBound;
      }
      EXPECT_TRUE(
          within(kSumBound, {e_.n, e_.m}, cpu_.forward(activation, with_bias), expected, magnitude))
          << name_of(activation) << (with_bias ? " with bias" : " without bias");
    }
  }
}

TEST_P(LinearConformance, BackwardData) {
  EXPECT_TRUE(within(kSumBound, {e_.n, e_.k}, cpu_.backward_data(), reference_.backward_data(),
                     magnitude_.backward_data()));
}

TEST_P(LinearConformance, BackwardWeights) {
  const Linear::Gradients actual = cpu_.backward_weights(true);
  const Linear::Gradients expected = reference_.backward_weights(true);
  const Linear::Gradients magnitude = magnitude_.backward_weights(true);
  EXPECT_TRUE(within(kSumBound, {e_.m, e_.k}, actual.dw, expected.dw, magnitude.dw));
  EXPECT_TRUE(within(kSumBound, {e_.m}, actual.dbias, expected.dbias, magnitude.dbias));
  EXPECT_EQ(cpu_.backward_weights(false).dw, actual.dw);
}

TEST_P(LinearConformance, RepeatsItsBits) {
  EXPECT_EQ(cpu_.forward(Activation::kTanh, true), cpu_.forward(Activation::kTanh, true));
  EXPECT_EQ(cpu_.backward_data(), cpu_.backward_data());
  EXPECT_EQ(cpu_.backward_weights(true).dw, cpu_.backward_weights(true).dw);
}

TEST_P(LinearConformance, NewWeightsAreUsedAtOnce) {
  for (const bool versioned : {true, false}) {
    const Linear layer(cpu_bench_, DType::kF32, e_, false);
    if (versioned) {
      layer.w().buffer().mark_changed();
    }
    Values expected = layer.forward(Activation::kNone, false);
    Values dx_expected = layer.backward_data();
    Values doubled = cpu_bench_.values(layer.w());
    for (Values* values : {&expected, &dx_expected, &doubled}) {
      for (double& value : *values) {
        value *= 2;
      }
    }
    const std::vector<float> weights(doubled.begin(), doubled.end());
    copy_from_host<float>(cpu_bench_.device(), cpu_bench_.queue(), weights, layer.w());
    if (versioned) {
      layer.w().buffer().mark_changed();
    }
    EXPECT_EQ(layer.forward(Activation::kNone, false), expected) << versioned;
    EXPECT_EQ(layer.backward_data(), dx_expected) << versioned;
  }
}

// The last two are too large for the own kernel: forward with few rows, and backward.
INSTANTIATE_TEST_SUITE_P(
    Extents, LinearConformance,
    ::testing::Values(Extents{1, 1, 1}, Extents{1, 3, 17}, Extents{3, 17, 1}, Extents{17, 1, 3},
                      Extents{5, 192, 100}, Extents{19, 100, 10}, Extents{33, 31, 65},
                      Extents{128, 17, 3}, Extents{3, 1024, 300}, Extents{40, 300, 500}),
    [](const auto& info) {
      return fmt::format("n{}_k{}_m{}", info.param.n, info.param.k, info.param.m);
    });

}  // namespace
}  // namespace gentrain
