// SRGAN: its parameters, the gradients of both networks against central differences, what it tells,
// and whole runs: stages, statistics of batch norm, a restart.
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
#include "tests/support/gradients.h"
#include "tests/trainers/small_runs.h"
#include "trainers/gan_watch.h"
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
  EXPECT_EQ(counted(generator.layers(24, 24)), set.count());
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

/// A tiny one in f64 on the reference device; content is compared pixel by pixel.
class SmallSrgan : public ::testing::TestWithParam<SrganOptions::Variant> {
 protected:
  static constexpr double kScale = 0.25;

  SmallSrgan() {
    parameters_.allocate(bench_.device(), bench_.queue(), DType::kF64);
    parameters_.initialize(bench_.device(), bench_.queue(), RngKey(5));
  }
  void set(int parameter, const std::vector<double>& values) {
    copy_from_host<double>(bench_.device(), bench_.queue(), values, parameters_[parameter]);
    parameters_.mark_changed();
  }
  std::vector<double> train(const char* stage, ParameterGradients& gradients) {
    Tape tape(bench_.device(), bench_.queue());
    Context context{bench_.device(), bench_.queue(), &tape, true, {}, 0.5};
    ShardStep step{context, gradients, stage, x_, {}, kScale};
    return srgan_.train(step);
  }
  /// Compares some elements of each gradient of a network with differences of a sum.
  void expect_gradients(const char* stage, const std::string& network, std::size_t sum) {
    test::GradientStore store(bench_, parameters_);
    train(stage, store);
    for (int p = 0; p < parameters_.size(); ++p) {
      const ParameterInfo& info = parameters_.info(p);
      if (!info.name.starts_with(network) || info.role == ParameterRole::kStatistic) {
        continue;
      }
      const std::vector<double> at = bench_.values(parameters_[p]);
      const std::vector<double> gradient = bench_.values(store.gradient(p));
      for (std::size_t i = 0; i < at.size(); i += 1 + at.size() / 2) {
        constexpr double kDifference = 1e-5;
        const auto sum_at = [&](double moved_by) {
          std::vector<double> moved = at;
          moved[i] += moved_by;
          set(p, moved);
          test::GradientStore ignored(bench_, parameters_);
          return train(stage, ignored)[sum];
        };
        const double expected =
            kScale * (sum_at(kDifference) - sum_at(-kDifference)) / (2 * kDifference);
        EXPECT_NEAR(gradient[i], expected, 1e-6 * std::max(1.0, std::abs(expected)))
            << info.name << " " << i;
      }
      set(p, at);
    }
  }

  test::Workbench bench_{test::reference_device()};
  ParameterSet parameters_;
  Srgan srgan_{{.variant = GetParam(), .width = 4, .blocks = 1},
               {Initializer::Kind::kXavierUniform, 0},
               {16, 16, 3},
               parameters_};
  Tensor x_ = bench_.random({2, 16, 16, 3}, RngKey(3), DType::kF64, -1, 1);
};

TEST_P(SmallSrgan, GradientsAreThoseOfTheLosses) {
  expect_gradients("mse", "generator/", 0);
  expect_gradients("gan", "generator/", 0);
  expect_gradients("gan", "discriminator/", 4);
}

TEST_P(SmallSrgan, TellsItsTerms) {
  test::GradientStore store(bench_, parameters_);
  const std::vector<double> sums = train("gan", store);
  ASSERT_EQ(sums.size(), srgan_.names("gan").size());
  EXPECT_DOUBLE_EQ(sums[0], sums[1] + sums[2] + 1e-3 * sums[3]);
  EXPECT_THAT(sums[5], testing::AllOf(testing::Ge(0), testing::Le(2)));
  EXPECT_EQ(sums[7], 0);
  EXPECT_GT(sums[8], 0);
  EXPECT_GT(sums[9], 0);
  test::GradientStore pixels(bench_, parameters_);
  EXPECT_EQ(sums[1], 0) << "without VGG pixels are compared";
  EXPECT_NEAR(train("mse", pixels)[0], sums[2], 1e-12);
}

TEST_P(SmallSrgan, StatisticsOfTheDiscriminatorAreMeansOfBothBatches) {
  test::GradientStore store(bench_, parameters_);
  train("gan", store);
  const int mean = parameters_.find("discriminator/norm2/running_mean");
  const int variance = parameters_.find("discriminator/norm2/running_var");
  ASSERT_GE(mean, 0);
  EXPECT_THAT(bench_.values(store.gradient(mean)), testing::Not(Each(0.0)));
  EXPECT_THAT(bench_.values(store.gradient(variance)), Each(testing::Gt(0.0)));
  EXPECT_EQ(parameters_.info(mean).role, ParameterRole::kStatistic);
}

TEST_P(SmallSrgan, KnowsItsStages) {
  EXPECT_THAT(srgan_.names("mse"), ElementsAre("loss"));
  EXPECT_EQ(srgan_.passes("mse").at(0).at(0).text, "generator/*");
  EXPECT_EQ(srgan_.passes("gan").at(0).at(0).text, "*");
  EXPECT_EQ(message_of<JobError>([&] { (void)srgan_.names("train"); }),
            "model srgan has the stages mse and gan, but the job has a stage 'train'");
}

INSTANTIATE_TEST_SUITE_P(Variants, SmallSrgan,
                         ::testing::Values(SrganOptions::Variant::kBook,
                                           SrganOptions::Variant::kPaper),
                         [](const auto& row) {
                           return row.param == SrganOptions::Variant::kBook ? "Book" : "Paper";
                         });

std::string message_of_run(const TrainOptions& options) {
  return message_of<Error>([&] {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    run.make_stages("");
  });
}

TEST(SrganRuns, GiveTheSameBytesOnAnyRanksAndWorkers) {
  TrainOptions options = small_srgan_job();
  const Hashes alone = train_small(options, 1);
  EXPECT_EQ(train_small(options, 3), alone);
  options.threads = 2;
  EXPECT_EQ(train_small(options, 2), alone);
  options.seed = 8;
  EXPECT_NE(train_small(options, 1), alone);
}

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
    ASSERT_EQ(after.size(), 4U);
    EXPECT_EQ(after[0].first, "psnr");
    EXPECT_NE(after[0], before[0]);
    EXPECT_EQ(after[2], before[2]) << "bicubic interpolation learns nothing";
    EXPECT_GT(after[2].second, 15);
    EXPECT_EQ(after[3], before[3]);
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

/// What one step of the stage gan makes of the initial weights, or of those that `given` names.
Weights after_gan_step(TrainOptions options, const Weights& given = {}) {
  options.stages.erase(options.stages.begin());
  options.stages[0].stop.steps = 1;
  Weights after;
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    Queue& queue = run.runner().queue();
    for (const auto& [name, values] : given) {
      copy_from_host<float>(run.device(), queue, values,
                            run.parameters()[run.parameters().find(name)]);
    }
    run.parameters().mark_changed();
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
