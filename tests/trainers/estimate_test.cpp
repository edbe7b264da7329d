// Estimates against what runs then measure: tensor memory, copies of gradients, bytes exchanged.
#include "trainers/estimate.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/trainers/small_runs.h"
#include "trainers/bench.h"
#include "trainers/evaluate.h"

namespace gentrain::trainers {
namespace {

struct Measured {
  std::int64_t tensor_bytes = 0;  // of the rank that takes most
  std::int64_t exchanged = 0;
};

/// Runs a job's stages over ranks, evaluates, and measures.
Measured measure(const TrainOptions& options, int ranks) {
  std::vector<Measured> all(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    std::vector<Stage> stages = run.make_stages("");
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
    evaluate(communicator, run.runner(), run.objective(), run.evaluation_data());
    if (draws_pictures(run)) {
      Context context{run.device(), run.runner().queue(), nullptr, false, {}};
      run.objective().pictures({context, *run.data().test, run.data().test_normalization});
    }
    all[static_cast<std::size_t>(communicator.rank())] = {
        static_cast<std::int64_t>(run.device().memory().stats().peak_bytes),
        run.updates().back()->exchange().bytes_sent_per_step()};
  });
  Measured most;
  for (const Measured& one : all) {
    most.tensor_bytes = std::max(most.tensor_bytes, one.tensor_bytes);
    most.exchanged = std::max(most.exchanged, one.exchanged);
  }
  return most;
}

void expect_close(const TrainOptions& options, int ranks, double tolerance) {
  const Estimate estimate = trainers::estimate(options, ranks);
  const Measured measured = measure(options, ranks);
  EXPECT_NEAR(static_cast<double>(estimate.memory.total),
              static_cast<double>(measured.tensor_bytes),
              tolerance * static_cast<double>(measured.tensor_bytes))
      << ranks << " ranks";
  EXPECT_EQ(estimate.exchanged_bytes, measured.exchanged) << ranks << " ranks";
}

TEST(Estimate, IsWhatRunsTake) {
  for (const int ranks : {1, 2, 3, 5}) {
    expect_close(small_job(), ranks, 0.05);
    expect_close(small_vae_job(), ranks, 0.05);
  }
}

TEST(Estimate, KnowsAdamClippingStagesAndLargeEvaluations) {
  TrainOptions options = small_job();
  options.stages.push_back(options.stages[0]);
  options.stages[0].name = "first";
  options.stages[0].trainable = {Pattern{"fc2/*", ""}};
  options.stages[1].name = "second";
  options.stages[1].optimizer.name = OptimizerOptions::Name::kAdam;
  options.stages[1].clip_norm = 1;
  options.evaluate.batch = 40 * 16;
  for (const int ranks : {1, 3}) {
    expect_close(options, ranks, 0.05);
  }
}

TEST(Estimate, AddsWhatMoreWorkersHold) {
  TrainOptions options = small_job();
  options.batch.global = 250;
  options.threads = 3;
  const Estimate estimate = trainers::estimate(options, 1);
  EXPECT_EQ(estimate.threads, 3);
  options.threads = 1;
  const Estimate one = trainers::estimate(options, 1);
  EXPECT_EQ(estimate.memory.worker, one.memory.worker);
  EXPECT_GE(estimate.memory.total, one.memory.total + 2 * one.memory.worker);
  // Three workers that never hold their most at the same time take less.
  options.threads = 3;
  const Measured measured = measure(options, 1);
  EXPECT_GT(measured.tensor_bytes, one.memory.total);
  EXPECT_LT(static_cast<double>(measured.tensor_bytes),
            1.2 * static_cast<double>(estimate.memory.total));
}

TEST(Estimate, CountsGradientCopies) {
  EXPECT_EQ(comm::gradient_copies(comm::runs_of({0, 16}, 1, 1), 16, 1),
            5);  // the last shard, and sums of 8, 4, 2, 1
  EXPECT_EQ(comm::gradient_copies(comm::runs_of({0, 16}, 1, 2), 16, 2),
            5);  // two shards, and sums of 8, 4, 2
  EXPECT_EQ(comm::gradient_copies(comm::runs_of({0, 16}, 1, 16), 16, 16), 16);
  EXPECT_EQ(comm::gradient_copies(comm::runs_of({0, 1}, 1, 1), 1, 1), 1);
  EXPECT_EQ(comm::gradient_copies(comm::runs_of({5, 8}, 1, 1), 16, 1),
            3);  // shard 7, and 5 and 6, which are no pair
  TrainOptions options = small_job();
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    std::vector<Stage> stages = run.make_stages("");
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
    EXPECT_EQ(run.updates()[0]->exchange().live_copies(),
              comm::gradient_copies(comm::runs_of({0, 16}, 1, 1), 16, 1));
  });
}

TEST(Estimate, StandsInForMissingMnist) {
  TrainOptions options = small_job();
  options.data.source = DataOptions::Source::kMnist;
  options.data.folder = "nowhere";
  const Estimate estimate = trainers::estimate(options, 1);
  EXPECT_THAT(estimate.missing, testing::HasSubstr("nowhere"));
  EXPECT_EQ(estimate.parameters, 22278);
  const Estimate there = trainers::estimate(small_job(), 1);
  EXPECT_EQ(there.missing, "");
  EXPECT_EQ(estimate.memory.total, there.memory.total);
}

TEST(Estimate, KnowsNothingOfMissingArrays) {
  TrainOptions options = small_job();
  options.data.source = DataOptions::Source::kHdf5;
  options.data.train_file = "nowhere.h5";
  options.data.test_file = "nowhere.h5";
  const Estimate estimate = trainers::estimate(options, 1);
  EXPECT_THAT(estimate.missing, testing::HasSubstr("nowhere.h5"));
  EXPECT_TRUE(estimate.layers.empty());
  EXPECT_THAT(estimate.contract, testing::HasSubstr("16 shards"));
}

TEST(Estimate, RefusesMoreRanksThanShards) {
  EXPECT_THROW(trainers::estimate(small_job(), 17), JobError);
}

}  // namespace
}  // namespace gentrain::trainers
