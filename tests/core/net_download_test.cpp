// Downloads from a server on the loopback interface: into files and into memory; MD5; URLs. What a
// server may do wrong beyond this is tried through the program (tests/tools/fetch_test.py).
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/io/md5.h"
#include "core/io/module_file.h"
#include "core/net/download.h"
#include "core/net/file_lock.h"
#include "core/net/library.h"
#include "kernels/error.h"
#include "tests/core/canned_server.h"

namespace gentrain::net {
namespace {

namespace fs = std::filesystem;
using test::CannedServer;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using testing::ThrowsMessage;

constexpr const char* kAbcSha256 =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr const char* kAbcMd5 = "900150983cd24fb0d6963f7d28e17f72";

/// An answer with its length.
std::string answer(const std::string& content, const std::string& status = "200 OK",
                   const std::string& fields = "") {
  return fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n{}", status,
                     content.size(), fields, content);
}

/// One that promises more than comes.
std::string cut(const std::string& content, std::size_t promised, const std::string& fields = "") {
  return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{}\r\n{}", promised, fields,
                     content);
}

std::string md5(const std::string& text) {
  io::Md5 hash;
  hash.update(text.data(), text.size());
  return hash.finish();
}

/// Whether another server is worth a try after what an action throws.
template <class Action>
bool is_of_the_server(const Action& action) {
  try {
    action();
  } catch (const TransferError&) {
    return true;
  } catch (const IoError&) {
    return false;
  }
  ADD_FAILURE() << "nothing was thrown";
  return false;
}

/// Files of this process get no larger than so many bytes, as on a full disk.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

class Download : public testing::Test {
 protected:
  Download() : folder_(fs::temp_directory_path() / fmt::format("gentrain-net-{}", getpid())) {
    setenv("no_proxy", "127.0.0.1", 1);
    fs::create_directories(folder_);
  }
  ~Download() override { fs::remove_all(folder_); }
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;

  [[nodiscard]] std::string content(const char* name = "file") const {
    std::ifstream in(folder_ / name, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  [[nodiscard]] fs::path path() const { return folder_ / "file"; }
  [[nodiscard]] int files() const {
    return static_cast<int>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
  Limits once_ = [] {
    Limits limits;
    limits.tries = 1;
    return limits;
  }();
};

TEST(Md5, MatchesThePublishedVectors) {
  EXPECT_EQ(md5(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(md5("abc"), kAbcMd5);
}

TEST(Urls, AreOfHttpAndHttpsOnly) {
  for (const char* url : {"http://a", "https://a/b", "HTTP://a", "HttpS://a"}) {
    EXPECT_TRUE(is_url(url)) << url;
  }
  for (const char* url : {"", "http", "http:/", "ftp://a", "file:///a", "a.png", "httpx://a"}) {
    EXPECT_FALSE(is_url(url)) << url;
    EXPECT_THAT([&] { require_url(url); },
                ThrowsMessage<JobError>(HasSubstr(fmt::format(
                    "'{}' cannot be fetched: a URL begins with http:// or https://", url))));
  }
}

TEST(Urls, AreShownWithoutUserAndPassword) {
  EXPECT_EQ(shown_url("http://me:pass@host/a@b"), "http://host/a@b");
  EXPECT_EQ(shown_url("http://me:p@ss@host"), "http://host");
  EXPECT_EQ(shown_url("http://host/a@b?c"), "http://host/a@b?c");
}

TEST(NetModule, SaysWhatItIs) {
  EXPECT_THAT(net_library().version(), AllOf(StartsWith("libcurl "), HasSubstr(", libarchive ")));
}

TEST(NetModule, AMissingOneNamesThePlaces) {
  EXPECT_THAT(
      [] {
        io::load_module_function({"odd module", "which does nothing", "libodd.so", "odd"});
      },
      ThrowsMessage<DeviceError>(AllOf(
          StartsWith("the odd module, which does nothing, is not there: it was looked for as "),
          HasSubstr("/libodd.so and "), EndsWith("/lib/gentrain/libodd.so"))));
  EXPECT_THAT(
      [] {
        io::load_module_function({"odd module", "which is another", "libgentrain_net.so", "odd"});
      },
      ThrowsMessage<DeviceError>(
          AllOf(StartsWith("the odd module /"), HasSubstr(" is of another version: "))));
}

TEST_F(Download, GivesFileSizeAndHash) {
  const CannedServer server({answer("abc")});
  std::uint64_t told = 0;
  const FileFacts facts = download(server.url(), path(), {3, kAbcSha256, kAbcMd5}, once_,
                                   [&](std::uint64_t bytes, std::optional<std::uint64_t> total) {
                                     told = bytes;
                                     EXPECT_EQ(total, 3U);
                                   });
  EXPECT_EQ(facts.bytes, 3U);
  EXPECT_EQ(facts.sha256, kAbcSha256);
  EXPECT_EQ(told, 3U);
  EXPECT_EQ(content(), "abc");
  EXPECT_EQ(files(), 1);
}

TEST_F(Download, AnEmptyFileIsAFile) {
  const CannedServer server({answer("")});
  EXPECT_EQ(download(server.url(), path(), {}, once_).bytes, 0U);
  EXPECT_EQ(files(), 1);
}

TEST_F(Download, GoesOnWithinOneCall) {
  CannedServer server(
      {cut("a", 3, "ETag: \"t\"\r\n"),
       answer("bc", "206 Partial Content", "ETag: \"t\"\r\nContent-Range: bytes 1-2/3\r\n")});
  Limits limits;
  limits.tries = 2;
  EXPECT_EQ(download(server.url(), path(), {}, limits).sha256, kAbcSha256);
  server.join();
  EXPECT_THAT(server.requests()[0], Not(HasSubstr("Range")));
  EXPECT_THAT(server.requests()[1],
              AllOf(HasSubstr("Range: bytes=1-\r\n"), HasSubstr("If-Range: \"t\"\r\n")));
}

TEST_F(Download, AWeakTagSaysNothing) {
  CannedServer server({cut("a", 3, "ETag: W/\"t\"\r\n"),
                       answer("bc", "206 Partial Content", "Content-Range: bytes 1-2/3\r\n")});
  Limits limits;
  limits.tries = 2;
  EXPECT_EQ(download(server.url(), path(), {}, limits).sha256, kAbcSha256);
  server.join();
  EXPECT_THAT(server.requests()[1], Not(HasSubstr("If-Range")));
}

TEST_F(Download, AnotherTagInThePartBeginsAnew) {
  const CannedServer server(
      {cut("x", 3, "ETag: \"t\"\r\n"),
       answer("bc", "206 Partial Content", "ETag: \"u\"\r\nContent-Range: bytes 1-2/3\r\n"),
       answer("abc")});
  Limits limits;
  limits.tries = 2;
  EXPECT_EQ(download(server.url(), path(), {}, limits).sha256, kAbcSha256);
}

TEST_F(Download, APartThatProvesNothingBeginsAnew) {
  CannedServer server({cut("x", 3, "ETag: \"t\"\r\n"),
                       answer("bc", "206 Partial Content", "Content-Range: bytes 1-2/*\r\n"),
                       answer("abc")});
  EXPECT_THROW(download(server.url(), path(), {}, once_), TransferError);
  EXPECT_EQ(download(server.url(), path(), {}, once_).sha256, kAbcSha256);
  server.join();
  EXPECT_THAT(server.requests()[2], Not(HasSubstr("Range")));
}

TEST_F(Download, ASizeThatOneSideKnowsProvesNothing) {
  const CannedServer server(
      {"HTTP/1.1 200 OK\r\nETag: \"t\"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
       answer("bc", "206 Partial Content", "Content-Range: bytes 1-2/3\r\n"), answer("abc")});
  EXPECT_THROW(download(server.url(), path(), {}, once_), TransferError);
  EXPECT_EQ(download(server.url(), path(), {}, once_).sha256, kAbcSha256);
}

TEST_F(Download, TheSameTagIsEnough) {
  CannedServer server(
      {cut("a", 3, "ETag: \"t\"\r\n"),
       answer("bc", "206 Partial Content", "ETag: \"t\"\r\nContent-Range: bytes 1-2/*\r\n")});
  EXPECT_THROW(download(server.url(), path(), {}, once_), TransferError);
  EXPECT_EQ(download(server.url(), path(), {}, once_).sha256, kAbcSha256);
  server.join();
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST_F(Download, AnotherUrlLeavesWhatCameUntilItAnswers) {
  CannedServer server({cut("ab", 3), answer("", "404 Not Found"), "",
                       answer("c", "206 Partial Content", "Content-Range: bytes 2-2/3\r\n")});
  EXPECT_THROW(download(server.url(), path(), {}, once_), TransferError);
  EXPECT_THAT([&] { download(server.url("/other"), path(), {}, once_); },
              ThrowsMessage<TransferError>(EndsWith("HTTP status 404, 200 was needed")));
  EXPECT_THAT(
      [&] { download(server.url("/other"), path(), {}, once_); },
      ThrowsMessage<TransferError>(AllOf(HasSubstr("the connection broke off after 0 bytes"),
                                         Not(HasSubstr("keeps what came")))));
  EXPECT_EQ(content("file.part"), "ab");
  EXPECT_EQ(download(server.url(), path(), {}, once_).sha256, kAbcSha256);
  server.join();
  EXPECT_THAT(server.requests()[1], Not(HasSubstr("Range")));
  EXPECT_THAT(server.requests()[3], HasSubstr("Range: bytes=2-\r\n"));
}

TEST_F(Download, AnotherUrlThatAnswersBeginsAnew) {
  const CannedServer server({cut("xy", 3), answer("abc")});
  EXPECT_THROW(download(server.url(), path(), {}, once_), TransferError);
  EXPECT_EQ(download(server.url("/other"), path(), {}, once_).sha256, kAbcSha256);
  EXPECT_EQ(files(), 1);
}

TEST_F(Download, BeginningAnewLeavesWhatCameUntilTheAnswer) {
  CannedServer server({cut("ab", 3), answer("", "416 Range Not Satisfiable"),
                       answer("", "404 Not Found"), answer("", "416 Range Not Satisfiable"),
                       cut("a", 3),
                       answer("bc", "206 Partial Content", "Content-Range: bytes 1-2/3\r\n")});
  EXPECT_THROW(download(server.url(), path(), {}, once_), TransferError);
  EXPECT_THAT([&] { download(server.url(), path(), {}, once_); },
              ThrowsMessage<TransferError>(EndsWith("HTTP status 404, 200 was needed")));
  EXPECT_EQ(content("file.part"), "ab");
  EXPECT_THROW(download(server.url(), path(), {}, once_), TransferError);
  EXPECT_EQ(download(server.url(), path(), {}, once_).sha256, kAbcSha256);
  server.join();
  EXPECT_EQ(server.requests().size(), 6U);
}

TEST_F(Download, AWrongMd5LeavesNothing) {
  const CannedServer server({answer("abd")});
  EXPECT_THAT(
      [&] {
        download(server.url(), path(), {3, "", kAbcMd5}, once_);
      },
      ThrowsMessage<IoError>(AllOf(StartsWith("http://127.0.0.1:"), HasSubstr("its MD5 is "),
                                   HasSubstr(kAbcMd5),
                                   EndsWith(" was needed; what came was removed"))));
  EXPECT_EQ(files(), 0);
}

TEST_F(Download, ALimitOfBytesHolds) {
  const CannedServer server({answer("abcd"), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcd"});
  once_.bytes = 3;
  EXPECT_THAT(
      [&] { download(server.url(), path(), {}, once_); },
      ThrowsMessage<IoError>(EndsWith("/x: the server announces 4 bytes, at most 3 are taken")));
  EXPECT_THAT([&] { download(server.url(), path(), {}, once_); },
              ThrowsMessage<IoError>(EndsWith("/x: more than the 3 bytes came that are taken")));
  EXPECT_EQ(files(), 0);
}

TEST_F(Download, TooFewBytesAreSaidAndKept) {
  const CannedServer server({"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab"});
  EXPECT_THAT(
      [&] {
        download(server.url(), path(), {3, "", ""}, once_);
      },
      ThrowsMessage<IoError>(AllOf(HasSubstr("/x: the answer ended after 2 of 3 bytes; "),
                                   HasSubstr("/file.part keeps what came"))));
  EXPECT_EQ(content("file.part"), "ab");
}

TEST_F(Download, WhatIsNotHttpIsRefused) {
  const CannedServer server({"nonsense, longer than a status line\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"});
  EXPECT_THAT([&] { download(server.url(), path(), {}, once_); },
              ThrowsMessage<IoError>(HasSubstr("/x: the transfer failed (Received HTTP/0.9")));
  EXPECT_THAT([&] { download(server.url(), path(), {}, once_); },
              ThrowsMessage<IoError>(HasSubstr("/x: the transfer failed (Invalid Content-L")));
  EXPECT_THAT([&] { download("ftp://a/b", path()); },
              ThrowsMessage<JobError>(HasSubstr("'ftp://a/b' cannot be fetched")));
  EXPECT_EQ(files(), 0);
}

TEST_F(Download, StatusesThatAreNoAnswersAreRefused) {
  const std::string abc = "Content-Length: 3\r\n\r\nabc";
  const CannedServer server({"HTTP/1.1 099 Odd\r\n" + abc, "HTTP/1.1 101 Odd\r\n" + abc,
                             "HTTP/1.1 101 Odd\r\n\r\n",
                             "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + abc});
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(download(server.url(), path(), {}, once_), TransferError) << i;
    EXPECT_EQ(files(), 0) << i;
  }
  EXPECT_EQ(download(server.url(), path(), {}, once_).sha256, kAbcSha256);
}

TEST_F(Download, ErrorsOfThisMachineAreNotTheServers) {
  const CannedServer server(
      {answer("", "404 Not Found"), cut("a", 3), answer("abd"), answer("abc")});
  const auto fetch = [&] { download(server.url(), path(), {3, kAbcSha256, ""}, once_); };
  EXPECT_TRUE(is_of_the_server(fetch));
  EXPECT_TRUE(is_of_the_server(fetch));
  fs::remove(folder_ / "file.part");
  EXPECT_TRUE(is_of_the_server(fetch));
  {
    const FileLock lock(folder_ / "file.part", LockFor::kFetching);
    EXPECT_FALSE(is_of_the_server(fetch));
  }
  EXPECT_FALSE(is_of_the_server([&] { download(server.url(), folder_ / "no" / "file"); }));
  const SmallDisk disk(2);
  EXPECT_FALSE(is_of_the_server([&] { download(server.url(), path(), {}, once_); }));
}

TEST_F(Download, AFolderThatIsMissingIsNamed) {
  EXPECT_THAT([&] { download("http://127.0.0.1:1/x", folder_ / "no" / "file"); },
              ThrowsMessage<IoError>(HasSubstr("/no/file.part: open failed: No such file")));
}

TEST_F(Download, OneProcessHoldsTheLock) {
  const FileLock lock(folder_ / "file.part", LockFor::kFetching);
  EXPECT_THAT([&] { download("http://127.0.0.1:1/x", path()); },
              ThrowsMessage<IoError>(EndsWith("/file.part: another process is fetching it")));
}

TEST_F(Download, CheckFileComparesSizeAndHashes) {
  std::ofstream(path()) << "abc";
  EXPECT_EQ(check_file(path(), {}).sha256, kAbcSha256);
  EXPECT_EQ(check_file(path(), {3, kAbcSha256, kAbcMd5}).bytes, 3U);
  EXPECT_THAT(
      [&] {
        check_file(path(), {4, "", ""});
      },
      ThrowsMessage<IoError>(EndsWith("/file: it has 3 bytes, 4 are needed")));
  EXPECT_THAT(
      [&] {
        check_file(path(), {std::nullopt, std::string(64, '0'), ""});
      },
      ThrowsMessage<IoError>(HasSubstr(fmt::format("its SHA-256 is {}", kAbcSha256))));
  EXPECT_THAT([&] { check_file(folder_ / "none", {}); },
              ThrowsMessage<IoError>(HasSubstr("/none: open failed: No such file")));
}

TEST_F(Download, IntoMemory) {
  const CannedServer server({answer("abc"), cut("a", 3), answer("", "404 Not Found")});
  const std::vector<std::uint8_t> bytes = fetch_bytes(server.url(), once_);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), "abc");
  EXPECT_THAT([&] { fetch_bytes(server.url(), once_); },
              ThrowsMessage<IoError>(AllOf(
                  HasSubstr("/x: the connection broke off after 1 of 3 bytes ("), EndsWith(")"))));
  EXPECT_THAT([&] { fetch_bytes(server.url(), once_); },
              ThrowsMessage<IoError>(
                  EndsWith("/x: the server answers with HTTP status 404, 200 was needed")));
  EXPECT_THAT([&] { fetch_bytes("cat.png"); },
              ThrowsMessage<JobError>(HasSubstr("'cat.png' cannot be fetched")));
}

}  // namespace
}  // namespace gentrain::net
