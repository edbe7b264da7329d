// The cache: made once by one of many, whole or not at all, whoever dies meanwhile.
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/io/cache.h"
#include "kernels/error.h"

namespace gentrain::io {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::ThrowsMessage;

const std::string kKey(64, 'a');
const std::string kOther(64, '3');

void write(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}
std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class CacheTest : public testing::Test {
 protected:
  CacheTest() = default;
  ~CacheTest() override { fs::remove_all(folder_.parent_path()); }
  CacheTest(const CacheTest&) = delete;
  CacheTest& operator=(const CacheTest&) = delete;

  /// All names in the folder.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      found.push_back(entry.path().filename());
    }
    return found;
  }

  fs::path folder_ = fs::temp_directory_path() / fmt::format("gentrain-cache-{}", getpid()) / "c";
  Cache cache_{folder_};
};

TEST_F(CacheTest, FindingMakesNothing) {
  EXPECT_EQ(cache_.find(kKey), std::nullopt);
  EXPECT_FALSE(fs::exists(folder_));
  const fs::path file = cache_.get(kKey, [](const fs::path& made) { write(made, "content"); });
  EXPECT_EQ(cache_.find(kKey), file);
  EXPECT_EQ(cache_.find(kOther), std::nullopt);
  EXPECT_THAT([&] { static_cast<void>(cache_.find("../x")); },
              ThrowsMessage<ShapeError>("cache: '../x' is no key: 64 digits of hex are"));
}

TEST_F(CacheTest, AnEntryIsMadeOnce) {
  EXPECT_THAT(cache_.entries(), IsEmpty());
  EXPECT_FALSE(fs::exists(folder_));
  int made = 0;
  const auto make = [&](const fs::path& file) {
    ++made;
    EXPECT_THAT(cache_.entries(), IsEmpty());
    write(file, "content");
  };
  EXPECT_EQ(text_of(cache_.get(kKey, make)), "content");
  EXPECT_EQ(cache_.get(kKey, make), folder_ / kKey);
  EXPECT_EQ(made, 1);
  EXPECT_THAT(names(), ElementsAre(kKey));
  EXPECT_THAT([&] { static_cast<void>(cache_.get("../x", make)); },
              ThrowsMessage<ShapeError>("cache: '../x' is no key: 64 digits of hex are"));
}

TEST_F(CacheTest, OneMakesAndTheOthersWait) {
  std::atomic<int> made{0};
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const fs::path file = cache_.get(kKey, [&](const fs::path& path) {
        ++made;
        write(path, "half");
        std::this_thread::sleep_for(50ms);
        write(path, "whole");
      });
      right += text_of(file) == "whole" ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(made, 1);
  EXPECT_EQ(right, 8);
}

TEST_F(CacheTest, WhoeverWaitsIsToldOnce) {
  std::atomic<int> told{0};
  std::thread other;
  static_cast<void>(cache_.get(kKey, [&](const fs::path& path) {
    other = std::thread([&] {
      static_cast<void>(cache_.get(
          kKey, [](const fs::path& /*path*/) {}, [&] { ++told; }));
    });
    for (int i = 0; told == 0 && i < 1000; ++i) {
      std::this_thread::sleep_for(10ms);
    }
    std::this_thread::sleep_for(100ms);  // several looks of the waiting one
    write(path, "made");
  }));
  other.join();
  EXPECT_EQ(told, 1);
}

TEST_F(CacheTest, AFailedMakerLeavesNothing) {
  EXPECT_THAT(
      [&] {
        static_cast<void>(cache_.get(kKey, [](const fs::path& path) {
          write(path, "half");
          throw IoError("no more");
        }));
      },
      ThrowsMessage<IoError>("no more"));
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_THAT([&] { static_cast<void>(cache_.get(kKey, [](const fs::path&) {})); },
              ThrowsMessage<IoError>(HasSubstr(kKey + ".tmp")));  // it made no file
  EXPECT_EQ(text_of(cache_.get(kKey, [](const fs::path& path) { write(path, "x"); })), "x");
}

// A process that dies in the middle: its lock goes with it, its half file is nobody's.
TEST_F(CacheTest, ADeadMakerIsFollowedByTheNext) {
  const pid_t child = fork();
  if (child == 0) {
    static_cast<void>(cache_.get(kKey, [](const fs::path& path) {
      write(path, "half");
      _exit(7);
    }));
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(WEXITSTATUS(status), 7);
  EXPECT_THAT(names(), testing::UnorderedElementsAre(kKey + ".lock", kKey + ".tmp"));
  EXPECT_THAT(cache_.entries(), IsEmpty());
  EXPECT_EQ(text_of(cache_.get(kKey, [](const fs::path& path) { write(path, "whole"); })), "whole");
  EXPECT_THAT(names(), ElementsAre(kKey));
}

TEST_F(CacheTest, ListsAndClears) {
  static_cast<void>(cache_.get(kKey, [](const fs::path& path) { write(path, "12345"); }));
  static_cast<void>(cache_.get(kOther, [](const fs::path& path) { write(path, "1"); }));
  write(folder_ / "notes.txt", "not an entry");
  const std::vector<Cache::Entry> entries = cache_.entries();
  ASSERT_THAT(entries, SizeIs(2));
  EXPECT_EQ(entries[0].key, kOther);
  EXPECT_EQ(entries[1].bytes, 5);
  write(folder_ / (std::string(64, 'b') + ".tmp"), "of a dead maker");
  write(folder_ / (std::string(64, 'c') + ".lock"), "");  // of one who died before he wrote
  write(folder_ / "c.lock", "of somebody else");
  EXPECT_THAT(cache_.clear(), SizeIs(2));
  EXPECT_THAT(names(), testing::UnorderedElementsAre("notes.txt", "c.lock"));
  EXPECT_THAT(cache_.clear(), IsEmpty());
}

TEST_F(CacheTest, RemovesOne) {
  EXPECT_FALSE(cache_.remove(kKey)) << "without a folder";
  static_cast<void>(cache_.get(kKey, [](const fs::path& path) { write(path, "12345"); }));
  static_cast<void>(cache_.get(kOther, [](const fs::path& path) { write(path, "1"); }));
  EXPECT_TRUE(cache_.remove(kKey));
  EXPECT_THAT(names(), ElementsAre(kOther));
  EXPECT_FALSE(cache_.remove(kKey));
  EXPECT_THAT([&] { cache_.remove("../x"); },
              ThrowsMessage<ShapeError>("cache: '../x' is no key: 64 digits of hex are"));
  fs::create_directories(folder_ / kKey / "more");
  EXPECT_THAT([&] { cache_.remove(kKey); },
              ThrowsMessage<IoError>((folder_ / kKey).string() +
                                     " cannot be removed: Directory not empty"));
}

TEST_F(CacheTest, ClearingLeavesWhatIsBeingMade) {
  const fs::path file = cache_.get(kKey, [&](const fs::path& path) {
    write(path, "whole");
    EXPECT_THAT(cache_.clear(), IsEmpty());
    EXPECT_THAT(names(), testing::UnorderedElementsAre(kKey + ".lock", kKey + ".tmp"));
  });
  EXPECT_EQ(text_of(file), "whole");
}

// One who has the lock and no file yet, and one who died there.
TEST_F(CacheTest, ClearingLeavesTheLockOfTheLivingAlone) {
  const pid_t child = fork();
  if (child == 0) {
    static_cast<void>(cache_.get(kKey, [](const fs::path&) { _exit(7); }));
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(WEXITSTATUS(status), 7);
  EXPECT_THAT(names(), ElementsAre(kKey + ".lock"));
  const fs::path file = cache_.get(kOther, [&](const fs::path& path) {
    EXPECT_THAT(cache_.clear(), IsEmpty());
    EXPECT_THAT(names(), ElementsAre(kOther + ".lock"));
    EXPECT_FALSE(cache_.put(kOther, [](const fs::path&) {})) << "the lock is still held";
    write(path, "whole");
  });
  EXPECT_EQ(text_of(file), "whole");
  EXPECT_THAT(names(), ElementsAre(kOther));
}

TEST_F(CacheTest, PuttingReplacesAndWaitsForNobody) {
  const auto put = [&](const std::string& text) {
    return cache_.put(kKey, [&](const fs::path& path) { write(path, text); });
  };
  EXPECT_TRUE(put("one"));
  EXPECT_TRUE(put("two"));
  EXPECT_EQ(text_of(folder_ / kKey), "two");
  const std::string lock = (folder_ / (kKey + ".lock")).string();
  const int other = open(lock.c_str(), O_RDWR | O_CREAT, 0666);
  ASSERT_EQ(flock(other, LOCK_EX), 0);
  EXPECT_FALSE(put("three"));
  close(other);
  EXPECT_EQ(text_of(folder_ / kKey), "two");
  EXPECT_TRUE(put("four"));
  EXPECT_THAT(names(), ElementsAre(kKey));
}

TEST_F(CacheTest, AFolderThatCannotBeIsNamed) {
  fs::create_directories(folder_.parent_path());
  write(folder_, "a file");
  EXPECT_THAT([&] { static_cast<void>(cache_.get(kKey, [](const fs::path&) {})); },
              ThrowsMessage<IoError>(
                  HasSubstr(folder_.string() + ": the cache's folder cannot be made: ")));
  EXPECT_THAT([&] { static_cast<void>(cache_.entries()); },
              ThrowsMessage<IoError>(folder_.string() +
                                     ": the cache's folder cannot be read: Not a directory"));
}

TEST(CacheFolder, ComesFromTheEnvironment) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("XDG_CACHE_HOME", "/x", 1);
        setenv("HOME", "/h", 1);
        const bool first = default_cache_folder() == "/x/gentrain";
        unsetenv("XDG_CACHE_HOME");
        const bool second = default_cache_folder() == "/h/.cache/gentrain";
        unsetenv("HOME");
        try {
          default_cache_folder();
        } catch (const IoError& error) {
          std::exit(
              first && second &&
                      std::string(error.what()) ==
                          "there is no folder for the cache: neither XDG_CACHE_HOME nor HOME is "
                          "set"
                  ? 0
                  : 2);
        }
        std::exit(1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gentrain::io
