// The worker pool: every worker runs once a round, errors come out of finish(), rounds can follow
// one another, with the caller as worker 0 or free.
#include "trainers/worker_pool.h"

#include <atomic>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/few_threads.h"

namespace gentrain::trainers {
namespace {

using test::message_of;

class WorkerPoolTest : public ::testing::TestWithParam<std::tuple<int, bool>> {
 protected:
  [[nodiscard]] int workers() const { return std::get<0>(GetParam()); }
  [[nodiscard]] bool caller_works() const { return std::get<1>(GetParam()); }
};

TEST_P(WorkerPoolTest, DoesAllWorkRoundAfterRound) {
  WorkerPool pool(workers(), caller_works());
  EXPECT_EQ(pool.workers(), workers());
  constexpr int kItems = 37;
  for (int round = 1; round <= 200; ++round) {
    std::vector<std::atomic<int>> done(kItems);
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(workers()));
    std::atomic<int> next{0};
    pool.run([&](int worker) {
      calls[static_cast<std::size_t>(worker)].fetch_add(1);
      for (int i = next.fetch_add(1); i < kItems; i = next.fetch_add(1)) {
        done[static_cast<std::size_t>(i)].fetch_add(1);
      }
    });
    for (const auto& count : done) {
      ASSERT_EQ(count.load(), 1);
    }
    for (const auto& count : calls) {
      ASSERT_EQ(count.load(), 1);
    }
  }
}

TEST_P(WorkerPoolTest, SoonIdleTellsWorkFromNone) {
  WorkerPool pool(workers(), caller_works());
  EXPECT_TRUE(pool.soon_idle());
  std::atomic<bool> end{caller_works() && workers() == 1};
  const std::function<void(int)> until_end = [&](int worker) {
    while (!end.load() && !(caller_works() && worker == 0)) {
      std::this_thread::yield();
    }
  };
  pool.start(until_end);
  EXPECT_EQ(pool.soon_idle(), end.load());
  end.store(true);
  pool.finish();
  EXPECT_TRUE(pool.soon_idle());
}

TEST_P(WorkerPoolTest, CallerIsWorkerZeroOnlyIfItWorks) {
  WorkerPool pool(workers(), caller_works());
  std::vector<std::thread::id> ids(static_cast<std::size_t>(workers()));
  pool.run([&](int worker) { ids[static_cast<std::size_t>(worker)] = std::this_thread::get_id(); });
  for (int worker = 0; worker < workers(); ++worker) {
    EXPECT_EQ(ids[static_cast<std::size_t>(worker)] == std::this_thread::get_id(),
              caller_works() && worker == 0)
        << "worker " << worker;
  }
  EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), ids.size());
}

TEST_P(WorkerPoolTest, RethrowsAndGoesOn) {
  WorkerPool pool(workers(), caller_works());
  const std::function<void(int)> fail = [&](int worker) {
    if (worker == workers() - 1) {
      throw IoError("the last worker has an error");
    }
  };
  const std::function<void(int)> fine = [](int) {};
  for (int round = 0; round < 20; ++round) {
    pool.start(fail);
    EXPECT_EQ(message_of<IoError>([&] { pool.finish(); }), "the last worker has an error");
    EXPECT_TRUE(pool.failed());
    pool.start(fine);
    EXPECT_NO_THROW(pool.finish());
    EXPECT_FALSE(pool.failed());
  }
}

TEST_P(WorkerPoolTest, OneErrorOfManyComesOut) {
  WorkerPool pool(workers(), caller_works());
  EXPECT_EQ(message_of<JobError>([&] { pool.run([](int) { throw JobError("all fail"); }); }),
            "all fail");
}

TEST_P(WorkerPoolTest, CancelWaitsForWorkersThatStopAtTheirNextItem) {
  WorkerPool pool(workers(), caller_works());
  std::atomic<int> inside{0};
  const std::function<void(int)> work = [&](int worker) {
    if (caller_works() && worker == 0) {
      return;  // it would never come back to cancel
    }
    inside.fetch_add(1);
    while (!pool.failed()) {
      std::this_thread::yield();
    }
    inside.fetch_sub(1);
  };
  pool.start(work);
  pool.cancel();
  EXPECT_EQ(inside.load(), 0);
}

TEST(WorkerPool, NamesThreadsThatCannotBeStarted) {
  if (!test::kCanLimitThreads) {
    GTEST_SKIP() << "not under a sanitizer";
  }
  const test::FewThreads some(true);
  const std::string message = message_of<DeviceError>([] { const WorkerPool pool(8, false); });
  EXPECT_EQ(message.find("8 workers were asked for, but after "), 0U) << message;
  EXPECT_EQ(message.find("after 0 threads"), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(Counts, WorkerPoolTest,
                         ::testing::Combine(::testing::Values(1, 2, 3, 8), ::testing::Bool()));

}  // namespace
}  // namespace gentrain::trainers
