// Update: which parameters a stage trains, clipping, weight decay, learning rates, and the
// optimizer's state over the ranks.
#include "trainers/update.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

using test::message_of;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::SizeIs;

TEST(Matches, StarsAndQuestionMarks) {
  const std::vector<std::pair<const char*, const char*>> yes = {{"*", ""},
                                                                {"*", "conv1/weight"},
                                                                {"conv1/*", "conv1/weight"},
                                                                {"*/bias", "a/bias"},
                                                                {"conv?/weight", "conv2/weight"},
                                                                {"c*1/*t", "conv1/weight"},
                                                                {"**", "x"},
                                                                {"a*b*c", "abbbcbc"},
                                                                {"", ""},
                                                                {"conv1/weight", "conv1/weight"},
                                                                {"*a", "aaa"},
                                                                {"x/*", "x/"}};
  for (const auto& [pattern, text] : yes) {
    EXPECT_TRUE(matches(pattern, text)) << pattern << " " << text;
  }
  const std::vector<std::pair<const char*, const char*>> no = {{"", "x"},
                                                               {"?", ""},
                                                               {"conv1", "conv1/weight"},
                                                               {"conv?/weight", "conv/weight"},
                                                               {"*/bias", "a/biased"},
                                                               {"a*b", "ac"},
                                                               {"conv1/*", "conv10/weight"},
                                                               {"A", "a"},
                                                               {"[ab]", "a"},
                                                               {"conv.", "conv1"}};
  for (const auto& [pattern, text] : no) {
    EXPECT_FALSE(matches(pattern, text)) << pattern << " " << text;
  }
}

/// Three parameters of ones on one rank, whose gradients are given.
class UpdateTest : public ::testing::Test {
 protected:
  UpdateTest() {
    const Initializer ones{Initializer::Kind::kOnes};
    parameters_.add("a/weight", {3}, ones, 1, 1);
    parameters_.add("b/weight", {5}, ones, 1, 1);
    parameters_.add("b/bias", {2}, ones, 1, 1);
    parameters_.allocate(*device_, *queue_);
    parameters_.initialize(*device_, *queue_, RngKey(1));
    stage_.optimizer.lr = 0.5;
  }

  std::unique_ptr<Update> make_update() { return make_update(parameters_); }
  std::unique_ptr<Update> make_update(ParameterSet& parameters) {
    return make_update(parameters, {{Pattern{}}});
  }
  std::unique_ptr<Update> make_update(ParameterSet& parameters,
                                      const std::vector<std::vector<Pattern>>& parts) {
    return std::make_unique<Update>(
        UpdateSetting{*single_, *device_, comm::ExchangeMode::kCanonical, 1}, *queue_, parameters,
        stage_, 1, parts);
  }

  /// A part of a step with every gradient element and the statistic `gradient`.
  void step(Update& update, std::int64_t number, float gradient, std::size_t part = 0,
            const InParts& in_parts = {}) {
    update.begin(*queue_, number, part, in_parts);
    const auto shard = update.exchange().shard(0, *queue_);
    shard->statistics()[0] = gradient;
    for (int i = 0; i < update.parameters().size(); ++i) {
      if (shard->wants(i)) {
        EXPECT_TRUE(update.trainable()[static_cast<std::size_t>(i)]) << i;
        const Tensor slot = shard->slot(i);
        const std::vector<float> values(static_cast<std::size_t>(slot.elements()), gradient);
        copy_from_host<float>(*device_, *queue_, values, slot);
        shard->complete(i);
      }
    }
    shard->finish();
    ASSERT_TRUE(update.exchange().poll());
    update.end(*queue_);
  }

  std::vector<float> values(int parameter) {
    return copy_to_host<float>(*device_, *queue_, parameters_[parameter]);
  }

  std::unique_ptr<comm::Communicator> single_ = comm::make_single();
  std::unique_ptr<Device> device_ = make_cpu_device();
  std::unique_ptr<Queue> queue_ = device_->make_queue();
  ParameterSet parameters_;
  StageOptions stage_;
};

TEST_F(UpdateTest, PartsOfAStepTrainTheirOwnParameters) {
  const auto update = make_update(parameters_, {{Pattern{"a*", ""}}, {Pattern{"b*", ""}}});
  EXPECT_THAT(update->trainable(), ElementsAre(true, true, true));
  step(*update, 0, 2.0F, 0);
  EXPECT_THAT(values(0), Each(0.0F));
  EXPECT_THAT(values(1), Each(1.0F));
  EXPECT_THAT(update->statistics(), ElementsAre(2.0F));
  step(*update, 0, 4.0F, 1);
  EXPECT_THAT(values(0), Each(0.0F));
  EXPECT_THAT(values(1), Each(-1.0F));
  EXPECT_THAT(update->statistics(), ElementsAre(6.0F)) << "of both parts";
  step(*update, 1, 1.0F, 0);
  EXPECT_THAT(update->statistics(), ElementsAre(1.0F));
}

TEST_F(UpdateTest, ManyElementsMayChangeInParts) {
  const auto weights_after = [&](const InParts& in_parts) {
    ParameterSet parameters;
    parameters.add("large", {40'001}, {Initializer::Kind::kUniformFanIn}, 1, 1);
    parameters.allocate(*device_, *queue_);
    parameters.initialize(*device_, *queue_, RngKey(1));
    stage_.optimizer = {.name = OptimizerOptions::Name::kAdam, .lr = 0.1};
    const auto update = make_update(parameters);
    for (std::int64_t number = 0; number < 3; ++number) {
      step(*update, number, 0.5F + static_cast<float>(number), 0, in_parts);
    }
    return copy_to_host<float>(*device_, *queue_, parameters[0]);
  };
  int calls = 0;
  const auto parts_from = [&](int first) -> InParts {
    return [&, first](const std::function<void(int, int, Queue&)>& part) {
      for (int i = first; i < 3; ++i) {
        part(i, 3, *queue_);
        ++calls;
      }
    };
  };
  const std::vector<float> expected = weights_after({});
  EXPECT_EQ(weights_after(parts_from(0)), expected);
  EXPECT_EQ(calls, 9);
  EXPECT_NE(weights_after(parts_from(1)), expected) << "a part that nobody computes";
}

TEST_F(UpdateTest, APartMayHaveNothingToTrain) {
  stage_.trainable = {{"b*", ""}};
  const auto update = make_update(parameters_, {{Pattern{"a*", ""}}, {Pattern{"b*", ""}}});
  step(*update, 0, 2.0F, 0);
  EXPECT_THAT(values(0), Each(1.0F));
  EXPECT_THAT(update->statistics(), ElementsAre(2.0F));
}

TEST_F(UpdateTest, AParameterInTwoPartsIsAnError) {
  EXPECT_EQ(message_of<Error>([&] {
              make_update(parameters_, {{Pattern{"a*", ""}}, {Pattern{"*", ""}}});
            }),
            "stage train: a/weight is in two parts of a step");
}

TEST_F(UpdateTest, TrainsAllUnlessToldOtherwise) {
  const auto update = make_update();
  EXPECT_THAT(update->trainable(), ElementsAre(true, true, true));
  step(*update, 0, 2.0F);
  for (int i = 0; i < parameters_.size(); ++i) {
    EXPECT_THAT(values(i), Each(0.0F)) << i;  // 1 - 0.5 * 2
  }
}

TEST_F(UpdateTest, FrozenValuesKeepTheirBitsWhateverTheOptimizer) {
  using Name = OptimizerOptions::Name;
  stage_.trainable = {{"b/w*", ""}};
  stage_.clip_norm = 100;
  for (const Name name : {Name::kSgd, Name::kAdam, Name::kAdamW}) {
    stage_.optimizer = {.name = name, .lr = 0.5, .weight_decay = 0.25};
    const auto update = make_update();
    EXPECT_THAT(update->trainable(), ElementsAre(false, true, false));
    const std::vector<float> before = values(1);
    for (int number = 0; number < 3; ++number) {
      step(*update, number, 1.0F);
    }
    EXPECT_THAT(values(0), Each(1.0F));
    EXPECT_THAT(values(2), Each(1.0F));
    EXPECT_NE(values(1), before);
  }
}

TEST_F(UpdateTest, WeightDecayPullsWhatIsTrained) {
  stage_.trainable = {{"a/*", ""}, {"*/bias", ""}};
  stage_.optimizer.weight_decay = 0.5;
  const auto update = make_update();
  step(*update, 0, 0.0F);
  EXPECT_THAT(values(0), Each(0.75F));  // 1 - lr * decay * 1
  EXPECT_THAT(values(1), Each(1.0F));
  EXPECT_THAT(values(2), Each(0.75F));
}

TEST_F(UpdateTest, APatternThatMatchesNothingIsNamed) {
  stage_.name = "head";
  stage_.trainable = {{"a/*", "job.yaml:3:14"}, {"fc9/*", "job.yaml:3:21"}};
  EXPECT_EQ(message_of<JobError>([&] { make_update(); }),
            "job.yaml:3:21: stage head: the trainable pattern 'fc9/*' matches no parameter (there "
            "are a/weight, b/weight, b/bias)");
  stage_.trainable = {{"A", ""}};
  EXPECT_EQ(message_of<JobError>([&] { make_update(); }),
            "stage head: the trainable pattern 'A' matches no parameter (there are a/weight, "
            "b/weight, b/bias)");
}

TEST_F(UpdateTest, WhatIsFrozenIsTakenAwayFromWhatIsTrainable) {
  stage_.freeze.parameters = {{"b/w*", ""}};
  EXPECT_THAT(make_update()->trainable(), ElementsAre(true, false, true));
  stage_.trainable = {{"b/*", ""}};
  const auto update = make_update();
  EXPECT_THAT(update->trainable(), ElementsAre(false, false, true));
  step(*update, 0, 1.0F);
  EXPECT_THAT(values(1), Each(1.0F));
  EXPECT_THAT(values(2), Each(0.5F));
  stage_.freeze.parameters = {{"c/*", "job.yaml:4:9"}};
  EXPECT_EQ(message_of<JobError>([&] { make_update(); }),
            "job.yaml:4:9: stage train: the freeze pattern 'c/*' matches no parameter (there are "
            "a/weight, b/weight, b/bias)");
}

TEST_F(UpdateTest, TrainsOnlyWhatTheLossReaches) {
  stage_.trainable = {{"*/weight", ""}};
  const auto update = [&](const std::vector<Pattern>& reached) {
    return Update({*single_, *device_, comm::ExchangeMode::kCanonical, 1}, *queue_, parameters_,
                  stage_, 0, {reached})
        .trainable();
  };
  EXPECT_THAT(update({{"b/*", ""}}), ElementsAre(false, true, false));
  EXPECT_EQ(message_of<JobError>([&] {
              update({{"b/bias", ""}});
            }),
            "stage train: its loss depends on no trainable parameter");
}

TEST_F(UpdateTest, ClippingScalesLongGradientsAlone) {
  // Ten elements: the norm of a gradient of all g is g sqrt(10).
  stage_.clip_norm = std::sqrt(10.0) / 2;
  const auto update = make_update();
  step(*update, 0, 2.0F);
  EXPECT_NEAR(update->exchange().norm(), 2 * std::sqrt(10.0), 1e-12);
  EXPECT_THAT(values(1), Each(FloatEq(0.75F)));  // 1 - 0.5 * 2 / 4
  step(*update, 1, 0.25F);
  EXPECT_THAT(values(1), Each(FloatEq(0.625F)));  // below the limit: 0.75 - 0.5 * 0.25
}

TEST_F(UpdateTest, TheNormLeavesFrozenGradientsOut) {
  stage_.clip_norm = 1;
  stage_.trainable = {{"b/weight", ""}};
  const auto update = make_update();
  step(*update, 0, 2.0F);
  EXPECT_NEAR(update->exchange().norm(), 2 * std::sqrt(5.0), 1e-12);
}

TEST_F(UpdateTest, FollowsTheSchedule) {
  stage_.schedule.name = ScheduleOptions::Name::kInverseTime;
  stage_.schedule.decay = 1;
  const auto update = make_update();
  step(*update, 0, 0.0F);
  EXPECT_EQ(update->learning_rate(), 0.5);
  step(*update, 3, 0.0F);
  EXPECT_EQ(update->learning_rate(), 0.125);
}

/// Two networks and a statistic of the second one.
class UpdateOfNetworks : public UpdateTest {
 protected:
  UpdateOfNetworks() {
    const Initializer ones{Initializer::Kind::kOnes};
    networks_.add("generator/weight", {3}, ones, 1, 1);
    networks_.add("discriminator/weight", {5}, ones, 1, 1);
    networks_.add_statistic("discriminator/running_mean", {2}, Initializer::Kind::kOnes, 0.75);
    networks_.add("discriminator/bias", {2}, ones, 1, 1);
    networks_.allocate(*device_, *queue_);
    networks_.initialize(*device_, *queue_, RngKey(1));
  }

  std::unique_ptr<Update> make_update() { return UpdateTest::make_update(networks_); }
  std::vector<float> values(int parameter) {
    return copy_to_host<float>(*device_, *queue_, networks_[parameter]);
  }

  ParameterSet networks_;
};

TEST_F(UpdateOfNetworks, HaveRulesOfTheirOwn) {
  stage_.discriminator_optimizer = OptimizerOptions{.lr = 0.25};
  const auto update = make_update();
  step(*update, 0, 1.0F);
  EXPECT_THAT(values(0), Each(0.5F));
  EXPECT_THAT(values(1), Each(0.75F));
  EXPECT_THAT(values(3), Each(0.75F));
  EXPECT_EQ(update->learning_rate(), 0.5);
}

TEST_F(UpdateOfNetworks, ARuleOfANetworkThatIsNotTrainedIsAnError) {
  stage_.name = "gan";
  stage_.generator_optimizer = stage_.discriminator_optimizer = OptimizerOptions{.lr = 0.25};
  EXPECT_NO_THROW(make_update());
  stage_.trainable = {{"generator/*", ""}, {"*/running_mean", ""}};
  EXPECT_EQ(message_of<JobError>([&] { make_update(); }),
            "stage gan: optimizer.discriminator has no effect: no parameter discriminator/... is "
            "trained there");
  stage_.trainable = {{"*/bias", ""}};
  EXPECT_EQ(message_of<JobError>([&] { make_update(); }),
            "stage gan: optimizer.generator has no effect: no parameter generator/... is trained "
            "there");
}

TEST_F(UpdateOfNetworks, AStatisticFollowsWhatStandsInPlaceOfItsGradient) {
  stage_.optimizer = {.name = OptimizerOptions::Name::kAdamW, .weight_decay = 0.5};
  const auto update = make_update();
  step(*update, 0, 3.0F);
  EXPECT_THAT(values(2), Each(1.5F));  // 0.75 * 1 + 0.25 * 3
  step(*update, 1, 3.0F);
  EXPECT_THAT(values(2), Each(1.875F));
}

TEST_F(UpdateOfNetworks, StatisticsAreNeitherClippedNorPartOfTheNorm) {
  stage_.clip_norm = 1;
  const auto update = make_update();
  step(*update, 0, 3.0F);
  EXPECT_NEAR(update->exchange().norm(), 3 * std::sqrt(10.0), 1e-12);  // 3 + 5 + 2 elements
  EXPECT_THAT(values(2), Each(1.5F));
}

TEST_F(UpdateOfNetworks, AStatisticThatIsNotTrainedStays) {
  stage_.trainable = {{"*/weight", ""}};
  const auto update = make_update();
  step(*update, 0, 3.0F);
  EXPECT_THAT(values(2), Each(1.0F));
}

/// Two parameters and the average of the first one.
class UpdateOfAverages : public UpdateTest {
 protected:
  UpdateOfAverages() {
    const auto add = [&](const char* name) {
      averaged_.add(name, {3}, {Initializer::Kind::kOnes}, 1, 1);
    };
    add("a/weight");
    add("b/weight");
    averaged_.add_averages(0.75, [&] { add("a/weight"); });
    averaged_.allocate(*device_, *queue_);
    averaged_.initialize(*device_, *queue_, RngKey(1));
  }

  std::vector<float> values(int parameter) {
    return copy_to_host<float>(*device_, *queue_, averaged_[parameter]);
  }

  ParameterSet averaged_;
};

TEST_F(UpdateOfAverages, FollowWhatAStepMade) {
  const auto update = make_update(averaged_);
  EXPECT_THAT(update->trainable(), ElementsAre(true, true, false));
  step(*update, 0, 1.0F);
  EXPECT_THAT(values(0), Each(0.5F));
  EXPECT_THAT(values(2), Each(0.875F));  // 0.75 * 1 + 0.25 * 0.5
  step(*update, 1, 1.0F);
  EXPECT_THAT(values(0), Each(0.0F));
  EXPECT_THAT(values(2), Each(0.65625F));  // 0.75 * 0.875
}

TEST_F(UpdateOfAverages, FollowOnceAStepBehindItsLastPart) {
  const auto update = make_update(averaged_, {{Pattern{"b*", ""}}, {Pattern{"a*", ""}}});
  step(*update, 0, 1.0F, 0);
  EXPECT_THAT(values(2), Each(1.0F));
  step(*update, 0, 1.0F, 1);
  EXPECT_THAT(values(2), Each(0.875F));
}

TEST_F(UpdateOfAverages, GoOnWhereTheirParametersStay) {
  stage_.trainable = {{"b/*", ""}};
  const auto update = make_update(averaged_);
  copy_from_host<float>(*device_, *queue_, std::vector<float>(3, 2.0F), averaged_[0]);
  step(*update, 0, 1.0F);
  EXPECT_THAT(values(0), Each(2.0F));
  EXPECT_THAT(values(2), Each(1.25F));  // 0.75 * 1 + 0.25 * 2
}

TEST_F(UpdateOfAverages, AreNeitherTrainedNorNamed) {
  stage_.trainable = {{"average/*", ""}};
  EXPECT_EQ(message_of<JobError>([&] { make_update(averaged_); }),
            "stage train: the trainable pattern 'average/*' matches no parameter (there are "
            "a/weight, b/weight)");
}

TEST_F(UpdateOfAverages, HaveAnOptimizerStateOfZeros) {
  stage_.optimizer = {.name = OptimizerOptions::Name::kAdam};
  const auto update = make_update(averaged_);
  step(*update, 0, 1.0F);
  const auto arena = static_cast<std::size_t>(averaged_.arena_elements());
  const auto state = update->gather_state(*queue_, 0, {std::vector<float>(arena, 7.0F)});
  ASSERT_THAT(state, SizeIs(2));
  EXPECT_NE(state[0][0], 0.0F);
  const auto first = state[0].begin() + averaged_.exchanged_elements();
  EXPECT_THAT(std::vector<float>(first, state[0].end()), testing::AllOf(SizeIs(16), Each(0.0F)));
}

/// Adam's moments of LeNet over three ranks: every trained element is in exactly one segment, and
/// the gathered state has the same bits on all ranks and as on one.
TEST(UpdateState, IsGatheredFromAllRanks) {
  TrainOptions options = small_job();
  options.stages[0].optimizer.name = OptimizerOptions::Name::kAdam;
  options.stages[0].stop.steps = 2;
  std::vector<std::vector<std::vector<float>>> states(4);
  const auto train = [&](comm::Communicator& communicator, std::size_t slot) {
    TrainingRun run(options, communicator);
    std::vector<Stage> stages = run.make_stages("");
    run_stages(stages, run.loop_options(), run.runner(), nullptr, {});
    states[slot] = run.updates()[0]->gather_state(run.runner().queue());
  };
  run_ranks(1, [&](comm::Communicator& communicator) { train(communicator, 3); });
  run_ranks(3, [&](comm::Communicator& communicator) {
    train(communicator, static_cast<std::size_t>(communicator.rank()));
  });
  ASSERT_THAT(states[3], SizeIs(2));
  EXPECT_NE(states[3][0], std::vector<float>(states[3][0].size()));
  for (std::size_t rank = 0; rank < 3; ++rank) {
    EXPECT_TRUE(states[rank] == states[3]) << "rank " << rank;
  }
}

}  // namespace
}  // namespace gentrain::trainers
