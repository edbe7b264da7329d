// Logistic regression over MPI: each rank has the features of its own samples alone, and ends with
// the bytes that a rank by itself has; other shards are the twin that shows what is compared.
#include <gtest/gtest.h>

#include "tests/comm/mpi_main.h"
#include "tests/support/compare.h"
#include "tests/trainers/logistic_problem.h"

namespace gentrain::trainers {
namespace {

using test::communicator;

TEST(LogisticOverMpi, HasTheBytesOfOneRank) {
  for (const int classes : {2, 4}) {
    const LogisticProblem data(150, 37, classes, 11);
    const LogisticResult alone = fit_alone(data, {});
    EXPECT_EQ(alone.iterations, 20);
    for (const int workers : {1, 2}) {
      const LogisticResult together = fit_on(communicator(), data, {}, workers);
      EXPECT_EQ(together.model, alone.model) << classes << " classes, " << workers << " workers";
      EXPECT_EQ(together.history, alone.history);
    }
    LogisticOptions other;
    other.shards = 12;
    EXPECT_NE(fit_on(communicator(), data, other, 1).model, alone.model);
  }
}

TEST(LogisticOverMpi, AllRanksTellOfTheSameBadFeature) {
  LogisticProblem data(50, 6, 2, 1);
  data.x[40 * 6 + 2] = INFINITY;
  EXPECT_EQ(test::message_of<NumericError>([&] { fit_on(communicator(), data, {}, 1); }),
            "logistic regression: feature 2 of sample 40 is inf: finite numbers are needed");
}

}  // namespace
}  // namespace gentrain::trainers

int main(int argc, char** argv) {
  return gentrain::test::run_mpi_tests(argc, argv);
}
