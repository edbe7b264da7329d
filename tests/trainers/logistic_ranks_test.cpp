// Logistic regression over ranks: the same bytes for any number of them and of workers, with a
// restart in between; errors that all ranks have alike.
#include <algorithm>

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/trainers/logistic_problem.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

void expect_same(const LogisticResult& one, const LogisticResult& other, const std::string& where) {
  EXPECT_EQ(one.model, other.model) << where;
  EXPECT_EQ(one.history, other.history) << where;
}

/// Samples, classes.
class LogisticRanks : public ::testing::TestWithParam<std::pair<std::int64_t, int>> {
 protected:
  [[nodiscard]] LogisticProblem problem() const {
    return {GetParam().first, 9, GetParam().second, 4};
  }
};

TEST_P(LogisticRanks, AnyNumberOfRanksAndWorkers) {
  const LogisticProblem data = problem();
  const LogisticResult alone = fit_alone(data, {});
  EXPECT_GT(alone.iterations, 2);
  for (const int ranks : {1, 2, 3, 4, 5, 16}) {
    const int most = ranks == 16 ? 1 : 3;  // all ranks are threads of this process
    for (int workers = 1; workers <= most; ++workers) {
      run_ranks(ranks, [&](comm::Communicator& communicator) {
        expect_same(fit_on(communicator, data, {}, workers), alone,
                    fmt::format("{} ranks x {}", ranks, workers));
      });
    }
  }
}

TEST_P(LogisticRanks, GoesOnWithOtherCounts) {
  const LogisticProblem data = problem();
  const auto single = comm::make_single();
  WorkerPool alone(1, true);
  const LabelledFeatures all = data.on(*single, 16);
  LogisticFit whole(*single, alone, {}, all);
  while (whole.step()) {
  }
  const std::int64_t end = whole.state().iterations();
  EXPECT_GE(end, 4);
  for (const int stop : {0, 1, 4, 1000}) {  // the last one has ended
    std::vector<std::byte> kept;
    run_ranks(2, [&](comm::Communicator& communicator) {
      WorkerPool pool(1, false);
      const LabelledFeatures features = data.on(communicator, 16);
      LogisticFit fit(communicator, pool, {}, features);
      for (int i = 0; i < stop && fit.step(); ++i) {
      }
      if (communicator.rank() == 0) {
        kept = to_bytes(fit.state());
      }
    });
    run_ranks(3, [&](comm::Communicator& communicator) {
      WorkerPool pool(2, false);
      const LabelledFeatures features = data.on(communicator, 16);
      LogisticFit fit(communicator, pool, {}, features);
      fit.resume(optim::owlqn_state_from(kept, "a test"));
      EXPECT_EQ(fit.state().iterations(), std::min<std::int64_t>(stop, end));
      while (fit.step()) {
      }
      EXPECT_EQ(fit.model(), whole.model()) << "stopped after " << stop;
      EXPECT_EQ(fit.state(), whole.state()) << "stopped after " << stop;
    });
  }
}

/// Fewer samples than shards, a few, and enough that shards have several.
INSTANTIATE_TEST_SUITE_P(Sizes, LogisticRanks,
                         ::testing::Values(std::pair(9, 2), std::pair(40, 2), std::pair(130, 3)));

/// The twins: other shards, or the same samples in another order, have other bits.
TEST(LogisticRanksCanFail, OtherSums) {
  const LogisticProblem data(130, 9, 3, 4);
  const LogisticResult expected = fit_alone(data, {});
  LogisticOptions options;
  options.shards = 12;
  EXPECT_NE(fit_alone(data, options).model, expected.model);
  LogisticProblem reversed = data;
  std::reverse(reversed.labels.begin(), reversed.labels.end());
  std::reverse(reversed.x.begin(), reversed.x.end());  // the features of a sample too: turned back
  for (std::int64_t i = 0; i < 130; ++i) {
    std::reverse(reversed.x.begin() + i * 9, reversed.x.begin() + (i + 1) * 9);
  }
  const LogisticResult other = fit_alone(reversed, {});
  EXPECT_NE(other.model, expected.model);
  EXPECT_TRUE(
      test::within(1e-6, Shape{3, 9}, other.model.coefficients, expected.model.coefficients));
}

TEST(LogisticRanks, OwnedSamplesAreAllSamplesOnce) {
  for (const std::int64_t samples : {1, 9, 16, 130}) {
    for (const int ranks : {1, 3, 16}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const comm::Range own = owned_samples(samples, 16, ranks, rank);
        EXPECT_EQ(own.first, next);
        next = own.last;
      }
      EXPECT_EQ(next, samples);
    }
  }
}

TEST(LogisticRanks, AllRanksTellOfTheFirstBadFeature) {
  LogisticProblem data(50, 6, 2, 1);
  data.x[40 * 6 + 2] = INFINITY;
  data.x[17 * 6 + 5] = NAN;
  run_ranks(4, [&](comm::Communicator& communicator) {
    EXPECT_EQ(test::message_of<NumericError>([&] { fit_on(communicator, data, {}, 2); }),
              "logistic regression: feature 5 of sample 17 is nan: finite numbers are needed");
  });
}

TEST(LogisticRanks, RefusesMoreRanksThanShards) {
  run_ranks(3, [](comm::Communicator& communicator) {
    EXPECT_EQ(test::message_of<JobError>(
                  [&] { fit_on(communicator, LogisticProblem(50, 6, 2, 1), {.shards = 2}, 1); }),
              "3 ranks but only 2 shards: start at most 2 ranks or set batch.shards to 3 or more");
  });
}

TEST(LogisticRanks, RefusesTheStateOfAnotherFit) {
  const LogisticProblem data(50, 6, 2, 1);
  const auto single = comm::make_single();
  WorkerPool pool(1, true);
  const LabelledFeatures features = data.on(*single, 16);
  LogisticFit fit(*single, pool, {}, features);
  optim::OwlqnState other;
  other.x.resize(8);
  EXPECT_EQ(
      test::message_of<ShapeError>([&] { fit.resume(other); }),
      "logistic regression: a state of 8 variables for a fit of 7: other features or classes");
}

/// An error of whoever gives the features ends the fit; the next one knows nothing of it.
TEST(LogisticRanks, AnErrorOfTheFeaturesGoesThrough) {
  const LogisticProblem data(50, 6, 2, 1);
  const auto single = comm::make_single();
  for (const int workers : {1, 3}) {
    WorkerPool pool(workers, true);
    bool broken = false;
    LabelledFeatures features = data.on(*single, 16);
    features.row = [&](std::int64_t sample) {
      if (broken && sample == 30) {
        throw IoError("features.h5 is gone");
      }
      return data.row(sample);
    };
    LogisticFit fit(*single, pool, {}, features);
    fit.step();
    broken = true;
    EXPECT_EQ(test::message_of<IoError>([&] { fit.step(); }), "features.h5 is gone");
    broken = false;
    while (fit.step()) {
    }
    EXPECT_EQ(fit.model(), fit_alone(data, {}).model);
  }
}

}  // namespace
}  // namespace gentrain::trainers
