// Signs of life: tables that go round a ring of ranks, and the words for what a rank does.
#include "comm/signs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gentrain::comm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Three ranks that send each other their tables, rank r to rank r + 1.
class SignRound : public ::testing::Test {
 protected:
  static constexpr int kRanks = 3;
  void send(int from) {
    tables_[(from + 1) % kRanks].merge(Neighbour::kPrevious, tables_[from].bytes());
  }
  void pass(double seconds) {
    for (SignTable& table : tables_) {
      table.pass(seconds);
    }
  }

  SignTable tables_[kRanks] = {{kRanks, 0}, {kRanks, 1}, {kRanks, 2}};
};

TEST_F(SignRound, EveryRankHearsOfAllOthers) {
  tables_[0].set_own({.progress = 7, .step = 12, .bucket = 3, .phase = 2});
  send(0);
  send(1);
  EXPECT_EQ(tables_[2].sign(0).step, 12);
  EXPECT_EQ(tables_[2].sign(0).bucket, 3);
  EXPECT_EQ(tables_[2].sign(0).phase, 2);
  EXPECT_EQ(tables_[2].sign(1).beat, 0U) << "rank 1 has said nothing";
}

TEST_F(SignRound, OldNewsDoNotReplaceNewOnes) {
  tables_[0].set_own({.progress = 1, .step = 1});
  send(0);
  send(1);
  tables_[0].set_own({.progress = 2, .step = 2});
  send(2);  // what rank 2 knows of rank 0 is old
  EXPECT_EQ(tables_[0].sign(0).step, 2);
}

TEST_F(SignRound, IdleIsSinceTheLastProgressThatWasHeardOf) {
  tables_[0].set_own({.progress = 1});
  send(0);
  pass(4);
  tables_[0].set_own({.progress = 1});  // alive but no further
  send(0);
  EXPECT_EQ(tables_[1].silence(Neighbour::kPrevious), 0);
  EXPECT_EQ(tables_[1].idle(0), 4);
  EXPECT_EQ(tables_[0].idle(0), 4);
  tables_[0].set_own({.progress = 2});
  send(0);
  EXPECT_EQ(tables_[1].idle(0), 0);
  EXPECT_EQ(tables_[1].idle(2), 4);
  EXPECT_EQ(tables_[1].least_idle(), 0);
  EXPECT_EQ(tables_[2].least_idle(), 4);
}

TEST_F(SignRound, SilenceIsOfEachNeighbour) {
  pass(5);
  send(0);
  tables_[2].merge(Neighbour::kNext, tables_[0].bytes());
  pass(3);
  EXPECT_EQ(tables_[1].silence(Neighbour::kPrevious), 3);
  EXPECT_EQ(tables_[1].silence(Neighbour::kNext), 8);
  EXPECT_EQ(tables_[2].silence(Neighbour::kPrevious), 8);
  EXPECT_EQ(tables_[2].silence(Neighbour::kNext), 3);
}

TEST_F(SignRound, SilenceIsNotCountedWhereNothingCanBeHeard) {
  pass(3);
  tables_[1].pass(4, false);
  EXPECT_EQ(tables_[1].silence(Neighbour::kPrevious), 3);
  EXPECT_EQ(tables_[1].idle(0), 7);
}

TEST_F(SignRound, OneRankAtTheDiskIsKnownToAll) {
  EXPECT_FALSE(tables_[2].any_at_disk());
  tables_[0].set_own({.at_disk = 1});
  send(0);
  send(1);
  EXPECT_TRUE(tables_[2].any_at_disk());
}

TEST(Silence, OfAStoppedRankIsCalledBeforeThatOfOneThatRuns) {
  EXPECT_EQ(silent_after(Neighbour::kPrevious, false), 8);
  EXPECT_LT(silent_after(Neighbour::kNext, false), silent_after(Neighbour::kPrevious, true))
      << "the next rank's sign of a stopped one must come before a wrong name";
  EXPECT_LT(silent_after(Neighbour::kNext, true), 10);
}

TEST_F(SignRound, BehindAreThoseThatHaveNotComeToTheSameOperation) {
  tables_[0].set_own({.collectives = 5});
  tables_[1].set_own({.collectives = 4});
  tables_[2].set_own({.collectives = 6});
  send(1);
  send(2);
  send(0);
  EXPECT_THAT(tables_[0].behind(), ElementsAre(1));
  EXPECT_THAT(tables_[1].behind(), IsEmpty());
}

TEST(Activity, PhaseOfAScopeEndsWithIt) {
  Activity activity;
  activity.enter(Phase::kAfterStep);
  {
    const PhaseScope scope(activity, Phase::kEvaluating);
    EXPECT_EQ(activity.phase(), Phase::kEvaluating);
  }
  EXPECT_EQ(activity.phase(), Phase::kAfterStep);
}

TEST(Activity, WordsGoToTheLogThatIsSet) {
  Activity activity;
  activity.log("nobody hears", true);
  std::string heard;
  activity.set_log(
      [&heard](const std::string& words, bool ends) { heard += words + (ends ? "!" : "."); });
  activity.log("slow", false);
  activity.log("stuck", true);
  activity.set_log({});
  activity.log("nobody hears", true);
  EXPECT_EQ(heard, "slow.stuck!");
}

TEST(Activity, Words) {
  EXPECT_EQ(describe(Phase::kPreparing, 0, 0), "preparation");
  EXPECT_EQ(describe(Phase::kComputing, 12, 3), "step 12, computing");
  EXPECT_EQ(describe(Phase::kExchanging, 12, 3), "step 12, exchanging bucket 3");
  EXPECT_EQ(describe(Phase::kAfterStep, 12, 3), "step 12, after its exchange");
  EXPECT_EQ(describe(Phase::kEvaluating, 12, 3), "step 12, evaluation");
  EXPECT_EQ(describe(Phase::kWriting, 12, 3), "step 12, writing a file");
  EXPECT_EQ(describe(Phase::kEnding, 12, 3), "the run's end");
}

}  // namespace
}  // namespace gentrain::comm
