// When a rank takes itself for stuck: the counting rules, with samples made by hand.
#include "comm/idle_clock.h"

#include <gtest/gtest.h>

namespace gentrain::comm {
namespace {

constexpr double kLook = 0.25;

/// A process that is sampled every quarter of a second, or as `sample` says.
struct Process {
  IdleClock clock;
  Sample sample{.elapsed = kLook};
  Phase phase = Phase::kComputing;

  /// Seconds until it is stuck; `most` if it is not by then.
  double stuck_after(double most) {
    double wall = 0;
    while (wall < most && clock.stuck() < clock.limit(phase)) {
      wall += sample.elapsed;
      clock.add(sample, phase);
    }
    return wall;
  }
  void finish_something() {
    ++sample.progress;
    clock.add(sample, phase);
  }
};

TEST(IdleClock, SleepingThreadsAreStuckAfterSevenSeconds) {
  Process process;
  EXPECT_NEAR(process.stuck_after(60), kStuckSeconds, 1e-9);
}

TEST(IdleClock, AnyProgressBeginsAnew) {
  Process process;
  process.stuck_after(6.5);
  EXPECT_GT(process.clock.stuck(), 6);
  process.finish_something();
  EXPECT_EQ(process.clock.stuck(), 0);
  EXPECT_EQ(process.clock.idle(), 0);
}

TEST(IdleClock, AStoppedProcessSawHalfASecond) {
  Process process;
  process.sample.elapsed = 100;
  process.clock.add(process.sample, process.phase);
  EXPECT_EQ(process.clock.stuck(), kMostPerSample);
  EXPECT_EQ(process.clock.idle(), kMostPerSample);
}

TEST(IdleClock, AnEndlessLoopIsStuckAStarvedProcessIsNot) {
  Process loop;
  loop.sample.others_run = true;
  loop.sample.cpu = kLook;
  EXPECT_NEAR(loop.stuck_after(60), kStuckSeconds, 1e-9);
  Process shares;
  shares.sample.others_run = true;
  shares.sample.cpu = kLook / 2;
  EXPECT_NEAR(shares.stuck_after(60), kStuckSeconds, 1e-9);
  Process starved;
  starved.sample.others_run = true;
  starved.sample.cpu = kLook / 16;
  EXPECT_NEAR(starved.stuck_after(100), 8 * kStuckSeconds, 1e-9);
}

TEST(IdleClock, TheThreadThatPollsDoesNotCount) {
  Process process;
  process.sample.main_runs = true;
  process.sample.cpu = 0.01;
  for (int i = 0; i < 20; ++i) {
    ++process.sample.polls;
    process.clock.add(process.sample, process.phase);
  }
  EXPECT_NEAR(process.clock.stuck(), 20 * kLook, 1e-9) << "its workers sleep";
  Process hangs;
  hangs.sample.main_runs = true;
  hangs.sample.cpu = 0.01;
  EXPECT_EQ(hangs.stuck_after(60), 60) << "it computes, starved";
}

TEST(IdleClock, WaitingForOthersIsNotBeingStuck) {
  for (const Phase phase : {Phase::kPreparing, Phase::kExchanging, Phase::kAfterStep,
                            Phase::kEvaluating, Phase::kWriting, Phase::kEnding}) {
    Process process;
    for (int i = 0; i < 400; ++i) {
      ++process.sample.polls;
      process.clock.add(process.sample, phase);
    }
    EXPECT_EQ(process.clock.stuck(), 0);
    EXPECT_TRUE(process.clock.waits());
    EXPECT_NEAR(process.clock.idle(), 400 * kLook, 1e-9);
  }
}

TEST(IdleClock, WhoStopsPollingHasWorkOfItsOwn) {
  Process process;
  process.phase = Phase::kExchanging;
  ++process.sample.polls;
  process.clock.add(process.sample, process.phase);
  EXPECT_TRUE(process.clock.waits());
  EXPECT_NEAR(process.stuck_after(60), kStuckSeconds, 1e-9);
  EXPECT_FALSE(process.clock.waits());
}

TEST(IdleClock, PreparationMayComputeForLongButNotSleep) {
  Process process;
  process.phase = Phase::kPreparing;
  process.sample.others_run = true;
  process.sample.cpu = kLook;
  EXPECT_EQ(process.stuck_after(600), 600);
  process.sample.others_run = false;
  EXPECT_NEAR(process.stuck_after(60), kStuckSeconds, 1e-9);
}

TEST(IdleClock, AFileMayTakeAMinute) {
  Process process;
  process.phase = Phase::kWriting;
  EXPECT_NEAR(process.stuck_after(600), kStuckWritingSeconds, 1e-9);
}

TEST(IdleClock, SoMayAFlushInAnyPhase) {
  Process process;
  process.sample.flushing = true;
  EXPECT_NEAR(process.stuck_after(600), kStuckWritingSeconds, 1e-9);
  process.sample.flushing = false;
  process.clock.add(process.sample, process.phase);
  EXPECT_EQ(process.clock.limit(process.phase), kStuckSeconds);
}

TEST(IdleClock, BlockedOutputIsSomebodyElse) {
  Process process;
  process.sample.output_blocks = true;
  EXPECT_EQ(process.stuck_after(600), 600);
  EXPECT_EQ(process.clock.last(), 0);
}

TEST(IdleClock, LongPausesSoFarRaiseTheLimit) {
  Process process;
  process.stuck_after(5);
  process.finish_something();
  EXPECT_NEAR(process.clock.limit(Phase::kComputing), kPauses * 5, 1e-9);
  EXPECT_NEAR(process.stuck_after(60), kPauses * 5, 1e-9);
}

TEST(IdleClock, PausesOfPreparationDoNot) {
  Process process;
  process.phase = Phase::kPreparing;
  process.stuck_after(6);
  process.finish_something();
  EXPECT_EQ(process.clock.limit(Phase::kComputing), kStuckSeconds);
}

}  // namespace
}  // namespace gentrain::comm
