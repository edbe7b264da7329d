// Unpacking: what becomes of an archive, and every way in which one is refused.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include "core/net/file_lock.h"
#include "core/net/unpack.h"
#include "kernels/error.h"

namespace gentrain::net {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr std::size_t kBlock = 512;

/// Pieces of a tar archive, by ustar's format.
std::string member(const std::string& name, const std::string& content, char type = '0',
                   const std::string& link = "") {
  std::string header(kBlock, '\0');
  const auto put = [&](std::size_t at, const std::string& text) {
    header.replace(at, text.size(), text);
  };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, fmt::format("{:011o}", content.size()));
  put(136, "00000000000");
  put(148, "        ");
  header[156] = type;
  put(157, link);
  put(257, std::string("ustar\0", 6) + "00");
  unsigned sum = 0;
  for (const char byte : header) {
    sum += static_cast<unsigned char>(byte);
  }
  put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  const std::size_t rest = (kBlock - content.size() % kBlock) % kBlock;
  return header + content + std::string(rest, '\0');
}

std::string folder_entry(const std::string& name) {
  return member(name, "", '5');
}

class Unpack : public testing::Test {
 protected:
  Unpack() : root_(fs::temp_directory_path() / fmt::format("gentrain-unpack-{}", getpid())) {
    fs::create_directories(root_);
  }
  ~Unpack() override { fs::remove_all(root_); }
  Unpack(const Unpack&) = delete;
  Unpack& operator=(const Unpack&) = delete;

  void write(const std::string& members) const {
    const gzFile file = gzopen(archive().c_str(), "wb");
    const std::string all = members + std::string(2 * kBlock, '\0');
    gzwrite(file, all.data(), static_cast<unsigned>(all.size()));
    gzclose(file);
  }
  [[nodiscard]] fs::path archive() const { return root_ / "a.tgz"; }
  [[nodiscard]] fs::path folder() const { return root_ / "out"; }
  [[nodiscard]] std::string content(const std::string& name) const {
    std::ifstream in(folder() / name, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  /// The archive is refused and nothing of it stays.
  void expect_refused(const std::string& members, const std::string& message,
                      const UnpackLimits& limits = {}) const {
    write(members);
    EXPECT_THAT([&] { unpack(archive(), folder(), "top", limits); },
                ThrowsMessage<IoError>(HasSubstr("/a.tgz: " + message)));
    EXPECT_FALSE(fs::exists(folder()));
    EXPECT_FALSE(fs::exists(root_ / "out.unpacked"));
  }

  fs::path root_;
};

TEST_F(Unpack, TakesTheContentOfAFolder) {
  write(folder_entry("top/") + member("top/a/1.jpg", "one") + member("./top/b/2", "") +
        member("top/._a", "of macOS") + folder_entry("top/c/"));
  fs::create_directories(root_ / "out.unpacked");
  std::ofstream(root_ / "out.unpacked" / "old") << "left by a killed process";
  const Unpacked unpacked = unpack(archive(), folder(), "top");
  EXPECT_EQ(unpacked.files, 2U);
  EXPECT_EQ(unpacked.bytes, 3U);
  EXPECT_EQ(content("a/1.jpg"), "one");
  EXPECT_TRUE(fs::exists(folder() / "b" / "2"));
  EXPECT_TRUE(fs::is_directory(folder() / "c"));
  EXPECT_FALSE(fs::exists(folder() / "._a"));
  EXPECT_FALSE(fs::exists(folder() / "old"));
  EXPECT_FALSE(fs::exists(root_ / "out.unpacked"));
}

TEST_F(Unpack, TakesAllWhereNoFolderIsNamed) {
  write(member("x/1", "one") + member("2", "two"));
  EXPECT_EQ(unpack(archive(), folder()).files, 2U);
  EXPECT_EQ(content("x/1"), "one");
  EXPECT_EQ(content("2"), "two");
}

TEST_F(Unpack, NothingLeadsOutOfTheFolder) {
  for (const char* name : {"../evil", "top/../../evil", "/tmp/evil", "top/a/../b"}) {
    expect_refused(member(name, "x"), fmt::format("'{}' lies outside of its folder", name));
  }
  expect_refused(member("other/a", "x"), "'other/a' lies outside of 'top', the folder it should");
  expect_refused(member("top", "x"), "'top' is a file, a folder was expected there");
}

TEST_F(Unpack, LinksAndDevicesAreRefused) {
  constexpr const char* kOnly = "only files and folders are unpacked";
  expect_refused(member("top/l", "", '2', "/etc"), fmt::format("'top/l' is a link: {}", kOnly));
  expect_refused(member("top/a", "x") + member("top/l", "", '1', "top/a"),
                 fmt::format("'top/l' is a link: {}", kOnly));
  expect_refused(member("top/p", "", '6'), fmt::format("'top/p' is a device or pipe: {}", kOnly));
}

TEST_F(Unpack, LimitsHold) {
  const std::string two = member("top/a", "12") + member("top/b", "34");
  expect_refused(two, "it holds more than 1 entries", {1, 100});
  expect_refused(two, "it holds more than 3 bytes of files", {10, 3});
  write(two);
  EXPECT_EQ(unpack(archive(), folder(), "top", {2, 4}).bytes, 4U);
}

TEST_F(Unpack, WhatIsPassedOverCountsTowardsTheLimit) {
  const std::string members = member("top/._a", "1234") + member("top/b", "5");
  expect_refused(members, "it holds more than 4 bytes of files", {10, 4});
  write(members);
  EXPECT_EQ(unpack(archive(), folder(), "top", {10, 5}).bytes, 1U);
}

TEST_F(Unpack, OneProcessHoldsTheLock) {
  write(member("top/a", "1"));
  fs::create_directories(root_ / "out.unpacked");
  const FileLock lock(root_ / "out.unpacked", LockFor::kUnpacking);
  EXPECT_THAT(
      [&] { unpack(archive(), folder(), "top"); },
      ThrowsMessage<IoError>(EndsWith("/out.unpacked: another process is unpacking into it")));
  EXPECT_FALSE(fs::exists(folder()));
}

TEST_F(Unpack, TheLockMakesNoFolderAndFollowsNoLink) {
  EXPECT_THAT([&] { const FileLock lock(root_ / "out.unpacked", LockFor::kUnpacking); },
              ThrowsMessage<IoError>(HasSubstr("/out.unpacked: open failed: No such file")));
  EXPECT_FALSE(fs::exists(root_ / "out.unpacked"));
  write(member("top/a", "1"));
  fs::create_directories(root_ / "other");
  std::ofstream(root_ / "other" / "mine") << "of the user";
  fs::create_directory_symlink(root_ / "other", root_ / "out.unpacked");
  EXPECT_THAT([&] { unpack(archive(), folder(), "top"); },
              ThrowsMessage<IoError>(HasSubstr("/out.unpacked: open failed: ")));
  EXPECT_TRUE(fs::exists(root_ / "other" / "mine"));
}

TEST_F(Unpack, TwiceAndEmptyAreRefused) {
  expect_refused(member("top/a", "1") + member("top/a", "2"), "'top/a' comes twice");
  expect_refused(folder_entry("top/"), "it holds no files");
}

TEST_F(Unpack, DamagedOrNoArchive) {
  write(member("top/a", std::string(100000, 'x')));
  fs::resize_file(archive(), fs::file_size(archive()) / 2);
  EXPECT_THAT([&] { unpack(archive(), folder(), "top"); },
              ThrowsMessage<IoError>(AllOf(HasSubstr("/a.tgz: the archive cannot be read: "),
                                           HasSubstr("truncated"))));
  std::ofstream(archive()) << std::string(2000, 'x');
  EXPECT_THAT([&] { unpack(archive(), folder(), "top"); },
              ThrowsMessage<IoError>(HasSubstr("/a.tgz: the archive cannot be read: ")));
  EXPECT_THAT([&] { unpack(root_ / "none", folder()); },
              ThrowsMessage<IoError>(HasSubstr("/none: the archive cannot be read: ")));
  EXPECT_FALSE(fs::exists(folder()));
}

TEST_F(Unpack, AFolderThatIsThereIsLeft) {
  write(member("top/a", "1"));
  fs::create_directories(folder());
  EXPECT_THAT([&] { unpack(archive(), folder(), "top"); },
              ThrowsMessage<IoError>(AllOf(HasSubstr("/out: it is there already, "),
                                           EndsWith("/a.tgz is not unpacked into it"))));
}

}  // namespace
}  // namespace gentrain::net
