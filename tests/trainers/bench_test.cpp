// Benchmarks of whole steps: the arithmetic of SRGAN's stages, counted by hand.
#include "trainers/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

using test::message_of;

/// Multiply-adds of one image forward through the networks of small_srgan_job(): 24 x 24 pixels
/// become 96 x 96, by 3x3 kernels.
constexpr double kFirst = 24. * 24 * 9 * 3 * 4;  // of the generator
constexpr double kGenerator =
    kFirst + 24. * 24 * 9 * (3 * 4 * 4 + 4 * 16) + 48. * 48 * 9 * 4 * 4 + 96. * 96 * 9 * 1 * 3;
constexpr double kFirstJudge = 96. * 96 * 9 * 3 * 4;  // of the discriminator
constexpr double kJudge = kFirstJudge + 48. * 48 * 9 * (4 * 4 + 4 * 8) +
                          24. * 24 * 9 * (8 * 8 + 8 * 16) + 12. * 12 * 9 * (16 * 16 + 16 * 32) +
                          6. * 6 * 9 * 32 * 32 + 6. * 6 * 32 * 64 + 64;
constexpr double kVgg = 96. * 96 * 9 * 3 * 64;  // block1_conv1

/// GFLOP of a step of 16 images.
double gflop(const TrainOptions& options, const BenchOptions& bench_options) {
  const auto single = comm::make_single();
  TrainingRun run(options, *single);
  return bench(run, bench_options, std::chrono::system_clock::now()).gflop_per_step;
}

constexpr double of_step(double products) {
  return 16 * 2 * products * 1e-9;
}

TEST(Bench, CountsWhatTheStageGanComputes) {
  const BenchOptions once{.stage = "gan", .steps = 1, .warmup = 0};
  TrainOptions options = small_srgan_job();
  // The generator forward and backward, without gradients of its input.
  const double generator = 3 * kGenerator - kFirst;
  // The discriminator so for real and for generated images; through it by data for the generator,
  // as through VGG19, which sees real images too.
  const double judges = 2 * (3 * kJudge - kFirstJudge);
  EXPECT_NEAR(gflop(options, once), of_step(generator + judges + kJudge + 3 * kVgg), 1e-9);
  options.adversarial.updates = AdversarialOptions::Updates::kAlternating;
  EXPECT_NEAR(gflop(options, once),
              of_step(generator + judges + kJudge + 3 * kVgg + kGenerator + kJudge), 1e-9)
      << "a forward pass of each more";
  options.adversarial.updates = AdversarialOptions::Updates::kTogether;
  options.stages[1].trainable = {{"discriminator/*", ""}};
  EXPECT_NEAR(gflop(options, once), of_step(kGenerator + judges + 2 * kVgg), 1e-9);
  options.stages[1].trainable = {{"generator/*", ""}};
  options.stages[1].discriminator_optimizer.reset();
  EXPECT_NEAR(gflop(options, once), of_step(generator + 3 * kJudge + 3 * kVgg), 1e-9);
  options.content.network = ContentOptions::Network::kPixels;
  EXPECT_NEAR(gflop(options, once), of_step(generator + 3 * kJudge), 1e-9);
}

TEST(Bench, CountsTheGeneratorAloneWhereNothingElseIsComputed) {
  const TrainOptions options = small_srgan_job();
  EXPECT_NEAR(gflop(options, {.stage = "mse", .steps = 1, .warmup = 0}),
              of_step(3 * kGenerator - kFirst), 1e-9);
  EXPECT_NEAR(gflop(options, {.stage = "", .steps = 1, .warmup = 0, .forward = true}),
              of_step(kGenerator), 1e-9);
}

TEST(Bench, ForwardNeedsNeitherContentNorOptimizer) {
  TrainOptions options = small_srgan_job();
  options.content.weights = "no/such/file.h5";
  const auto single = comm::make_single();
  TrainingRun run(options, *single);
  const auto timed = [&](bool forward) {
    return bench(run, {.stage = "", .steps = 1, .warmup = 0, .forward = forward},
                 std::chrono::system_clock::now());
  };
  const BenchResult result = timed(true);
  EXPECT_EQ(result.stage, "gan");
  EXPECT_EQ(result.exchanged_bytes, 0);
  EXPECT_THAT(run.updates(), testing::IsEmpty());
  EXPECT_THAT(message_of<IoError>([&] { timed(false); }), testing::HasSubstr("no/such/file.h5"));
}

TEST(Bench, RefusesStagesThatTakeNoSteps) {
  TrainOptions options = small_srgan_job();
  options.stages[1].stop.steps = 0;
  EXPECT_EQ(message_of<JobError>([&] { gflop(options, {.stage = "gan"}); }),
            "bench: stage gan takes no steps, as its stop says");
  EXPECT_EQ(message_of<JobError>([&] { gflop(options, {.stage = "gann"}); }),
            "there is no stage 'gann' (there are mse, gan)");
}

}  // namespace
}  // namespace gentrain::trainers
