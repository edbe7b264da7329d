// SRGAN: its parameters, and whole runs: either loss, stages, statistics of batch norm, a restart.
#include "trainers/srgan.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"
#include "trainers/gan_watch.h"
#include "trainers/observers.h"
#include "trainers/run_log.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::int64_t counted(const std::vector<LayerInfo>& layers) {
  std::int64_t sum = 0;
  for (const LayerInfo& layer : layers) {
    sum += layer.parameters;
  }
  return sum;
}

TEST(SrganNetworks, HaveTheirParameters) {
  ParameterSet of_generator;
  const Generator generator({}, {}, of_generator);
  EXPECT_EQ(of_generator.count(), 593392);
  EXPECT_EQ(counted(generator.layers(24, 24)), 593392);
  ParameterSet of_discriminator;
  const Discriminator discriminator({}, {}, 96, 96, of_discriminator);
  EXPECT_EQ(of_discriminator.count(), 23563585);
  EXPECT_EQ(counted(discriminator.layers()), 23563585);
}

TEST(SrganNetworks, OfThePaperHaveTheirs) {
  const SrganOptions paper{.variant = SrganOptions::Variant::kPaper};
  ParameterSet set;
  const Generator generator(paper, {}, set);
  // 9x9x3x64 + 64; 16 blocks of two convolutions, two batch norms and a PReLU; the middle; twice
  // 3x3x64x256 + 64; 9x9x64x3.
  constexpr std::int64_t kConv = 9 * 64 * 64;
  EXPECT_EQ(set.count(), 15552 + 64 + 16 * (2 * kConv + 2 * 128 + 64) + kConv + 128 +
                             2 * (4 * kConv + 64) + 15552);
  EXPECT_EQ(set.count(), 1547968);
  EXPECT_EQ(counted(generator.layers(24, 24)), set.count());
  ParameterSet of_discriminator;
  const Discriminator discriminator(paper, {}, 96, 96, of_discriminator);
  EXPECT_EQ(of_discriminator.count(), 23563585) << "the same layers in another order";
  EXPECT_EQ(counted(discriminator.layers()), 23563585);
}

TEST(SrganNetworks, RefuseWidthsAndImagesThatDoNotFit) {
  ParameterSet set;
  EXPECT_EQ(message_of<JobError>([&] { Generator({.width = 6}, {}, set); }),
            "model srgan: width is 6 but must be a multiple of 4");
  EXPECT_EQ(message_of<JobError>([&] { Generator({.blocks = -1}, {}, set); }),
            "model srgan: blocks is -1 but must be at least 0");
  EXPECT_EQ(message_of<JobError>([&] {
              Srgan({.blur = 0.05}, {}, {16, 16, 3}, set);
            }),
            "model srgan: blur is 0.05 but must be 0 or from 0.1 to 64");
  for (const Shape& image : {Shape{28, 28, 1}, Shape{30, 32, 3}, Shape{8, 16, 3}}) {
    EXPECT_THAT(message_of<JobError>([&] { Srgan({}, {}, image, set); }),
                HasSubstr("model srgan takes colour images whose height and width are multiples of "
                          "4 from 12 on, but they are " +
                          image.str()));
  }
}

std::string message_of_run(const TrainOptions& options) {
  return message_of<Error>([&] {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    run.make_stages("");
  });
}

using AdversarialLoss = AdversarialOptions::Loss;

/// Runs with either adversarial loss.
class SrganLosses : public ::testing::TestWithParam<AdversarialLoss> {
 protected:
  SrganLosses() { options_.adversarial.loss = GetParam(); }

  TrainOptions options_ = small_srgan_job();
};

TEST_P(SrganLosses, GiveTheSameBytesOnAnyRanksAndWorkers) {
  const Hashes alone = train_small(options_, 1);
  EXPECT_EQ(train_small(options_, 3), alone);
  options_.threads = 2;
  EXPECT_EQ(train_small(options_, 2), alone);
  options_.seed = 8;
  EXPECT_NE(train_small(options_, 1), alone);
}

TEST_P(SrganLosses, GiveOtherBytesThanTheOther) {
  const Hashes one = train_small(options_, 1);
  options_.adversarial.loss = GetParam() == AdversarialLoss::kLeastSquares
                                  ? AdversarialLoss::kCrossEntropy
                                  : AdversarialLoss::kLeastSquares;
  EXPECT_NE(train_small(options_, 1), one);
}

INSTANTIATE_TEST_SUITE_P(Losses, SrganLosses,
                         ::testing::Values(AdversarialLoss::kLeastSquares,
                                           AdversarialLoss::kCrossEntropy),
                         [](const auto& row) {
                           return row.param == AdversarialLoss::kLeastSquares ? "LeastSquares"
                                                                              : "CrossEntropy";
                         });

/// Weights of one network change while a slower worker still computes: not those that it reads. Two
/// workers with two shards each are often that far apart.
TEST(SrganRuns, NoWeightsChangeThatASlowerShardStillReads) {
  TrainOptions options = small_srgan_job();
  options.batch = {.global = 8, .shards = 4};
  options.model.srgan = {.width = 8, .blocks = 1};
  options.stages[0].stop.steps = 0;
  options.stages[1].stop.steps = 4;
  const Hashes alone = train_small(options, 1);
  options.threads = 2;
  for (int again = 0; again < 6; ++again) {
    EXPECT_EQ(train_small(options, 1), alone);
  }
}

TEST(SrganRuns, GiveTheSameBytesInBf16) {
  TrainOptions options = small_srgan_job();
  const Hashes in_f32 = train_small(options, 1);
  options.precision = Precision::kBf16Emulated;
  const Hashes alone = train_small(options, 1);
  EXPECT_NE(alone, in_f32);
  options.threads = 2;
  EXPECT_EQ(train_small(options, 3), alone);
}

TEST(SrganRuns, ScaleMapsByTheirMeanSquareForAnyRanks) {
  const auto notes_on = [](comm::Communicator& communicator) {
    TrainingRun run(small_srgan_job(), communicator);
    run.prepare();
    return run.objective().notes();
  };
  std::vector<std::string> alone;
  run_ranks(1, [&](comm::Communicator& communicator) { alone = notes_on(communicator); });
  EXPECT_THAT(alone, ElementsAre("content: weights drawn at random",
                                 HasSubstr("content: block1_conv1 divided by its mean square ")));
  run_ranks(3, [&](comm::Communicator& communicator) { EXPECT_EQ(notes_on(communicator), alone); });
}

TEST(SrganRuns, TheFirstStageLeavesTheDiscriminatorAlone) {
  TrainOptions options = small_srgan_job();
  options.stages.pop_back();
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    std::vector<Stage> stages = run.make_stages("");
    EXPECT_THAT(run.objective().notes(), testing::IsEmpty()) << "no content network is needed";
    Queue& queue = run.runner().queue();
    const auto values = [&](const char* name) {
      return copy_to_host<float>(run.device(), queue,
                                 run.parameters()[run.parameters().find(name)]);
    };
    const std::vector<float> discriminator = values("discriminator/norm2/running_mean");
    const std::vector<float> generator = values("generator/middle_norm/running_mean");
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
    EXPECT_EQ(values("discriminator/norm2/running_mean"), discriminator);
    EXPECT_NE(values("generator/middle_norm/running_mean"), generator);
  });
}

/// What the last step told.
class StepStatistics final : public Observer {
 public:
  void after_step(const StepReport& report) override { last = report.statistics; }
  std::vector<float> last;
};

/// The losses of all steps.
class Losses final : public Observer {
 public:
  void after_step(const StepReport& report) override { all.push_back(report.statistics.at(0)); }
  std::vector<float> all;
};

TEST(SrganRuns, LearnPixelsAndAreComparedWithBicubicInterpolation) {
  TrainOptions options = small_srgan_job();
  options.stages.pop_back();
  options.stages[0].stop.steps = 30;
  options.stages[0].optimizer.lr = 1e-2;
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    std::vector<Stage> stages = run.make_stages("");
    const auto evaluated = [&] {
      return evaluate(communicator, run.runner(), run.objective(), run.evaluation_data()).terms;
    };
    const auto before = evaluated();
    Losses losses;
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {&losses});
    EXPECT_LT(losses.all.back(), 0.5 * losses.all.front());
    const auto after = evaluated();
    ASSERT_EQ(after.size(), 6U);
    EXPECT_EQ(after[0].first, "psnr");
    EXPECT_NE(after[0], before[0]);
    EXPECT_EQ(after[2], before[2]) << "bicubic interpolation learns nothing";
    EXPECT_GT(after[2].second, 15);
    EXPECT_EQ(after[3], before[3]);
    EXPECT_EQ(after[4].first, "laplacian");
    EXPECT_NE(after[4], before[4]);
    EXPECT_EQ(after[5].first, "laplacian_original");
    EXPECT_EQ(after[5], before[5]);
    const auto& srgan = dynamic_cast<const Srgan&>(run.objective());
    EXPECT_EQ(srgan.bicubic_quality().computed(), run.data().test->size()) << "once for each image";
  });
}

TEST(SrganRuns, BlurredImagesAreComparedWithTheirOwnBicubicInterpolation) {
  TrainOptions options = small_srgan_job();
  const auto bicubic = [&] {
    double psnr = 0;
    run_ranks(1, [&](comm::Communicator& communicator) {
      TrainingRun run(options, communicator);
      const auto terms =
          evaluate(communicator, run.runner(), run.objective(), run.evaluation_data()).terms;
      EXPECT_EQ(terms.at(2).first, "psnr_bicubic");
      psnr = terms.at(2).second;
    });
    return psnr;
  };
  const double of_means = bicubic();
  options.model.srgan.blur = 1.5;
  const double of_little_blur = bicubic();
  options.model.srgan.blur = 8;
  const double of_much_blur = bicubic();
  EXPECT_NE(of_little_blur, of_means);
  EXPECT_LT(of_much_blur, of_little_blur);
}

using Weights = std::map<std::string, std::vector<float>>;

void set_weights(TrainingRun& run, const Weights& given) {
  for (const auto& [name, values] : given) {
    copy_from_host<float>(run.device(), run.runner().queue(), values,
                          run.parameters()[run.parameters().find(name)]);
  }
  run.parameters().mark_changed();
}

/// What one step of the stage gan makes of the initial weights, or of those that `given` names.
Weights after_gan_step(TrainOptions options, const Weights& given = {}) {
  options.stages.erase(options.stages.begin());
  options.stages[0].stop.steps = 1;
  Weights after;
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    Queue& queue = run.runner().queue();
    set_weights(run, given);
    std::vector<Stage> stages = run.make_stages("");
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
    for (int i = 0; i < run.parameters().size(); ++i) {
      after[run.parameters().info(i).name] =
          copy_to_host<float>(run.device(), queue, run.parameters()[i]);
    }
  });
  return after;
}

Weights of_network(Weights weights, const std::string& network) {
  std::erase_if(weights, [&](const auto& item) { return !item.first.starts_with(network); });
  return weights;
}

/// The error that one step of the stage gan ends with, likewise.
std::string error_of_gan_step(TrainOptions options, const Weights& given = {}) {
  options.stages.erase(options.stages.begin());
  options.stages[0].stop.steps = 1;
  std::string error;
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    set_weights(run, given);
    std::vector<Stage> stages = run.make_stages("");
    FiniteCheck finite(run.runner(), run.parameters());
    error = message_of<NumericError>(
        [&] { run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {&finite}); });
  });
  return error;
}

// By cross entropy each generated image that is surely taken for real costs 1e38 / 2, real ones
// cost nothing, and the generator has all it wants: of 16 images the discriminator's loss alone is
// too large.
TEST(SrganRuns, EndWhereTheDiscriminatorsLossIsNotFinite) {
  TrainOptions options = small_srgan_job();
  options.adversarial.loss = AdversarialLoss::kCrossEntropy;
  EXPECT_EQ(error_of_gan_step(options), "nothing was thrown");
  EXPECT_EQ(error_of_gan_step(options, {{"discriminator/dense2/bias", {1e38F}}}),
            "the term discriminator is inf at step 1 (epoch 1); the first tensor that is not "
            "finite: none of the parameters, so a layer's results. A lower learning rate or "
            "clip_norm may help");
}

TEST(SrganRuns, EndWhereTheLastStepSpoilsTheDiscriminator) {
  for (const auto updates :
       {AdversarialOptions::Updates::kTogether, AdversarialOptions::Updates::kAlternating}) {
    TrainOptions options = small_srgan_job();
    options.adversarial.updates = updates;
    EXPECT_EQ(error_of_gan_step(options), "nothing was thrown");
    options.stages[1].discriminator_optimizer->lr = 1e300;
    const std::string error = error_of_gan_step(options);
    if (updates == AdversarialOptions::Updates::kTogether) {
      EXPECT_EQ(error,
                "discriminator/conv1/weight is not finite behind step 1. A lower learning rate or "
                "clip_norm may help");
    } else {  // the generator's pass sees it, and spoils the generator too
      EXPECT_EQ(error,
                "the loss is nan at step 1 (epoch 1); the first tensor that is not finite: "
                "generator/first/weight. A lower learning rate or clip_norm may help");
    }
  }
}

TEST(SrganRuns, AlternatingUpdatesLetTheGeneratorSeeTheNewDiscriminator) {
  TrainOptions options = small_srgan_job();
  const Weights together = after_gan_step(options);
  options.adversarial.updates = AdversarialOptions::Updates::kAlternating;
  const Weights alternating = after_gan_step(options);
  EXPECT_EQ(of_network(alternating, "discriminator"), of_network(together, "discriminator"));
  EXPECT_NE(of_network(alternating, "generator"), of_network(together, "generator"));

  options.adversarial.updates = AdversarialOptions::Updates::kTogether;
  options.stages[1].trainable = {{"generator/*", ""}};
  options.stages[1].discriminator_optimizer.reset();
  EXPECT_EQ(after_gan_step(options, of_network(alternating, "discriminator")), alternating);
}

TEST(SrganRuns, AlternatingUpdatesGiveTheSameBytesAndTellAll) {
  TrainOptions options = small_srgan_job();
  options.adversarial.updates = AdversarialOptions::Updates::kAlternating;
  const Hashes alone = train_small(options, 1);
  options.threads = 2;
  EXPECT_EQ(train_small(options, 3), alone);

  options.stages.erase(options.stages.begin());
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    std::vector<Stage> stages = run.make_stages("");
    StepStatistics statistics;
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {&statistics});
    EXPECT_EQ(statistics.last.size(), run.objective().names("gan").size());
    // Of the discriminator's pass and of the generator's; how many it finds out may well be none,
    // and pixels have no weight here.
    for (const std::string_view none : {"generated_right", "pixels", "pixels_gradient"}) {
      const auto names = run.objective().names("gan");
      const auto at = std::find(names.begin(), names.end(), none) - names.begin();
      statistics.last[static_cast<std::size_t>(at)] = 1;
    }
    EXPECT_THAT(statistics.last, Each(testing::Gt(0.0F)));
  });
}

TEST(SrganRuns, MayTrainOneNetworkAlone) {
  for (const char* network : {"generator", "discriminator"}) {
    TrainOptions options = small_srgan_job();
    options.stages.erase(options.stages.begin());
    options.stages[0].stop.steps = 1;
    options.stages[0].trainable = {{std::string(network) + "/*", ""}};
    options.stages[0].discriminator_optimizer.reset();
    run_ranks(1, [&](comm::Communicator& communicator) {
      TrainingRun run(options, communicator);
      std::vector<Stage> stages = run.make_stages("");
      const auto values = [&](int parameter) {
        return copy_to_host<float>(run.device(), run.runner().queue(), run.parameters()[parameter]);
      };
      std::vector<std::vector<float>> before;
      for (int i = 0; i < run.parameters().size(); ++i) {
        before.push_back(values(i));
      }
      run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
      for (int i = 0; i < run.parameters().size(); ++i) {
        const std::string& name = run.parameters().info(i).name;
        EXPECT_EQ(values(i) != before[static_cast<std::size_t>(i)], name.starts_with(network))
            << name;
      }
    });
  }
}

TEST(SrganRuns, AnIdentityNamesTheContentWeights) {
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainOptions options = small_srgan_job();
    const auto identity = [&] {
      TrainingRun run(options, communicator);
      run.prepare();
      return run.objective().identity();
    };
    EXPECT_EQ(identity(), "content weights drawn at random");
    options.stages[1].stop.epochs = 0;
    EXPECT_EQ(identity(), "") << "none are needed";
  });
}

TEST(SrganRuns, RefuseWhatDoesNotFit) {
  TrainOptions options = small_srgan_job();
  options.data.normalize.train = data::Normalization{0, 1};
  EXPECT_EQ(message_of_run(options),
            "model srgan takes pixels in -1..1, but they become (x - 0) / 1: set "
            "data.normalize.train: {mean: 0.5, std: 0.5}");
  options = small_srgan_job();
  options.stages[1].name = "adversarial";
  EXPECT_EQ(message_of_run(options),
            "model srgan has the stages mse and gan, but the job has a stage 'adversarial'");
  options = small_srgan_job();
  options.content.weights = "no/such/file.h5";
  EXPECT_THAT(message_of_run(options), HasSubstr("no/such/file.h5"));
  options.content.maps = {"block9_conv1"};
  EXPECT_THAT(message_of_run(options), HasSubstr("block9_conv1"));
  options = small_srgan_job();
  options.stages[0].trainable = {{"discriminator/*", ""}};
  EXPECT_EQ(message_of_run(options), "stage mse: its loss depends on no trainable parameter");
}

/// What a stage tells in one step of 4 images.
StepReport report_of(const Stage& stage, std::int64_t step, float right) {
  StepReport report;
  report.stage = &stage;
  report.step = report.stage_step = step;
  report.images = 4;
  report.statistics = {0, right * 4, right * 4, 9, 4, 1};
  return report;
}

TEST(GanWatch, WarnsOnceOfADiscriminatorThatIsFarAhead) {
  start_log("info", 0);
  Stage stage;
  stage.statistics = {"loss",
                      "real_right",
                      "generated_right",
                      "content_gradient",
                      "pixels_gradient",
                      "adversarial_gradient"};
  GanWatch watch;
  watch.begin_stage(stage, 1000, 0);
  const auto warnings = [&](std::int64_t from, std::int64_t to, float right) {
    testing::internal::CaptureStdout();
    for (std::int64_t step = from; step < to; ++step) {
      watch.after_step(report_of(stage, step, right));
    }
    return testing::internal::GetCapturedStdout();
  };
  EXPECT_THAT(warnings(0, 199, 1.0F),
              testing::AllOf(HasSubstr("content 50.00 %, pixels 33.33 %, adversarial 16.67 %"),
                             testing::Not(HasSubstr("discriminator"))));
  EXPECT_THAT(warnings(199, 200, 0.5F), testing::Not(HasSubstr("discriminator")));
  EXPECT_THAT(warnings(200, 399, 1.0F), testing::Not(HasSubstr("discriminator")));
  ObserverState saved;
  watch.save(saved);
  GanWatch again;
  again.restore(saved);
  again.begin_stage(stage, 1000, 399);
  testing::internal::CaptureStdout();
  again.after_step(report_of(stage, 399, 1.0F));
  EXPECT_THAT(testing::internal::GetCapturedStdout(),
              HasSubstr("the discriminator took 99 of 100 images or more"));
  EXPECT_THAT(warnings(399, 400, 1.0F), HasSubstr("the discriminator took"));
  EXPECT_EQ(warnings(400, 700, 1.0F), "") << "once";
}

}  // namespace
}  // namespace gentrain::trainers
