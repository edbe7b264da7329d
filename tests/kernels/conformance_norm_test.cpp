// Batch normalisation and PReLU of the CPU backend against the reference, over odd numbers of rows
// and channels; which gradients are wanted changes no bits, nor does the thread.
#include <algorithm>
#include <cmath>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/norm.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::absolute;
using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using Values = std::vector<double>;

constexpr double kBound = 5e-7;  // a few roundings of f32, relative to the terms

struct Case {
  const char* name;
  Shape shape;
};

/// Operands of every routine, and the routines on one device.
struct Operands {
  Shape shape;
  std::int64_t c = shape[shape.rank() - 1];
  std::int64_t rows = shape.elements() / c;
  Values x = random_values(shape.elements(), RngKey(1), -2, 3);
  Values y = random_values(shape.elements(), RngKey(2));
  Values dy = random_values(shape.elements(), RngKey(3));
  Values residual = random_values(shape.elements(), RngKey(4));
  Values mean = random_values(c, RngKey(5), -1, 2);
  Values variance = random_values(c, RngKey(6), 0, 3);
  Values gamma = random_values(c, RngKey(7), -2, 2);
  Values beta = random_values(c, RngKey(8));

  /// That of element i of a tensor.
  [[nodiscard]] std::size_t channel(std::size_t i) const { return i % static_cast<std::size_t>(c); }
  [[nodiscard]] double inverse(std::size_t k, double epsilon) const {
    return 1 / std::sqrt(variance[k] + epsilon);
  }
};

struct Statistics {
  Values mean, variance;
};

struct Gradients {
  Values dx, dgamma, dbeta, dresidual;
};

/// Which optional views are there.
struct Wanted {
  bool dx = true, dgamma = true, dbeta = true, dresidual = true;
};

class Norm {
 public:
  Norm(const Workbench& bench, DType dtype, const Operands& o)
      : bench_(bench), dtype_(dtype), o_(o) {}

  Statistics statistics(const Values& x) const {
    const Result mean(bench_, {o_.c}, dtype_);
    const Result variance(bench_, {o_.c}, dtype_);
    kernels().statistics(bench_.queue(), tensor(x).cview(), mean.view(), variance.view());
    return {mean.values(), variance.values()};
  }

  Values normalize(const NormRule& rule, bool all) const {
    const Result y(bench_, o_.shape, dtype_, 1);
    const Tensor x = tensor(o_.x);
    const Tensor mean = per_channel(o_.mean);
    const Tensor variance = per_channel(o_.variance);
    const Tensor gamma = per_channel(o_.gamma);
    const Tensor beta = per_channel(o_.beta);
    const Tensor residual = tensor(o_.residual);
    NormSources sources{x.cview(), mean.cview(), variance.cview(), {}, {}, {}};
    if (all) {
      sources.gamma = gamma.cview();
      sources.beta = beta.cview();
      sources.residual = residual.cview();
    }
    kernels().normalize(bench_.queue(), rule, sources, y.view());
    Values apart = y.values();
    kernels().normalize(bench_.queue(), rule, sources, x.view());
    EXPECT_TRUE(within(0, o_.shape, bench_.values(x), apart)) << "the destination is x";
    return apart;
  }

  Gradients backward(const NormRule& rule, const Wanted& wanted) const {
    const Tensor x = tensor(o_.x);
    const Tensor y = tensor(o_.y);
    const Tensor dy = tensor(o_.dy);
    const Tensor mean = per_channel(o_.mean);
    const Tensor variance = per_channel(o_.variance);
    const Tensor gamma = per_channel(o_.gamma);
    const Result dx(bench_, o_.shape, dtype_, 3);
    const Result dgamma(bench_, {o_.c}, dtype_);
    const Result dbeta(bench_, {o_.c}, dtype_);
    const Result dresidual(bench_, o_.shape, dtype_);
    kernels().normalize_backward(
        bench_.queue(), rule,
        {x.cview(), rule.slope == 1 ? ConstView{} : y.cview(), dy.cview(), mean.cview(),
         variance.cview(), gamma.cview()},
        {wanted.dx ? dx.view() : View{}, wanted.dgamma ? dgamma.view() : View{},
         wanted.dbeta ? dbeta.view() : View{}, wanted.dresidual ? dresidual.view() : View{}});
    return {dx.values(), dgamma.values(), dbeta.values(), dresidual.values()};
  }

  Values prelu() const {
    const Result y(bench_, o_.shape, dtype_, 1);
    kernels().prelu(bench_.queue(), tensor(o_.x).cview(), per_channel(o_.gamma).cview(), y.view());
    return y.values();
  }

  Gradients prelu_backward() const {
    const Result dx(bench_, o_.shape, dtype_, 1);
    const Result dalpha(bench_, {o_.c}, dtype_);
    kernels().prelu_backward(bench_.queue(), tensor(o_.x).cview(), per_channel(o_.gamma).cview(),
                             tensor(o_.dy).cview(), dx.view(), dalpha.view());
    return {dx.values(), dalpha.values(), {}, {}};
  }

 private:
  [[nodiscard]] NormKernels& kernels() const { return bench_.device().norm(); }
  [[nodiscard]] Tensor tensor(const Values& values) const {
    return bench_.tensor(o_.shape, values, dtype_);
  }
  [[nodiscard]] Tensor per_channel(const Values& values) const {
    return bench_.tensor({o_.c}, values, dtype_);
  }

  const Workbench& bench_;
  DType dtype_;
  const Operands& o_;
};

class NormConformance : public ::testing::TestWithParam<Case> {
 protected:
  const Operands o_{GetParam().shape};
  const Shape channels_{o_.c};
  Workbench cpu_bench_{test::cpu_device()};
  Workbench reference_bench_{test::reference_device()};
  Norm cpu_{cpu_bench_, DType::kF32, o_};
  Norm reference_{reference_bench_, DType::kF64, o_};

  void expect_gradients_conform(const NormRule& rule) const {
    const Gradients actual = cpu_.backward(rule, {});
    const Gradients expected = reference_.backward(rule, {});
    const Values g = absolute(expected.dresidual);
    Values sums(o_.gamma.size());
    Values products(o_.gamma.size());
    const auto normal = [&](std::size_t i) {
      const std::size_t k = o_.channel(i);
      return std::abs(o_.x[i] - o_.mean[k]) * o_.inverse(k, rule.epsilon);
    };
    for (std::size_t i = 0; i < g.size(); ++i) {
      sums[o_.channel(i)] += g[i];
      products[o_.channel(i)] += g[i] * normal(i);
    }
    Values dx;
    for (std::size_t i = 0; i < g.size(); ++i) {
      const std::size_t k = o_.channel(i);
      const double shares = (sums[k] + normal(i) * products[k]) / static_cast<double>(o_.rows);
      dx.push_back(std::abs(o_.gamma[k]) * o_.inverse(k, rule.epsilon) * (g[i] + shares));
    }
    EXPECT_TRUE(within(1e-7, o_.shape, actual.dresidual, expected.dresidual, g)) << "dresidual";
    EXPECT_TRUE(within(kBound, channels_, actual.dbeta, expected.dbeta, sums)) << "dbeta";
    EXPECT_TRUE(within(kBound, channels_, actual.dgamma, expected.dgamma, products)) << "dgamma";
    EXPECT_TRUE(within(kBound, o_.shape, actual.dx, expected.dx, dx)) << "dx";
  }
};

TEST_P(NormConformance, Statistics) {
  const Statistics actual = cpu_.statistics(o_.x);
  const Statistics expected = reference_.statistics(o_.x);
  EXPECT_TRUE(within(1e-7, channels_, actual.mean, expected.mean, Values(o_.gamma.size(), 3)));
  EXPECT_TRUE(
      within(kBound, channels_, actual.variance, expected.variance, absolute(expected.variance)));
}

// A sum of squares less the square of the sum, in f32, would be off by many times the variance.
TEST_P(NormConformance, StatisticsFarFromZero) {
  Values far = o_.x;
  for (double& value : far) {
    value = static_cast<float>(value + 5000);
  }
  const Statistics actual = cpu_.statistics(far);
  const Statistics expected = reference_.statistics(far);
  EXPECT_TRUE(within(1e-7, channels_, actual.mean, expected.mean, expected.mean));
  EXPECT_TRUE(within(kBound, channels_, actual.variance, expected.variance, expected.variance));
}

// The mean drifts by 1,000 standard deviations of the rows of one block.
TEST_P(NormConformance, StatisticsThatDrift) {
  Values drifting = o_.x;
  for (std::size_t i = 0; i < drifting.size(); ++i) {
    const std::size_t row = i / static_cast<std::size_t>(o_.c);
    drifting[i] = static_cast<float>(drifting[i] + 10 * static_cast<double>(row));
  }
  const Statistics actual = cpu_.statistics(drifting);
  const Statistics expected = reference_.statistics(drifting);
  EXPECT_TRUE(within(kBound, channels_, actual.variance, expected.variance, expected.variance));
}

TEST_P(NormConformance, StatisticsOfConstants) {
  Values constant = o_.x;
  for (std::size_t i = 0; i < constant.size(); ++i) {
    constant[i] = o_.mean[o_.channel(i)];
  }
  const Statistics actual = cpu_.statistics(constant);
  EXPECT_TRUE(within(1e-7, channels_, actual.mean, o_.mean, absolute(o_.mean)));
  for (const double variance : actual.variance) {
    EXPECT_GE(variance, 0);
    EXPECT_LE(variance, 1e-12);
  }
}

TEST_P(NormConformance, Normalize) {
  for (const double slope : {1.0, 0.0, 0.2}) {
    for (const bool all : {true, false}) {
      const NormRule rule{.epsilon = 1e-3, .slope = slope};
      Values magnitude;
      for (std::size_t i = 0; i < o_.x.size(); ++i) {
        const std::size_t k = o_.channel(i);
        const double normal = std::abs(o_.x[i] - o_.mean[k]) * o_.inverse(k, rule.epsilon);
        magnitude.push_back(all ? std::abs(o_.gamma[k]) * normal + std::abs(o_.beta[k]) +
                                      std::abs(o_.residual[i])
                                : normal);
      }
      EXPECT_TRUE(within(kBound, o_.shape, cpu_.normalize(rule, all),
                         reference_.normalize(rule, all), magnitude))
          << "slope " << slope << (all ? ", all" : ", without gamma, beta and residual");
    }
  }
}

TEST_P(NormConformance, Gradients) {
  for (const double slope : {1.0, 0.0, 0.2}) {
    for (const bool of_batch : {true, false}) {
      SCOPED_TRACE(testing::Message() << "slope " << slope << " of_batch " << of_batch);
      expect_gradients_conform({.epsilon = 1e-3, .slope = slope, .of_batch = of_batch});
    }
  }
}

TEST_P(NormConformance, WhatElseIsWantedChangesNoBits) {
  for (const double slope : {1.0, 0.0}) {
    for (const bool of_batch : {true, false}) {
      const NormRule rule{.epsilon = 1e-3, .slope = slope, .of_batch = of_batch};
      const Gradients all = cpu_.backward(rule, {});
      EXPECT_EQ(cpu_.backward(rule, {true, false, false, false}).dx, all.dx);
      EXPECT_EQ(cpu_.backward(rule, {false, true, false, false}).dgamma, all.dgamma);
      EXPECT_EQ(cpu_.backward(rule, {false, false, true, false}).dbeta, all.dbeta);
      EXPECT_EQ(cpu_.backward(rule, {false, false, false, true}).dresidual, all.dresidual);
      const Gradients none = cpu_.backward(rule, {false, false, false, false});
      EXPECT_THAT(none.dgamma, testing::Each(testing::IsNan())) << "nothing was written";
    }
  }
}

TEST_P(NormConformance, EveryThreadGivesTheSameBits) {
  const NormRule rule{.epsilon = 1e-3, .slope = 0};
  const Statistics statistics = cpu_.statistics(o_.x);
  const Gradients gradients = cpu_.backward(rule, {});
  std::thread([&] {
    const Workbench bench(test::cpu_device());
    const Norm norm(bench, DType::kF32, o_);
    for (int i = 0; i < 2; ++i) {
      const Gradients again = norm.backward(rule, {});
      EXPECT_EQ(again.dx, gradients.dx);
      EXPECT_EQ(again.dgamma, gradients.dgamma);
      EXPECT_EQ(norm.statistics(o_.x).mean, statistics.mean);
      EXPECT_EQ(norm.statistics(o_.x).variance, statistics.variance);
    }
  }).join();
}

TEST_P(NormConformance, Prelu) {
  EXPECT_TRUE(
      within(1e-7, o_.shape, cpu_.prelu(), reference_.prelu(), absolute(reference_.prelu())));
}

TEST_P(NormConformance, PreluGradients) {
  const Gradients actual = cpu_.prelu_backward();
  const Gradients expected = reference_.prelu_backward();
  EXPECT_TRUE(within(1e-7, o_.shape, actual.dx, expected.dx, absolute(expected.dx)));
  const Values magnitude(o_.gamma.size(), 2 * static_cast<double>(o_.rows));
  EXPECT_TRUE(within(kBound, channels_, actual.dgamma, expected.dgamma, magnitude));
}

INSTANTIATE_TEST_SUITE_P(Shapes, NormConformance,
                         ::testing::Values(Case{"one_value", {1, 1, 1, 1}},
                                           Case{"one_pixel_c65", {1, 1, 1, 65}},
                                           Case{"c1", {2, 3, 5, 1}}, Case{"c3", {1, 7, 9, 3}},
                                           Case{"c65", {3, 5, 7, 65}}, Case{"c64", {4, 9, 8, 64}},
                                           Case{"one_block", {1, 8, 16, 16}},
                                           Case{"one_row_more", {129, 17}},
                                           Case{"many_blocks", {1003, 8}}, Case{"vector", {33}}),
                         [](const auto& info) { return std::string(info.param.name); });

class NormRules : public test::OnBothDevices {};

INSTANTIATE_TEST_SUITE_P(Devices, NormRules,
                         ::testing::Values(&test::cpu_device, &test::reference_device),
                         test::name_of_device);

TEST_P(NormRules, ANanSpoilsItsChannelOnly) {
  Operands o{{4, 2, 2, 3}};
  o.x[7] = std::nan("");  // channel 1
  const Norm norm(bench_, DType::kF32, o);
  const Statistics statistics = norm.statistics(o.x);
  o.mean = statistics.mean;
  o.variance = statistics.variance;
  for (const double slope : {1.0, 0.0, 0.2}) {
    const Values y = norm.normalize({.slope = slope}, true);
    const Gradients gradients = norm.backward({.slope = slope}, {});
    for (std::size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), o.channel(i) == 1) << i;
      EXPECT_EQ(std::isnan(gradients.dx[i]), o.channel(i) == 1) << i;
    }
    EXPECT_THAT(gradients.dgamma[1], testing::IsNan());
    EXPECT_FALSE(std::isnan(gradients.dgamma[0]));
  }
  EXPECT_THAT(norm.prelu()[7], testing::IsNan());
}

class NormBits : public test::Conformance {};

TEST_F(NormBits, TheOrderOfRowsDecidesThem) {
  // That bits agree elsewhere is no matter of course.
  Operands o{{1003, 8}};
  const Norm norm(cpu_, DType::kF32, o);
  const Statistics forwards = norm.statistics(o.x);
  Values backwards;
  for (std::int64_t row = o.rows - 1; row >= 0; --row) {
    const auto first = o.x.begin() + row * o.c;
    backwards.insert(backwards.end(), first, first + o.c);
  }
  EXPECT_NE(norm.statistics(backwards).variance, forwards.variance);
}

}  // namespace
}  // namespace gentrain
