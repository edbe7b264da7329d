// The watchdog of a lone process, what a process sees of itself, and the limit on MPI's start and
// end. Jobs of several ranks: tests/tools/watchdog_test.py.
#include "comm/watchdog.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/mpi/mpi_process.h"
#include "comm/process_sampler.h"
#include "comm/signs.h"
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

/// A rank in which another thread hangs in MPI: signs go nowhere.
class DeafRing final : public SignRing {
 public:
  void send(std::span<const std::byte> /*signs*/) override {}
  bool receive(Neighbour /*from*/, std::span<std::byte> /*signs*/) override { return false; }
  [[nodiscard]] bool hears() const override { return false; }
  [[nodiscard]] std::uint64_t polls() const override { return 0; }
  [[nodiscard]] std::uint64_t collectives() const override { return 0; }
  std::vector<int> missing() override { return {}; }
};

/// Rank 1 of two; rank 0 is another process of this host.
class DeafCommunicator final : public Communicator {
 public:
  explicit DeafCommunicator(pid_t other) : other_(other) {}
  [[nodiscard]] int rank() const override { return 1; }
  [[nodiscard]] int size() const override { return 2; }
  [[nodiscard]] std::string where() const override { return host_and_process(); }
  [[nodiscard]] int ranks_on_host() const override { return 2; }
  std::vector<std::string> all_gather_text(const std::string& text) override {
    return {text.substr(0, text.rfind(':') + 1) + std::to_string(other_), text};
  }
  std::unique_ptr<SignRing> sign_ring(std::size_t /*bytes*/) override {
    return std::make_unique<DeafRing>();
  }
  std::unique_ptr<Transfer> all_to_all(std::span<const std::vector<ConstBytes>> /*send*/,
                                       std::span<const std::vector<Bytes>> /*receive*/,
                                       int /*tag*/) override {
    return nullptr;
  }
  std::unique_ptr<Transfer> all_gather(std::span<const Bytes> /*parts*/, int /*tag*/) override {
    return nullptr;
  }
  std::unique_ptr<Transfer> reduce_scatter(std::span<const std::span<float>> /*parts*/,
                                           int /*tag*/) override {
    return nullptr;
  }
  void broadcast(Bytes /*data*/, int /*root*/) override {}
  void barrier() override {}
  [[noreturn]] void abort(int /*exit_code*/) noexcept override { ::_exit(1); }

 private:
  pid_t other_;
};

/// Watches for ten seconds beside a process that gets `number` at once.
void watch_deaf_beside(int number) {
  const pid_t other = fork();
  if (other == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // it holds the test's pipe
    raise(number);
    pause();
  }
  DeafCommunicator communicator(other);
  const Watchdog watchdog(communicator);
  for (int i = 0; i < 100; ++i) {
    std::this_thread::sleep_for(milliseconds(100));
    progress::tick();
  }
  std::fprintf(stderr, "nobody was blamed");
  kill(other, SIGKILL);
  ::_exit(0);
}

TEST(WatchdogDeathTest, ARankThatHangsInMpiBlamesTheOneThatWasStopped) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(watch_deaf_beside(SIGSTOP), testing::ExitedWithCode(kRankTroubleCode),
              "gentrain: rank 0 .* is silent: it was stopped in the middle of a message; rank 1 .* "
              "has hung in MPI for 5\\.[5-9] s");
  EXPECT_EXIT(watch_deaf_beside(SIGCONT), testing::ExitedWithCode(0), "nobody was blamed");
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

TEST(Progress, OfTheBackgroundIsCountedByItself) {
  const std::uint64_t before = progress::finished();
  const std::uint64_t behind = progress::finished_in_background();
  std::jthread([] {
    const progress::Background background;
    progress::tick();
  }).join();
  EXPECT_EQ(progress::finished(), before);
  EXPECT_EQ(progress::finished_in_background(), behind + 1);
  progress::tick();
  EXPECT_EQ(progress::finished(), before + 1) << "the other thread's mark is its own";
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
