// Schedules against their formulas, optimizers against the textbook's step by step.
#include <cmath>
#include <numbers>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/optim/optimizer.h"
#include "core/optim/schedule.h"
#include "kernels/error.h"
#include "tests/reference/reference_device.h"

namespace gentrain {
namespace {

using optim::learning_rate;
using optim::Optimizer;

TEST(Schedule, ConstantStays) {
  EXPECT_EQ(learning_rate({}, 0.4, 0), 0.4);
  EXPECT_EQ(learning_rate({}, 0.4, 1000), 0.4);
}

TEST(Schedule, InverseTimeDividesByOnePlusDecayTimesStep) {
  ScheduleOptions s;
  s.name = ScheduleOptions::Name::kInverseTime;
  s.decay = 2e-4;
  EXPECT_EQ(learning_rate(s, 0.4, 0), 0.4);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0.4, 599), 0.4 / (1.0 + 2e-4 * 599));
}

TEST(Schedule, StepMultipliesEverySoOften) {
  ScheduleOptions s;
  s.name = ScheduleOptions::Name::kStep;
  s.every = 10;
  s.factor = 0.5;
  EXPECT_EQ(learning_rate(s, 1.0, 9), 1.0);
  EXPECT_EQ(learning_rate(s, 1.0, 10), 0.5);
  EXPECT_EQ(learning_rate(s, 1.0, 29), 0.25);
}

TEST(Schedule, CosineFallsToItsFloorAndStaysThere) {
  ScheduleOptions s;
  s.name = ScheduleOptions::Name::kCosine;
  s.total = 100;
  s.floor = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1.0, 0), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1.0, 50), 0.1 + 0.9 * (1 + std::cos(std::numbers::pi / 2)) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1.0, 100), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1.0, 5000), 0.1);
}

TEST(Schedule, WarmUpRisesLinearly) {
  ScheduleOptions s;
  s.warmup = 4;
  EXPECT_DOUBLE_EQ(learning_rate(s, 0.4, 0), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0.4, 2), 0.3);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0.4, 3), 0.4);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0.4, 4), 0.4);
}

/// Three elements of an arena of eight, owned as [2, 5).
class OptimizerTest : public ::testing::Test {
 protected:
  OptimizerTest()
      : device_(make_reference_device()),
        queue_(device_->make_queue()),
        weights_(Tensor::empty(*device_, {3})),
        gradient_(Tensor::empty(*device_, {3})) {
    const std::vector<float> w = {1.0F, -2.0F, 0.5F};
    const std::vector<float> g = {0.5F, 0.25F, -1.0F};
    copy_from_host<float>(*device_, *queue_, w, weights_);
    copy_from_host<float>(*device_, *queue_, g, gradient_);
  }

  std::vector<float> run(const OptimizerOptions& options, int steps, double lr, double scale = 1) {
    Optimizer optimizer(*device_, *queue_, {options}, {{2, 5}});
    for (int step = 0; step < steps; ++step) {
      optimizer.apply(*queue_, 2, gradient_, weights_, {0, lr, step, scale});
    }
    return copy_to_host<float>(*device_, *queue_, weights_);
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Queue> queue_;
  Tensor weights_;
  Tensor gradient_;
};

TEST_F(OptimizerTest, SgdTakesTheScaledGradient) {
  EXPECT_THAT(run({}, 1, 0.1, 0.5),
              ::testing::Pointwise(::testing::FloatNear(1e-6F), {0.975F, -2.0125F, 0.55F}));
}

TEST_F(OptimizerTest, MomentumKeepsItsVelocityBetweenSteps) {
  OptimizerOptions options;
  options.momentum = 0.9;
  // v = g, then 1.9 g: 2.9 lr g in all.
  EXPECT_THAT(run(options, 2, 0.1),
              ::testing::Pointwise(::testing::FloatNear(1e-6F), {0.855F, -2.0725F, 0.79F}));
}

TEST_F(OptimizerTest, NesterovLooksAhead) {
  OptimizerOptions options;
  options.momentum = 0.9;
  options.nesterov = true;
  EXPECT_THAT(run(options, 1, 0.1),
              ::testing::Pointwise(::testing::FloatNear(1e-6F), {0.905F, -2.0475F, 0.69F}));
}

TEST_F(OptimizerTest, WeightDecayPullsTowardsZero) {
  OptimizerOptions options;
  options.weight_decay = 0.1;
  EXPECT_THAT(run(options, 1, 0.1),
              ::testing::Pointwise(::testing::FloatNear(1e-6F), {0.94F, -2.005F, 0.595F}));
}

TEST_F(OptimizerTest, AdamMovesByTheRateAtFirst) {
  OptimizerOptions options;
  options.name = OptimizerOptions::Name::kAdam;
  EXPECT_THAT(run(options, 1, 0.01),
              ::testing::Pointwise(::testing::FloatNear(1e-6F), {0.99F, -2.01F, 0.51F}));
}

TEST_F(OptimizerTest, AdamMatchesItsDefinitionOverSteps) {
  OptimizerOptions options;
  options.name = OptimizerOptions::Name::kAdam;
  double m = 0;
  double v = 0;
  double w = 1.0;
  for (int t = 1; t <= 5; ++t) {
    m = 0.9 * m + 0.1 * 0.5;
    v = 0.999 * v + 0.001 * 0.25;
    w -= 0.01 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
  }
  EXPECT_NEAR(run(options, 5, 0.01)[0], w, 1e-6);
}

TEST_F(OptimizerTest, AdamWDecaysApartFromTheMoments) {
  OptimizerOptions options;
  options.name = OptimizerOptions::Name::kAdamW;
  options.weight_decay = 0.5;
  EXPECT_THAT(run(options, 1, 0.01),
              ::testing::Pointwise(::testing::FloatNear(1e-6F), {0.985F, -2.0F, 0.5075F}));
}

TEST_F(OptimizerTest, RmspropMatchesKerasOverSteps) {
  OptimizerOptions options;
  options.name = OptimizerOptions::Name::kRmsprop;
  options.rho = 0.75;
  options.epsilon = 0.125;  // large: it stands outside of the square root
  double v = 0;
  double w = 1.0;
  for (int t = 0; t < 5; ++t) {
    v = 0.75 * v + 0.25 * 0.25;
    w -= 0.01 * 0.5 / (std::sqrt(v) + 0.125);
  }
  EXPECT_NEAR(run(options, 5, 0.01)[0], w, 1e-6);
}

TEST_F(OptimizerTest, NamesItsState) {
  OptimizerOptions options;
  const auto names = [&] { return Optimizer(*device_, *queue_, {options}, {}).state_names(); };
  EXPECT_TRUE(names().empty());
  options.momentum = 0.5;
  EXPECT_THAT(names(), ::testing::ElementsAre("momentum"));
  options.name = OptimizerOptions::Name::kAdamW;
  EXPECT_THAT(names(), ::testing::ElementsAre("moment1", "moment2"));
  options.name = OptimizerOptions::Name::kRmsprop;
  EXPECT_THAT(names(), ::testing::ElementsAre("moment2")) << "the momentum is SGD's alone";
}

TEST_F(OptimizerTest, RulesKeepTheirStatesApart) {
  OptimizerOptions momentum;
  momentum.momentum = 0.5;
  OptimizerOptions adam;
  adam.name = OptimizerOptions::Name::kAdam;
  const auto apply = [&](const std::vector<OptimizerOptions>& rules, std::size_t rule) {
    Optimizer optimizer(*device_, *queue_, rules, {{2, 5}});
    const Tensor weights = Tensor::empty(*device_, weights_.shape());
    copy_from_host<float>(*device_, *queue_, std::vector<float>{1, -2, 0.5}, weights);
    optimizer.apply(*queue_, 2, gradient_, weights, {rule, 0.1, 0, 1});
    optimizer.apply(*queue_, 2, gradient_, weights, {rule, 0.1, 1, 1});
    return copy_to_host<float>(*device_, *queue_, weights);
  };
  EXPECT_EQ(apply({momentum, adam}, 0), apply({momentum}, 0));
  EXPECT_EQ(apply({momentum, adam}, 1), apply({adam}, 0));
  EXPECT_NE(apply({momentum, adam}, 1), apply({momentum, adam}, 0));
  OptimizerOptions rmsprop;
  rmsprop.name = OptimizerOptions::Name::kRmsprop;
  EXPECT_EQ(apply({momentum, adam, rmsprop}, 2), apply({rmsprop}, 0));
  EXPECT_NE(apply({adam, rmsprop}, 1), apply({adam}, 0));
  EXPECT_THAT(Optimizer(*device_, *queue_, {momentum, adam}, {}).state_names(),
              ::testing::ElementsAre("momentum", "moment1", "moment2"));
}

TEST_F(OptimizerTest, RefusesWhatItDoesNotOwn) {
  Optimizer optimizer(*device_, *queue_, {{}}, {{2, 5}});
  EXPECT_THAT(
      [&] {
        optimizer.apply(*queue_, 3, gradient_, weights_, {0, 0.1, 0, 1});
      },
      ::testing::ThrowsMessage<ShapeError>(
          "optimizer: elements [3, 6) are not inside an owned segment"));
}

}  // namespace
}  // namespace gentrain
