// The losses of generative models: the CPU backend against the reference.
#include <cmath>
#include <tuple>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/loss.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using Values = std::vector<double>;

/// n rows, k values, and the largest magnitude of a logit, mean or logarithm of a variance.
using Rows = std::tuple<std::int64_t, std::int64_t, double>;

class GenerativeConformance : public ::testing::TestWithParam<Rows> {
 protected:
  const std::int64_t n_ = std::get<0>(GetParam());
  const std::int64_t k_ = std::get<1>(GetParam());
  const double range_ = std::get<2>(GetParam());
  const Shape shape_{n_, k_};
  const Shape twice_{n_, 2 * k_};
  const Values logits_ = random_values(n_ * k_, RngKey(5), -range_, range_);
  const Values targets_ = random_values(n_ * k_, RngKey(6), 0, 1);
  const Values latent_ = random_values(2 * n_ * k_, RngKey(7), -range_, range_);
  const Values noise_ = random_values(n_ * k_, RngKey(8), -3, 3);
  const Values dz_ = random_values(n_ * k_, RngKey(9));
  Workbench cpu_{test::cpu_device()};
  Workbench reference_{test::reference_device()};

  Values cross_entropy(const Workbench& bench, DType dtype) const {
    const Result losses(bench, {n_}, dtype);
    bench.device().loss().sigmoid_cross_entropy(
        bench.queue(), bench.tensor(shape_, logits_, dtype).cview(),
        bench.tensor(shape_, targets_, dtype).cview(), losses.view());
    return losses.values();
  }
  Values cross_entropy_backward(const Workbench& bench, DType dtype) const {
    const Result dlogits(bench, shape_, dtype);
    bench.device().loss().sigmoid_cross_entropy_backward(
        bench.queue(), bench.tensor(shape_, logits_, dtype).cview(),
        bench.tensor(shape_, targets_, dtype).cview(), 1 / 64.0, dlogits.view());
    return dlogits.values();
  }
  Values squared_error(const Workbench& bench, DType dtype) const {
    const Result losses(bench, {n_}, dtype);
    bench.device().loss().squared_error(bench.queue(), bench.tensor(shape_, logits_, dtype).cview(),
                                        bench.tensor(shape_, targets_, dtype).cview(),
                                        losses.view());
    return losses.values();
  }
  struct Sample {
    Values z, divergence;
  };
  Sample sample(const Workbench& bench, DType dtype) const {
    const Result z(bench, shape_, dtype);
    const Result divergence(bench, {n_}, dtype);
    bench.device().loss().gaussian_sample(
        bench.queue(), bench.tensor(twice_, latent_, dtype).cview(),
        bench.tensor(shape_, noise_, dtype).cview(), z.view(), divergence.view());
    return {z.values(), divergence.values()};
  }
  Values sample_backward(const Workbench& bench, DType dtype) const {
    const Result dlatent(bench, twice_, dtype);
    bench.device().loss().gaussian_sample_backward(
        bench.queue(), bench.tensor(twice_, latent_, dtype).cview(),
        bench.tensor(shape_, noise_, dtype).cview(), bench.tensor(shape_, dz_, dtype).cview(),
        1 / 64.0, dlatent.view());
    return dlatent.values();
  }
};

TEST_P(GenerativeConformance, SigmoidCrossEntropy) {
  const Values magnitude(static_cast<std::size_t>(n_), static_cast<double>(k_) * (range_ + 1));
  EXPECT_TRUE(within(3e-7, {n_}, cross_entropy(cpu_, DType::kF32),
                     cross_entropy(reference_, DType::kF64), magnitude));
}

TEST_P(GenerativeConformance, SigmoidCrossEntropyGradient) {
  const Values scale(logits_.size(), 1 / 64.0);
  EXPECT_TRUE(within(6e-7, shape_, cross_entropy_backward(cpu_, DType::kF32),
                     cross_entropy_backward(reference_, DType::kF64), scale));
}

TEST_P(GenerativeConformance, SquaredError) {
  const Values expected = squared_error(reference_, DType::kF64);
  EXPECT_TRUE(within(5e-7, {n_}, squared_error(cpu_, DType::kF32), expected, expected));
}

TEST_P(GenerativeConformance, SquaredErrorGradient) {
  const auto backward = [&](const Workbench& bench, DType dtype) {
    const Result dx(bench, shape_, dtype, 1);
    bench.device().loss().squared_error_backward(
        bench.queue(), bench.tensor(shape_, logits_, dtype).cview(),
        bench.tensor(shape_, targets_, dtype).cview(), 0.3, dx.view());
    return dx.values();
  };
  const Values expected = backward(reference_, DType::kF64);
  EXPECT_TRUE(
      within(2e-7, shape_, backward(cpu_, DType::kF32), expected, test::absolute(expected)));
}

// e^(x / 2): 2e-7, and x / 2 is rounded to f32 by itself, up to range / 2 * 6e-8 of it.
TEST_P(GenerativeConformance, GaussianSample) {
  const Sample actual = sample(cpu_, DType::kF32);
  const Sample expected = sample(reference_, DType::kF64);
  Values magnitude;
  Values sums;
  for (std::int64_t i = 0; i < n_; ++i) {
    double sum = 0;
    for (std::int64_t j = 0; j < k_; ++j) {
      const double mean = latent_[static_cast<std::size_t>(2 * i * k_ + j)];
      const double log_variance = latent_[static_cast<std::size_t>((2 * i + 1) * k_ + j)];
      magnitude.push_back(std::abs(mean) + 3 * std::exp(log_variance / 2));
      sum += std::exp(log_variance) + mean * mean + 1 + std::abs(log_variance);
    }
    sums.push_back(sum);
  }
  const double bound = 4e-7 * (1 + range_ / 8);
  EXPECT_TRUE(within(bound, shape_, actual.z, expected.z, magnitude));
  EXPECT_TRUE(within(2 * bound, {n_}, actual.divergence, expected.divergence, sums));
}

TEST_P(GenerativeConformance, GaussianSampleGradient) {
  const Values actual = sample_backward(cpu_, DType::kF32);
  const Values expected = sample_backward(reference_, DType::kF64);
  Values magnitude;
  for (std::size_t i = 0; i < latent_.size(); ++i) {
    const bool mean = static_cast<std::int64_t>(i) % (2 * k_) < k_;
    magnitude.push_back(mean ? 1 + range_ / 64
                             : 3 * std::exp(latent_[i] / 2) + (std::exp(latent_[i]) + 1) / 64);
  }
  EXPECT_TRUE(within(8e-7 * (1 + range_ / 8), twice_, actual, expected, magnitude));
}

TEST_P(GenerativeConformance, ARowAloneGivesTheSameBits) {
  const Values losses = cross_entropy(cpu_, DType::kF32);
  const Values errors = squared_error(cpu_, DType::kF32);
  const Sample whole = sample(cpu_, DType::kF32);
  const Tensor logits = cpu_.tensor(shape_, logits_, DType::kF32);
  const Tensor targets = cpu_.tensor(shape_, targets_, DType::kF32);
  const Tensor latent = cpu_.tensor(twice_, latent_, DType::kF32);
  const Tensor noise = cpu_.tensor(shape_, noise_, DType::kF32);
  for (std::int64_t row = 0; row < n_; ++row) {
    const Result loss(cpu_, {1}, DType::kF32);
    cpu_.device().loss().sigmoid_cross_entropy(
        cpu_.queue(), logits.slice(row * k_, {1, k_}).cview(),
        targets.slice(row * k_, {1, k_}).cview(), loss.view());
    const Result z(cpu_, {1, k_}, DType::kF32);
    const Result divergence(cpu_, {1}, DType::kF32);
    cpu_.device().loss().gaussian_sample(
        cpu_.queue(), latent.slice(2 * row * k_, {1, 2 * k_}).cview(),
        noise.slice(row * k_, {1, k_}).cview(), z.view(), divergence.view());
    const auto at = static_cast<std::size_t>(row);
    ASSERT_EQ(loss.values()[0], losses[at]) << row;
    cpu_.device().loss().squared_error(cpu_.queue(), logits.slice(row * k_, {1, k_}).cview(),
                                       targets.slice(row * k_, {1, k_}).cview(), loss.view());
    ASSERT_EQ(loss.values()[0], errors[at]) << row;
    ASSERT_EQ(divergence.values()[0], whole.divergence[at]) << row;
    const auto first = whole.z.begin() + row * k_;
    ASSERT_EQ(z.values(), Values(first, first + k_)) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, GenerativeConformance,
                         ::testing::Values(Rows{1, 1, 1}, Rows{3, 17, 5}, Rows{4, 784, 8},
                                           Rows{33, 100, 3}, Rows{2, 8, 40}, Rows{2, 10007, 2}),
                         [](const auto& info) {
                           return fmt::format("n{}_k{}_range{}", std::get<0>(info.param),
                                              std::get<1>(info.param),
                                              static_cast<int>(std::get<2>(info.param)));
                         });

class GenerativeRules : public test::Conformance {};

TEST_F(GenerativeRules, SquaredErrorsOfAWholeImageAreSummedInBlocks) {
  // One f32 sum of 2^21 terms would stop growing at 2^24.
  const std::int64_t k = std::int64_t{1} << 21;
  const Tensor x = cpu_.full({1, k}, 9, DType::kF32);
  const Tensor target = cpu_.full({1, k}, -1, DType::kF32);
  const Result loss(cpu_, {1}, DType::kF32);
  cpu_.device().loss().squared_error(cpu_.queue(), x.cview(), target.cview(), loss.view());
  EXPECT_EQ(loss.values()[0], 100.0 * static_cast<double>(k));
}

TEST_F(GenerativeRules, ANanGivesANanLoss) {
  const Tensor x = cpu_.tensor({1, 2}, Values{1, std::nan("")}, DType::kF32);
  const Tensor one = cpu_.full({1, 1}, 1, DType::kF32);
  const Result loss(cpu_, {1}, DType::kF32);
  cpu_.device().loss().sigmoid_cross_entropy(cpu_.queue(), x.cview(), x.cview(), loss.view());
  EXPECT_THAT(loss.values()[0], ::testing::IsNan());
  cpu_.device().loss().squared_error(cpu_.queue(), x.cview(), x.cview(), loss.view());
  EXPECT_THAT(loss.values()[0], ::testing::IsNan());
  const Result z(cpu_, {1, 1}, DType::kF32);
  cpu_.device().loss().gaussian_sample(cpu_.queue(), x.cview(), one.cview(), z.view(), loss.view());
  EXPECT_THAT(loss.values()[0], ::testing::IsNan());
}

TEST_F(GenerativeRules, LargeLogitsDoNotOverflow) {
  const Tensor x = cpu_.tensor({1, 2}, Values{1e4, -1e4}, DType::kF32);
  const Tensor t = cpu_.tensor({1, 2}, Values{0, 1}, DType::kF32);
  const Result loss(cpu_, {1}, DType::kF32);
  cpu_.device().loss().sigmoid_cross_entropy(cpu_.queue(), x.cview(), t.cview(), loss.view());
  EXPECT_EQ(loss.values()[0], 2e4);
}

}  // namespace
}  // namespace gentrain
