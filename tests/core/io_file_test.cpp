// SHA-256 against published vectors; files that appear whole or not at all.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <system_error>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/io/atomic_file.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "tests/support/as_nobody.h"

namespace gentrain::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string hash(const std::string& text) {
  return sha256(std::as_bytes(std::span(text)));
}

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

class AtomicFile : public testing::Test {
 protected:
  AtomicFile() : folder_(fs::temp_directory_path() / ("gentrain-io-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~AtomicFile() override { fs::remove_all(folder_); }

  [[nodiscard]] int files() const {
    return static_cast<int>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST(Sha256, MatchesThePublishedVectors) {
  EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, ItsDigitsAreLowerCaseHex) {
  EXPECT_TRUE(is_hex(hash("abc")));
  EXPECT_TRUE(is_hex("0123456789abcdef"));
  EXPECT_TRUE(is_hex(""));
  for (const char* text : {"A", "g", "12 ", "0x1"}) {
    EXPECT_FALSE(is_hex(text)) << text;
  }
}

TEST(Sha256, PiecesGiveTheHashOfTheWhole) {
  Sha256 pieces;
  pieces.update("a", 1);
  pieces.update("bc", 2);
  EXPECT_EQ(pieces.finish(), hash("abc"));
}

TEST_F(AtomicFile, WritesAndReplaces) {
  const fs::path path = folder_ / "file";
  write_file_atomically(path, "one");
  EXPECT_EQ(content(path), "one");
  write_file_atomically(path, std::string("t\0wo", 4));
  EXPECT_EQ(content(path), std::string("t\0wo", 4));
  EXPECT_EQ(files(), 1);
}

TEST_F(AtomicFile, ACheckBeforeTheRename) {
  const fs::path path = folder_ / "file";
  write_file_atomically(path, "old");
  int seen = 0;
  write_file_atomically(path, "new", [&] {
    EXPECT_EQ(content(path), "old");
    seen = files();
  });
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(content(path), "new");
  EXPECT_THAT(
      [&] { write_file_atomically(path, "late", [] { throw JobError("the lock is lost"); }); },
      ThrowsMessage<JobError>("the lock is lost"));
  EXPECT_EQ(content(path), "new");
  EXPECT_EQ(files(), 1);
}

TEST_F(AtomicFile, AFileInTheFoldersPlace) {
  std::ofstream(folder_ / "runs") << "text";
  const fs::path path = folder_ / "runs" / "file";
  EXPECT_THAT([&] { write_file_atomically(path, "x"); },
              ThrowsMessage<IoError>(
                  AllOf(HasSubstr("cannot write " + path.string()), HasSubstr("Not a directory"))));
}

TEST_F(AtomicFile, AFolderInTheFilesPlace) {
  fs::create_directories(folder_ / "file" / "inner");
  EXPECT_THAT([&] { write_file_atomically(folder_ / "file", "x"); },
              ThrowsMessage<IoError>(AllOf(HasSubstr("rename to"), HasSubstr("Is a directory"))));
  EXPECT_EQ(files(), 1);
}

TEST_F(AtomicFile, IsThereOrNotOrNobodyCanTell) {
  const fs::path hidden = folder_ / "hidden";
  fs::create_directories(hidden);
  std::ofstream(hidden / "file") << "x";
  EXPECT_TRUE(is_there(hidden));
  EXPECT_TRUE(is_there(hidden / "file"));
  EXPECT_FALSE(is_there(hidden / "other"));
  EXPECT_FALSE(is_there(hidden / "file/below")) << "a file is no folder";
  fs::permissions(folder_, fs::perms::all);
  fs::permissions(hidden, fs::perms::none);
  {
    const test::AsNobody nobody;
    EXPECT_TRUE(is_there(hidden));
    for (const char* name : {"file", "other"}) {
      EXPECT_THAT([&] { is_there(hidden / name); },
                  ThrowsMessage<IoError>((hidden / name).string() +
                                         ": it cannot be looked for: Permission denied"));
    }
  }
  fs::permissions(hidden, fs::perms::all);
}

TEST_F(AtomicFile, WhatAFolderHoldsOrWhyNobodyCanTell) {
  std::ofstream(folder_ / "a") << "x";
  fs::create_directories(folder_ / "b/inner");
  std::error_code error;
  std::set<std::string> names;
  for (const fs::directory_entry& entry : entries_of(folder_, error)) {
    names.insert(entry.path().filename().string());
  }
  EXPECT_FALSE(error);
  EXPECT_THAT(names, ElementsAre("a", "b"));
  EXPECT_TRUE(entries_of(folder_ / "b/inner", error).empty());
  EXPECT_FALSE(error);
  EXPECT_TRUE(entries_of(folder_ / "none", error).empty());
  EXPECT_TRUE(error == std::errc::no_such_file_or_directory) << error;
  EXPECT_TRUE(entries_of(folder_ / "a", error).empty());
  EXPECT_TRUE(error == std::errc::not_a_directory) << error;
}

TEST_F(AtomicFile, AFolderThatTakesNoFiles) {
  // Root ignores mode bits, but nobody creates files in /proc.
  const bool root = geteuid() == 0;
  const fs::path path = root ? fs::path("/proc/gentrain.h5") : folder_ / "file";
  if (!root) {
    fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
  }
  EXPECT_THAT([&] { write_file_atomically(path, "x"); },
              ThrowsMessage<IoError>(
                  AllOf(HasSubstr("cannot write " + path.string()), HasSubstr("open failed: "))));
  fs::permissions(folder_, fs::perms::owner_all);
}

TEST_F(AtomicFile, AWriteThatFailsLeavesTheOldContent) {
  const fs::path path = folder_ / "file";
  write_file_atomically(path, "old");
  // A limit on the size of files stands for a full disk.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THAT([&] { write_file_atomically(path, std::string(5000, 'x')); },
              ThrowsMessage<IoError>(AllOf(HasSubstr("cannot write " + path.string()),
                                           HasSubstr("write failed: File too large"))));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(content(path), "old");
  EXPECT_EQ(files(), 1);
}

}  // namespace
}  // namespace gentrain::io
