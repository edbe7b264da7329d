// Folders of shared memory: gone with their object, or found by the next start once the process
// that made them is dead; nobody else's are touched.
#include "comm/leftovers.h"

#include <algorithm>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/communicator.h"

namespace gentrain::comm {
namespace {

namespace fs = std::filesystem;

class Leftovers : public ::testing::Test {
 protected:
  void SetUp() override {
    parent_ = fs::path(testing::TempDir()) / ("leftovers." + std::to_string(getpid()));
    fs::remove_all(parent_);
    fs::create_directories(parent_);
  }
  void TearDown() override { fs::remove_all(parent_); }

  [[nodiscard]] std::ptrdiff_t entries() const {
    return std::distance(fs::directory_iterator(parent_), fs::directory_iterator());
  }
  /// A folder with a file, left by a child that was killed; not reaped until `reap`.
  static pid_t leave_by_child(const fs::path& parent) {
    const pid_t child = fork();
    if (child == 0) {
      const SharedMemoryFolder folder(parent);
      std::ofstream(folder.path() / "segment") << "x";
      _exit(0);
    }
    siginfo_t info{};
    waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
    return child;
  }

  fs::path parent_;
};

TEST_F(Leftovers, FolderLivesAsLongAsItsObject) {
  {
    const SharedMemoryFolder folder(parent_);
    EXPECT_TRUE(fs::is_directory(folder.path()));
    EXPECT_EQ(fs::status(folder.path()).permissions(), fs::perms::owner_all);
    std::ofstream(folder.path() / "segment") << "x";
    EXPECT_EQ(remove_leftovers(parent_), 0) << "its process lives";
    EXPECT_TRUE(fs::exists(folder.path() / "segment"));
  }
  EXPECT_EQ(entries(), 0);
}

TEST_F(Leftovers, WhatADeadProcessLeftIsRemoved) {
  const pid_t first = leave_by_child(parent_);
  const pid_t second = leave_by_child(parent_);
  waitpid(second, nullptr, 0);
  EXPECT_EQ(entries(), 2);
  EXPECT_EQ(remove_leftovers(parent_), 2) << "one is reaped, the other is not";
  EXPECT_EQ(entries(), 0);
  waitpid(first, nullptr, 0);
}

TEST_F(Leftovers, AProcessWithoutALauncherRemovesThemToo) {
  if (detect_launcher().present) {
    GTEST_SKIP() << "started by a launcher";
  }
  const pid_t child = leave_by_child("/dev/shm");
  waitpid(child, nullptr, 0);
  const auto is_left = [child] {
    const std::string pid = "." + std::to_string(child) + ".";
    return std::ranges::any_of(fs::directory_iterator("/dev/shm"), [&](const auto& entry) {
      return entry.path().filename().string().find(pid) != std::string::npos;
    });
  };
  EXPECT_TRUE(is_left());
  make_communicator();
  EXPECT_FALSE(is_left());
}

TEST_F(Leftovers, AnotherProcessWithTheSamePidDoesNotKeepIt) {
  fs::path name;
  {
    const SharedMemoryFolder folder(parent_);
    name = folder.path();
  }
  fs::create_directory(name.string() + "1");  // this pid, another start
  EXPECT_EQ(remove_leftovers(parent_), 1);
  EXPECT_EQ(entries(), 0);
}

TEST_F(Leftovers, NamesOfOthersAreLeftAlone) {
  fs::path name;
  {
    const SharedMemoryFolder folder(parent_);
    name = folder.path();
  }
  const std::string uid = std::to_string(getuid());
  for (const std::string& other :
       {"gentrain." + uid + "9.1.2.3", "gentrain." + uid + ".1.2.3", std::string("vader_segment.h"),
        name.filename().string() + "x", name.filename().string() + ".7"}) {
    fs::create_directory(parent_ / other);
  }
  EXPECT_EQ(remove_leftovers(parent_), 0);
  EXPECT_EQ(entries(), 5);
}

TEST_F(Leftovers, NoFolderWhereNoneCanBeMade) {
  const SharedMemoryFolder folder(parent_ / "missing");
  EXPECT_TRUE(folder.path().empty());
  EXPECT_EQ(remove_leftovers(parent_ / "missing"), 0);
}

}  // namespace
}  // namespace gentrain::comm
