// The watchdog of a lone process, what a process sees of itself, and the limit on MPI's start and
// end. Jobs of several ranks: tests/tools/watchdog_test.py.
#include "comm/watchdog.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/mpi/mpi_process.h"
#include "comm/process_sampler.h"
#include "kernels/progress.h"

namespace gentrain::comm {
namespace {

using std::chrono::milliseconds;

TEST(Watchdog, EndsWithItsScopeAndWithAnException) {
  const auto single = make_single();
  {
    const Watchdog watchdog(*single);
    std::this_thread::sleep_for(milliseconds(600));
  }
  EXPECT_EQ(single->activity().phase(), Phase::kEnding);
  single->activity().enter(Phase::kAfterStep);
  EXPECT_THROW(
      {
        const Watchdog watchdog(*single);
        throw std::runtime_error("something else");
      },
      std::runtime_error);
  EXPECT_EQ(single->activity().phase(), Phase::kAfterStep) << "nobody waits for other ranks";
}

/// A sample of what `work` does meanwhile.
Sample sample_beside(ProcessSampler& sampler, const std::function<void()>& work) {
  Sample sample;
  std::jthread looker([&] {
    std::this_thread::sleep_for(milliseconds(100));
    sample = sampler.take(0, 3);
  });
  work();
  return looker.join(), sample;
}

TEST(ProcessSampler, TellsSleepFromWork) {
  ProcessSampler sampler;
  const Sample asleep =
      sample_beside(sampler, [] { std::this_thread::sleep_for(milliseconds(300)); });
  EXPECT_FALSE(asleep.main_runs);
  EXPECT_FALSE(asleep.others_run);
  EXPECT_GE(asleep.elapsed, 0.1);
  EXPECT_EQ(asleep.polls, 3U);
  const Sample busy = sample_beside(sampler, [] {
    const auto end = std::chrono::steady_clock::now() + milliseconds(300);
    while (std::chrono::steady_clock::now() < end) {
    }
  });
  EXPECT_TRUE(busy.main_runs);
  EXPECT_FALSE(busy.others_run);
  EXPECT_GT(busy.cpu, asleep.cpu);
  std::atomic<bool> stop{false};
  const std::jthread other([&stop] {
    while (!stop) {
    }
  });
  const Sample helped =
      sample_beside(sampler, [] { std::this_thread::sleep_for(milliseconds(300)); });
  stop = true;
  EXPECT_FALSE(helped.main_runs);
  EXPECT_TRUE(helped.others_run);
}

TEST(ProcessSampler, SeesAFlushAndItsEnd) {
  ProcessSampler sampler;
  const std::uint64_t before = progress::finished();
  {
    const progress::Flush flush;
    EXPECT_TRUE(sampler.take(0, 0).flushing);
  }
  EXPECT_FALSE(sampler.take(0, 0).flushing);
  EXPECT_EQ(progress::finished(), before + 1);
}

TEST(ProcessSampler, SeesThatNobodyReadsTheOutput) {
  int ends[2] = {};
  ASSERT_EQ(pipe(ends), 0);
  const int kept = dup(STDOUT_FILENO);
  std::fflush(stdout);
  dup2(ends[1], STDOUT_FILENO);
  ProcessSampler sampler;
  const bool empty = sampler.take(0, 0).output_blocks;
  std::vector<char> page(4096);
  for (int i = 0; i < 16; ++i) {  // a pipe holds 64 KiB
    EXPECT_EQ(write(ends[1], page.data(), page.size()), 4096);
  }
  const bool full = sampler.take(0, 0).output_blocks;
  const bool with_progress = sampler.take(1, 0).output_blocks;
  dup2(kept, STDOUT_FILENO);
  close(kept);
  close(ends[0]);
  close(ends[1]);
  EXPECT_FALSE(empty);
  EXPECT_TRUE(full);
  EXPECT_FALSE(with_progress) << "not looked at";
}

TEST(TimeLimitDeathTest, EndsTheProcessWithWords) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const TimeLimit limit("MPI_Finalize", 0.5, kRankTroubleCode);
        std::this_thread::sleep_for(std::chrono::seconds(20));
      },
      testing::ExitedWithCode(kRankTroubleCode),
      "gentrain: .+:[0-9]+: MPI_Finalize has not ended after 0.5 s: another rank is dead or "
      "stopped");
}

TEST(StopGuardDeathTest, KillsAStoppedProcessWithWords) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const StopGuard guard("MPI_Finalize", 1);
        kill(getpid(), SIGSTOP);
      },
      testing::KilledBySignal(SIGKILL),
      "gentrain: .+:[0-9]+: was stopped for 1 s in MPI_Finalize: it is killed");
}

TEST(StopGuard, LeavesAProcessAloneThatIsOnlySlowAndLeavesNobodyBehind) {
  {
    const StopGuard guard("MPI_Finalize", 0);
    std::this_thread::sleep_for(milliseconds(600));
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "no child is left";
}

TEST(TimeLimit, DoesNothingInTime) {
  const TimeLimit limit("MPI_Finalize", 0.5, kRankTroubleCode);
}

}  // namespace
}  // namespace gentrain::comm
