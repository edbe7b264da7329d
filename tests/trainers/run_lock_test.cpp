// The lock of an output folder: one owner, who finds out when it is lost. And the checks before the
// first step that need it.
#include "trainers/run_lock.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/communicator.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/local_ranks.h"
#include "tests/trainers/small_runs.h"
#include "trainers/preflight.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using test::message_of;

constexpr std::int64_t kMib = 1 << 20;

class RunLockTest : public ::testing::Test {
 protected:
  RunLockTest() { fs::create_directories(folder_); }
  ~RunLockTest() override { fs::remove_all(folder_); }
  RunLockTest(const RunLockTest&) = delete;
  RunLockTest& operator=(const RunLockTest&) = delete;

  void write_owner(const std::string& text) const { std::ofstream(folder_ / "lock.json") << text; }

  fs::path folder_ = fs::temp_directory_path() / ("gentrain_lock_" + std::to_string(getpid()));
};

TEST_F(RunLockTest, IsGivenBackAndAnotherRunTakesItWithAnotherId) {
  std::string first;
  {
    const RunLock lock(folder_);
    first = lock.id();
    EXPECT_EQ(first.size(), 32U);
    EXPECT_EQ(RunLock::owner(folder_), first);
    EXPECT_NO_THROW(RunLock::require(folder_, first));
  }
  EXPECT_FALSE(RunLock::owner(folder_));
  EXPECT_TRUE(fs::is_empty(folder_));
  const RunLock lock(folder_);
  EXPECT_NE(lock.id(), first);
}

TEST_F(RunLockTest, ALockThatCannotBeReadIsNotGone) {
  const RunLock lock(folder_);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const std::string message = message_of<IoError>([&] { RunLock::require(folder_, lock.id()); });
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(message, (folder_ / "lock.json").string() + ": open failed: Too many open files");
}

TEST_F(RunLockTest, ASecondWriterIsRefusedAndToldWhoTheFirstIs) {
  const RunLock lock(folder_);
  EXPECT_THAT(
      message_of<IoError>([&] { RunLock second(folder_, milliseconds(10)); }),
      ::testing::AllOf(::testing::StartsWith("the output folder " + folder_.string() +
                                             " is being written to by another run (" +
                                             comm::host_and_process() + ", since "),
                       ::testing::EndsWith("): wait for it, end it, or write elsewhere with --set "
                                           "output=FOLDER")));
  EXPECT_EQ(RunLock::owner(folder_), lock.id());
}

TEST_F(RunLockTest, AnOwnerThatDiedIsFollowedAtOnce) {
  const pid_t child = fork();
  if (child == 0) {
    const RunLock lock(folder_);
    _exit(0);  // as a kill: nothing is given back
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(RunLock::owner(folder_));
  const auto before = std::chrono::steady_clock::now();
  const RunLock lock(folder_);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(2));
  EXPECT_EQ(RunLock::owner(folder_), lock.id());
}

TEST_F(RunLockTest, AnOwnerOnAnotherHostCountsWhileItShowsLife) {
  write_owner(R"({"run": "abc", "where": "node9:77", "since": "noon"})");
  std::jthread alive([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      fs::last_write_time(folder_ / "lock.json", fs::file_time_type::clock::now());
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  EXPECT_THAT(
      message_of<IoError>([&] { RunLock mine(folder_, milliseconds(10), milliseconds(500)); }),
      ::testing::HasSubstr("by another run (node9:77, since noon)"));
  alive.request_stop();
  alive.join();
  const RunLock mine(folder_, milliseconds(10), milliseconds(100));
  EXPECT_EQ(RunLock::owner(folder_), mine.id());
}

TEST_F(RunLockTest, TheLoserFindsOutAndLeavesTheOthersLockAlone) {
  {
    const RunLock lock(folder_);
    fs::remove(folder_ / "lock.json");
    EXPECT_EQ(message_of<IoError>([&] { RunLock::require(folder_, lock.id()); }),
              "the lock of " + folder_.string() +
                  " is lost (lock.json is gone): this run writes nothing more there");
    write_owner(R"({"run": "abc", "where": "node9:77"})");
    EXPECT_THAT(message_of<IoError>([&] { RunLock::require(folder_, lock.id()); }),
                ::testing::HasSubstr("(it is node9:77's now)"));
  }
  EXPECT_EQ(RunLock::owner(folder_), "abc");
}

TEST_F(RunLockTest, AFolderThatIsNotThere) {
  EXPECT_EQ(message_of<IoError>([&] { RunLock lock(folder_ / "no"); }),
            "the output folder " + (folder_ / "no").string() +
                " cannot be written to: No such file or directory");
}

TEST_F(RunLockTest, ARankThatDoesNotSeeTheFolderIsNamed) {
  const RunLock lock(folder_);
  fs::create_directories(folder_ / "mine");
  run_ranks(3, [&](comm::Communicator& communicator) {
    EXPECT_NO_THROW(check_output_is_shared(communicator, folder_, lock.id()));
    const fs::path seen = communicator.rank() == 2 ? folder_ / "mine" : folder_;
    EXPECT_EQ(message_of<CommError>([&] { check_output_is_shared(communicator, seen, lock.id()); }),
              "rank 2 (local:2) does not see the output folder " + seen.string() +
                  " that rank 0 writes to: all hosts must share it, so set `output` to a folder on "
                  "a shared file system");
  });
}

TEST_F(RunLockTest, RoomForTwoCheckpointsIsNeeded) {
  EXPECT_NO_THROW(check_space(folder_, 1000));
  EXPECT_THAT(message_of<IoError>([&] { check_space(folder_, std::int64_t{1} << 60); }),
              ::testing::AllOf(::testing::StartsWith(folder_.string() + ": "),
                               ::testing::HasSubstr("MiB are free, but two checkpoints take "
                                                    "2199023255552.0 MiB: make room")));
}

TEST_F(RunLockTest, MemoryThatIsNotThere) {
  const auto single = comm::make_single();
  ASSERT_TRUE(available_memory());
  EXPECT_GT(*available_memory(), 0);
  EXPECT_NO_THROW(check_memory(*single, 1000, available_memory()));
  const std::string where = single->where();
  EXPECT_THAT(message_of<DeviceError>(
                  [&] { check_memory(*single, std::int64_t{1} << 60, available_memory()); }),
              ::testing::StartsWith("there is not enough memory: 1 rank on host " +
                                    where.substr(0, where.rfind(':')) +
                                    " needs at least 1099511627776 MiB, "));
}

// Rank 0 alone has a checkpoint to write.
TEST_F(RunLockTest, RanksOfAHostTogetherNeedItsMemory) {
  run_ranks(3, [&](comm::Communicator& communicator) {
    const std::int64_t bytes = (communicator.rank() == 0 ? 400 : 100) * kMib;
    EXPECT_NO_THROW(check_memory(communicator, bytes, 600 * kMib)) << "less than 3 x 400";
    EXPECT_NO_THROW(check_memory(communicator, bytes, std::nullopt));
    const std::string message =
        "there is not enough memory: 3 ranks on host local need at least 600 MiB, 599 MiB are "
        "free: start fewer ranks a host, or see `gentrain check JOB`";
    EXPECT_EQ(message_of<DeviceError>([&] { check_memory(communicator, bytes, 599 * kMib); }),
              message);
    // What one rank sees, all tell.
    const auto seen =
        communicator.rank() == 2 ? std::nullopt : std::optional(599 * kMib + communicator.rank());
    EXPECT_EQ(message_of<DeviceError>([&] { check_memory(communicator, bytes, seen); }), message);
  });
}

TEST_F(RunLockTest, EveryHostNeedsItsOwnMemory) {
  std::vector<MemoryNeed> ranks = {{"a", 300 * kMib, 700 * kMib},
                                   {"b", 300 * kMib, 600 * kMib},
                                   {"a", 400 * kMib, 700 * kMib},
                                   {"b", 300 * kMib, 600 * kMib}};
  EXPECT_NO_THROW(check_memory(ranks));
  ranks[3].bytes += kMib;
  EXPECT_THAT(message_of<DeviceError>([&] { check_memory(ranks); }),
              ::testing::HasSubstr("2 ranks on host b need at least 601 MiB, 600 MiB are free"));
}

/// A tree with what the kernel says of memory: the host's, and that of two control groups.
class MemoryOfGroups : public RunLockTest {
 protected:
  MemoryOfGroups() {
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n");
    write("proc/self/cgroup", "0::/outer/inner\n");
  }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }
  void group(const std::string& name, std::int64_t most, std::int64_t used,
             std::int64_t cached) const {
    const std::string at = "sys/fs/cgroup/" + name;
    write(at + "/memory.max", std::to_string(most));
    write(at + "/memory.current", std::to_string(used));
    write(at + "/memory.stat", "anon 7\nfile 99\nactive_file " + std::to_string(cached / 2) +
                                   "\ninactive_file " + std::to_string(cached - cached / 2) + "\n");
  }
};

TEST_F(MemoryOfGroups, WithoutLimitsItIsTheHosts) {
  EXPECT_EQ(available_memory(folder_), 8000 * 1024);
  write("sys/fs/cgroup/outer/memory.max", "max\n");
  EXPECT_EQ(available_memory(folder_), 8000 * 1024);
}

TEST_F(MemoryOfGroups, EveryGroupAboveLimitsAndItsPageCacheIsFree) {
  group("outer/inner", 5000, 3000, 1000);
  EXPECT_EQ(available_memory(folder_), 3000);
  group("outer", 4000, 3900, 500);
  EXPECT_EQ(available_memory(folder_), 600);
}

}  // namespace
}  // namespace gentrain::trainers
