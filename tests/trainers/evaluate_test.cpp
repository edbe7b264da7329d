// Evaluation counts every sample once for any chunk, ranks and workers; prediction gives the same
// numbers sample by sample.
#include "trainers/evaluate.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/pixel_net.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

Evaluation evaluate_over(const CountedPixels& dataset, int ranks, int workers, std::int64_t chunk) {
  std::vector<Evaluation> all(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](comm::Communicator& communicator) {
    const auto device = make_cpu_device();
    StepRunner runner(communicator, *device, workers, 16);
    PixelNet net(*device, runner.queue());
    all[static_cast<std::size_t>(communicator.rank())] =
        evaluate(communicator, runner, *net.objective, {dataset, {0.25, 0.01}, chunk});
  });
  for (const Evaluation& one : all) {
    EXPECT_EQ(one.correct, all[0].correct);
    EXPECT_EQ(one.loss, all[0].loss);
  }
  return all[0];
}

TEST(Evaluate, CountsEverySampleOnceForAnyRanksAndWorkers) {
  for (const std::int64_t size : {9, 1, 16, 130}) {
    const CountedPixels dataset(size);
    for (const std::int64_t chunk : {1, 4, 9, 64}) {
      const Evaluation alone = evaluate_over(dataset, 1, 1, chunk);
      EXPECT_EQ(alone.samples, size);
      for (const auto& [ranks, workers] :
           std::vector<std::pair<int, int>>{{1, 3}, {2, 1}, {5, 2}}) {
        dataset.take_reads();
        const Evaluation result = evaluate_over(dataset, ranks, workers, chunk);
        EXPECT_EQ(dataset.take_reads(), std::vector<int>(static_cast<std::size_t>(size), 1));
        EXPECT_EQ(result.samples, size);
        EXPECT_EQ(result.correct, alone.correct);
        EXPECT_EQ(result.loss, alone.loss) << size << " by " << chunk << " over " << ranks;
      }
    }
  }
}

/// Below pixel 64 the normalised value is negative and class 2 has the largest logit, above
/// class 1.
TEST(Evaluate, CountsWhatIsRight) {
  const CountedPixels dataset(130);
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < 130; ++i) {
    right += i % 3 == (i < 64 ? 2 : 1) ? 1 : 0;
  }
  const Evaluation result = evaluate_over(dataset, 3, 1, 7);
  EXPECT_EQ(result.correct, right);
  EXPECT_EQ(result.top1(), static_cast<double>(right) / 130);
  EXPECT_GT(result.loss, 0.5);
}

TEST(Predict, GivesRowsThatSumToOneAndAgreeWithEachOther) {
  const CountedPixels dataset(300);
  const auto single = comm::make_single();
  const auto device = make_cpu_device();
  StepRunner runner(*single, *device, 1, 1);
  PixelNet net(*device, runner.queue());
  const auto all = predict(runner, net.network(), dataset, {0.25, 0.5}, 0, 300);
  ASSERT_EQ(all.size(), 900U);
  for (std::size_t i = 0; i < 900; i += 3) {
    EXPECT_NEAR(all[i] + all[i + 1] + all[i + 2], 1.0F, 1e-6);
  }
  const auto some = predict(runner, net.network(), dataset, {0.25, 0.5}, 290, 10);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + 870));
  EXPECT_TRUE(predict(runner, net.network(), dataset, {}, 300, 0).empty());
}

TEST(Predict, RefusesSamplesThatAreNotThere) {
  const CountedPixels dataset(9);
  const auto single = comm::make_single();
  const auto device = make_cpu_device();
  StepRunner runner(*single, *device, 1, 1);
  PixelNet net(*device, runner.queue());
  EXPECT_EQ(test::message_of<JobError>([&] { predict(runner, net.network(), dataset, {}, 8, 2); }),
            "predict: samples [8, 10) of a data set of 9");
}

}  // namespace
}  // namespace gentrain::trainers
