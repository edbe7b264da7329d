// Losses and reductions of the CPU backend against the reference.
#include <array>
#include <cmath>
#include <limits>
#include <tuple>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/loss.h"
#include "kernels/reduce.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using Values = std::vector<double>;

/// e^x, a sum of k terms and a quotient, relative to the probability p; and what rounding x - max,
/// about log p, to f32 does to e^(x - max).
constexpr double kSoftmaxBound = 1e-6;
constexpr double kSubtractionBound = 1e-7;

/// n rows, k classes, and the largest magnitude of a logit.
using Rows = std::tuple<std::int64_t, std::int64_t, double>;

class LossConformance : public ::testing::TestWithParam<Rows> {
 protected:
  struct Losses {
    Values probabilities, sums;
  };
  Losses forward(const Workbench& bench, DType dtype, const Values& weights = {}) const {
    const Tensor logits = bench.tensor(shape_, logits_, dtype);
    const Result probabilities(bench, shape_, dtype);
    const Result sums(bench, {2}, dtype);
    const Tensor of_rows = weights.empty() ? Tensor() : bench.tensor({n_}, weights, dtype);
    bench.device().loss().softmax_cross_entropy(
        bench.queue(), logits.cview(), labels(bench).cview(),
        weights.empty() ? ConstView{} : of_rows.cview(), probabilities.view(), sums.view());
    return {probabilities.values(), sums.values()};
  }
  Values backward(const Workbench& bench, DType dtype, const Values& weights = {}) const {
    const Tensor p = bench.tensor(shape_, random_values(n_ * k_, RngKey(6), 0, 1), dtype);
    const Result dlogits(bench, shape_, dtype);
    const Tensor of_rows = weights.empty() ? Tensor() : bench.tensor({n_}, weights, dtype);
    bench.device().loss().softmax_cross_entropy_backward(
        bench.queue(), p.cview(), labels(bench).cview(),
        weights.empty() ? ConstView{} : of_rows.cview(), 1 / 2048.0, dlogits.view());
    return dlogits.values();
  }
  [[nodiscard]] Tensor labels(const Workbench& bench) const {
    Values labels;
    for (std::int64_t i = 0; i < n_; ++i) {
      labels.push_back(static_cast<double>(i * 7 % k_));
    }
    return bench.tensor({n_}, labels, DType::kI32);
  }

  const std::int64_t n_ = std::get<0>(GetParam());
  const std::int64_t k_ = std::get<1>(GetParam());
  const double range_ = std::get<2>(GetParam());
  const Shape shape_{n_, k_};
  const Values logits_ = random_values(n_ * k_, RngKey(5), -range_, range_);
  Workbench cpu_{test::cpu_device()};
  Workbench reference_{test::reference_device()};
};

TEST_P(LossConformance, CrossEntropy) {
  const Losses actual = forward(cpu_, DType::kF32);
  const Losses expected = forward(reference_, DType::kF64);
  Values magnitude = expected.probabilities;
  for (double& p : magnitude) {
    // Probabilities beyond the range of f32 may be 0.
    p = p * (1 - std::log(p) * kSubtractionBound / kSoftmaxBound) + 1e-30;
  }
  EXPECT_TRUE(
      within(kSoftmaxBound, shape_, actual.probabilities, expected.probabilities, magnitude));
  EXPECT_NEAR(actual.sums[0], expected.sums[0], 1e-6 * static_cast<double>(n_) * (2 * range_ + 1));
  EXPECT_EQ(actual.sums[1], expected.sums[1]);
}

TEST_P(LossConformance, Softmax) {
  const Tensor logits = cpu_.tensor(shape_, logits_, DType::kF32);
  const Result probabilities(cpu_, shape_, DType::kF32);
  cpu_.device().loss().softmax(cpu_.queue(), logits.cview(), probabilities.view());
  EXPECT_EQ(probabilities.values(), forward(cpu_, DType::kF32).probabilities);
}

TEST_P(LossConformance, Gradient) {
  const Values scale(static_cast<std::size_t>(n_ * k_), 1 / 2048.0);
  EXPECT_TRUE(within(1.2e-7, shape_, backward(cpu_, DType::kF32), backward(reference_, DType::kF64),
                     scale));
}

TEST_P(LossConformance, WeightsOfRows) {
  const Values weights = random_values(n_, RngKey(7), 0.25, 4);
  const Losses actual = forward(cpu_, DType::kF32, weights);
  const Losses expected = forward(reference_, DType::kF64, weights);
  EXPECT_NEAR(actual.sums[0], expected.sums[0], 4e-6 * static_cast<double>(n_) * (2 * range_ + 1));
  EXPECT_EQ(actual.sums[1], expected.sums[1]);
  EXPECT_EQ(actual.probabilities, forward(cpu_, DType::kF32).probabilities);
  const Values scale(static_cast<std::size_t>(n_ * k_), 4 / 2048.0);
  EXPECT_TRUE(within(4e-7, shape_, backward(cpu_, DType::kF32, weights),
                     backward(reference_, DType::kF64, weights), scale));
}

TEST_P(LossConformance, WeightsOfOneGiveTheBitsOfNone) {
  const Values ones(static_cast<std::size_t>(n_), 1);
  EXPECT_EQ(forward(cpu_, DType::kF32, ones).sums, forward(cpu_, DType::kF32).sums);
  EXPECT_EQ(backward(cpu_, DType::kF32, ones), backward(cpu_, DType::kF32));
}

TEST_P(LossConformance, ARowAloneGivesTheSameBits) {
  const Values whole = forward(cpu_, DType::kF32).probabilities;
  const Tensor logits = cpu_.tensor(shape_, logits_, DType::kF32);
  for (std::int64_t row = 0; row < n_; ++row) {
    const Result alone(cpu_, {1, k_}, DType::kF32);
    cpu_.device().loss().softmax(cpu_.queue(), logits.slice(row * k_, {1, k_}).cview(),
                                 alone.view());
    const auto first = whole.begin() + row * k_;
    ASSERT_EQ(alone.values(), Values(first, first + k_)) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, LossConformance,
                         ::testing::Values(Rows{1, 1, 1}, Rows{1, 10, 1}, Rows{3, 17, 5},
                                           Rows{17, 3, 5}, Rows{33, 10, 20}, Rows{5, 1000, 3},
                                           Rows{9, 10, 80}),
                         [](const auto& info) {
                           return fmt::format("n{}_k{}_range{}", std::get<0>(info.param),
                                              std::get<1>(info.param),
                                              static_cast<int>(std::get<2>(info.param)));
                         });

class LossRules : public test::Conformance {};

TEST_F(LossRules, ATieCountsForItsFirstClass) {
  const std::vector<double> logits{1, 3, 3, 3, 3, 1};
  const std::vector<double> labels{1, 1};
  for (const Workbench* bench : {&cpu_, &reference_}) {
    const Tensor x = bench->tensor({2, 3}, logits, DType::kF32);
    const Tensor y = bench->tensor({2}, labels, DType::kI32);
    const Result p(*bench, {2, 3}, DType::kF32);
    const Result sums(*bench, {2}, DType::kF32);
    bench->device().loss().softmax_cross_entropy(bench->queue(), x.cview(), y.cview(), {}, p.view(),
                                                 sums.view());
    EXPECT_EQ(sums.values()[1], 1) << bench->device().identity().kind;
  }
}

TEST_F(LossRules, ANanLogitGivesANanLoss) {
  const std::vector<double> logits{1, std::nan(""), 3};
  const Tensor x = cpu_.tensor({1, 3}, logits, DType::kF32);
  const Tensor y = cpu_.full({1}, 0, DType::kI32);
  const Result p(cpu_, {1, 3}, DType::kF32);
  const Result sums(cpu_, {2}, DType::kF32);
  cpu_.device().loss().softmax_cross_entropy(cpu_.queue(), x.cview(), y.cview(), {}, p.view(),
                                             sums.view());
  EXPECT_THAT(sums.values()[0], ::testing::IsNan());
}

class ReduceConformance : public ::testing::TestWithParam<std::int64_t> {
 protected:
  const std::int64_t count_ = GetParam();
  const Values x_ = random_values(count_, RngKey(8));
  Workbench cpu_{test::cpu_device()};
  Workbench reference_{test::reference_device()};
  Tensor cpu_x_ = cpu_.tensor({count_}, x_, DType::kF32);
  Tensor reference_x_ = reference_.tensor({count_}, x_, DType::kF64);

  Values square_sums(const Workbench& bench, const Tensor& x) const {
    const Result blocks(bench, {(x.elements() + kReduceBlock - 1) / kReduceBlock}, DType::kF64);
    bench.device().reduce().square_sums(bench.queue(), x.cview(), blocks.view());
    return blocks.values();
  }
};

TEST_P(ReduceConformance, Sum) {
  const Result actual(cpu_, {}, DType::kF32);
  cpu_.device().reduce().sum(cpu_.queue(), cpu_x_.cview(), actual.view());
  double expected = 0;
  double magnitude = 0;
  for (const double value : x_) {
    expected += value;
    magnitude += std::abs(value);
  }
  EXPECT_NEAR(actual.values()[0], expected, 1e-6 * magnitude);
}

TEST_P(ReduceConformance, SquareSums) {
  const Values expected = square_sums(reference_, reference_x_);
  const Shape blocks{static_cast<std::int64_t>(expected.size())};
  EXPECT_TRUE(within(1e-6, blocks, square_sums(cpu_, cpu_x_), expected, expected));
}

class SegmentConformance : public ReduceConformance {};

TEST_P(SegmentConformance, BlocksOfASegmentAreThoseOfTheWhole) {
  const Values whole = square_sums(cpu_, cpu_x_);
  const Tensor rest = cpu_x_.slice(kReduceBlock, {count_ - kReduceBlock});
  EXPECT_EQ(square_sums(cpu_, rest), Values(whole.begin() + 1, whole.end()));
}

TEST_P(ReduceConformance, AllFiniteSeesEveryElement) {
  const auto all_finite = [&] {
    return cpu_.device().reduce().all_finite(cpu_.queue(), cpu_x_.cview());
  };
  EXPECT_TRUE(all_finite());
  const auto inf = std::numeric_limits<float>::infinity();
  const std::int64_t step = std::max<std::int64_t>(1, count_ / 40);
  for (std::int64_t i = 0; i < count_; i += step) {
    for (const float bad : {inf, -inf, std::numeric_limits<float>::quiet_NaN()}) {
      const std::array<float, 1> good{static_cast<float>(x_[static_cast<std::size_t>(i)])};
      copy_from_host<float>(cpu_.device(), cpu_.queue(), std::array{bad}, cpu_x_.slice(i, {1}));
      EXPECT_FALSE(all_finite()) << bad << " at " << i;
      copy_from_host<float>(cpu_.device(), cpu_.queue(), good, cpu_x_.slice(i, {1}));
    }
  }
  EXPECT_TRUE(all_finite());
}

INSTANTIATE_TEST_SUITE_P(Counts, ReduceConformance,
                         ::testing::Values(1, 3, 17, 4095, 4096, 4097, 10007),
                         ::testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Counts, SegmentConformance, ::testing::Values(4097, 10007),
                         ::testing::PrintToStringParamName());

TEST(ReduceRules, TheLargestNumberIsFinite) {
  const Workbench cpu(test::cpu_device());
  const Tensor x = cpu.full({9}, std::numeric_limits<float>::max(), DType::kF32);
  EXPECT_TRUE(cpu.device().reduce().all_finite(cpu.queue(), x.cview()));
}

}  // namespace
}  // namespace gentrain
