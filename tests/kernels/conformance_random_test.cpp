// Random tensors of the CPU backend against the reference: every element is a function of key and
// index.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/random.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::Result;
using test::within;
using test::Workbench;
using Values = std::vector<double>;

class RandomConformance : public ::testing::TestWithParam<std::int64_t> {
 protected:
  Values uniform(const Workbench& bench, std::int64_t count, RngKey key = RngKey(3)) const {
    const Result y(bench, {count}, DType::kF32);
    bench.device().random().uniform(bench.queue(), key, -0.25, 1.5, y.view());
    return y.values();
  }
  Values normal(const Workbench& bench, std::int64_t count, RngKey key = RngKey(3)) const {
    const Result y(bench, {count}, DType::kF32);
    bench.device().random().normal(bench.queue(), key, 0.5, 2, y.view());
    return y.values();
  }
  Values dropout(const Workbench& bench, const Values& x, double keep) const {
    const Tensor source = bench.tensor({static_cast<std::int64_t>(x.size())}, x, DType::kF32);
    const Result y(bench, source.shape(), DType::kF32);
    bench.device().random().dropout(bench.queue(), RngKey(3).fold(1), keep, source.cview(),
                                    y.view());
    return y.values();
  }

  const std::int64_t count_ = GetParam();
  const Shape shape_{count_};
  Workbench cpu_{test::cpu_device()};
  Workbench reference_{test::reference_device()};
};

TEST_P(RandomConformance, Uniform) {
  // low + width * u: one or two roundings of numbers up to 1.75.
  EXPECT_TRUE(within(1.2e-7, shape_, uniform(cpu_, count_), uniform(reference_, count_),
                     Values(static_cast<std::size_t>(count_), 1.75)));
}

TEST_P(RandomConformance, Normal) {
  // Errors of logarithm and root, at most a few roundings of a radius up to 6, times 2.
  EXPECT_TRUE(within(5e-7, shape_, normal(cpu_, count_), normal(reference_, count_),
                     Values(static_cast<std::size_t>(count_), 12)));
}

TEST_P(RandomConformance, Dropout) {
  const Values x = test::random_values(count_, RngKey(4), 0.5, 1.5);
  for (const double keep : {1.0, 0.75, 0.5, 0.1}) {
    const Values expected = dropout(reference_, x, keep);
    EXPECT_TRUE(within(1.8e-7, shape_, dropout(cpu_, x, keep), expected, expected))
        << "an element that only one of them drops is off by all of it; keep " << keep;
  }
}

TEST_P(RandomConformance, ElementsDoNotDependOnTheCount) {
  const auto first = [&](Values values) {
    values.resize(static_cast<std::size_t>(count_));
    return values;
  };
  EXPECT_EQ(first(uniform(cpu_, count_ + 100)), uniform(cpu_, count_));
  EXPECT_EQ(first(normal(cpu_, count_ + 100)), normal(cpu_, count_));
}

TEST_P(RandomConformance, KeysDiffer) {
  EXPECT_NE(uniform(cpu_, count_, RngKey(3)), uniform(cpu_, count_, RngKey(4)));
  EXPECT_NE(normal(cpu_, count_, RngKey(3)), normal(cpu_, count_, RngKey(3).fold(0)));
}

INSTANTIATE_TEST_SUITE_P(Counts, RandomConformance, ::testing::Values(1, 2, 3, 17, 64, 1003),
                         ::testing::PrintToStringParamName());

TEST(RandomRules, NormalNumbersAreFiniteAndHaveTheirMoments) {
  const Workbench cpu(test::cpu_device());
  const std::int64_t count = 200000;
  const Result y(cpu, {count}, DType::kF32);
  cpu.device().random().normal(cpu.queue(), RngKey(9), 0, 1, y.view());
  double sum = 0;
  double squares = 0;
  double beyond_two = 0;
  for (const double value : y.values()) {
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
    beyond_two += std::abs(value) > 2 ? 1 : 0;
  }
  // Five standard errors.
  EXPECT_NEAR(sum / count, 0, 5 / std::sqrt(200000.0));
  EXPECT_NEAR(squares / count, 1, 5 * std::sqrt(2 / 200000.0));
  EXPECT_NEAR(beyond_two / count, 0.0455, 5 * std::sqrt(0.0455 / 200000));
}

}  // namespace
}  // namespace gentrain
