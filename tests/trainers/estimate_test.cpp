// Estimates against what runs then measure: tensor memory, copies of gradients, bytes exchanged.
#include "trainers/estimate.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"
#include "trainers/bench.h"
#include "trainers/evaluate.h"

namespace gentrain::trainers {
namespace {

struct Measured {
  std::int64_t tensor_bytes = 0;  // of the rank that takes most
  std::int64_t exchanged = 0;
};

/// Evaluates and draws behind the last step of each stage, while its gradients are held.
class Evaluating final : public Observer {
 public:
  explicit Evaluating(TrainingRun& run) : run_(run) {}
  void after_step(const StepReport& report) override {
    if (!report.ends_stage) {
      return;
    }
    evaluate(run_.communicator(), run_.runner(), run_.objective(), run_.evaluation_data());
    if (draws_pictures(run_)) {
      Context context{run_.device(), run_.runner().queue(), nullptr, false, {}};
      run_.objective().pictures({context, *run_.data().test, run_.data().test_normalization});
    }
  }

 private:
  TrainingRun& run_;
};

/// Runs a job's stages over ranks, with evaluations, and measures.
Measured measure(const TrainOptions& options, int ranks) {
  std::vector<Measured> all(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    std::vector<Stage> stages = run.make_stages("");
    Evaluating evaluating(run);
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {&evaluating});
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

/// Sees how many copies of gradients a run holds.
class CopiesWatch final : public Observer {
 public:
  explicit CopiesWatch(TrainingRun& run) : run_(run) {}
  void after_step(const StepReport& /*report*/) override {
    most_ = std::max(most_, run_.updates()[0]->exchange().live_copies());
  }
  [[nodiscard]] int most() const { return most_; }

 private:
  TrainingRun& run_;
  int most_ = 0;
};

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
    CopiesWatch watch(run);
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {&watch});
    EXPECT_EQ(watch.most(), comm::gradient_copies(comm::runs_of({0, 16}, 1, 1), 16, 1));
    EXPECT_EQ(run.updates()[0]->exchange().live_copies(), 0);  // the next stage may have them
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

// Of srgan data.source auto is faces: no digits stand for them.
TEST(Estimate, KnowsNothingWithoutContentWeights) {
  for (const auto source : {DataOptions::Source::kAuto, DataOptions::Source::kFaces}) {
    TrainOptions options = small_srgan_job();
    options.data.source = source;
    options.data.folder = "no/photographs";
    options.content.weights = "nowhere.h5";
    const Estimate estimate = trainers::estimate(options, 2);
    EXPECT_THAT(estimate.missing, testing::HasSubstr("nowhere.h5"));
    EXPECT_TRUE(estimate.layers.empty());
    EXPECT_THAT(estimate.contract, testing::HasSubstr("16 shards"));
  }
}

// Two stages whose gradients all parameters have: those of the first one go before the second
// begins.
TEST(Estimate, CountsGradientsOfOneStage) {
  TrainOptions options = small_job();
  const Estimate one = trainers::estimate(options, 2);
  options.stages.push_back(options.stages[0]);
  options.stages[1].name = "second";
  options.stages[1].optimizer.momentum = 0;
  const Estimate two = trainers::estimate(options, 2);
  EXPECT_LT(two.memory.gradients, one.memory.gradients + one.memory.gradients / 10);
  EXPECT_LT(two.memory.total, one.memory.total + one.memory.total / 10);
}

TEST(Estimate, AddsUpTheRanksOfAHost) {
  TrainOptions options = small_job();
  const Estimate estimate = trainers::estimate(options, 3);
  EXPECT_GT(estimate.shared_mib, 0);
  EXPECT_GT(estimate.writer_mib, 0);
  EXPECT_EQ(estimate.host_mib, 3 * (estimate.resident_mib - estimate.shared_mib) +
                                   estimate.shared_mib + estimate.writer_mib);
  options.checkpoint.every.unit = CheckpointOptions::Unit::kNever;
  EXPECT_EQ(trainers::estimate(options, 3).writer_mib, 0);
}

// The weights, Adam's two states and the best weights so far.
TEST(Estimate, KnowsWhatACheckpointTakes) {
  TrainOptions options = small_job();
  const double sgd = trainers::estimate(options, 2).writer_mib;
  options.stages[0].optimizer.name = OptimizerOptions::Name::kAdam;
  options.best.metric = Metric::kLoss;
  const Estimate adam = trainers::estimate(options, 2);
  EXPECT_EQ(adam.writer_mib, 2 * sgd) << "of SGD the weights and its momentum";
  EXPECT_GE(adam.writer_mib * 1024 * 1024,
            4 * static_cast<double>(adam.parameters) * sizeof(float));
}

TEST(Estimate, RefusesWhatTheHostHasNoMemoryFor) {
  Estimate estimate;
  estimate.host_mib = 12000;
  constexpr std::int64_t kMib = 1 << 20;
  EXPECT_NO_THROW(check_fits(estimate, 16, 12001 * kMib));
  EXPECT_NO_THROW(check_fits(estimate, 16, std::nullopt));
  EXPECT_EQ(test::message_of<DeviceError>([&] { check_fits(estimate, 16, 11999 * kMib); }),
            "there is not enough memory: 16 ranks on this host need 12000 MiB, 11999 MiB are "
            "free: start fewer ranks a host");
  EXPECT_EQ(test::message_of<DeviceError>([&] { check_fits(estimate, 1, 3 * kMib); }),
            "there is not enough memory: 1 rank on this host needs 12000 MiB, 3 MiB are free: "
            "start fewer ranks a host");
}

TEST(Estimate, RefusesMoreRanksThanShards) {
  EXPECT_THROW(trainers::estimate(small_job(), 17), JobError);
}

}  // namespace
}  // namespace gentrain::trainers
