// The output folder: who may begin a run in it, and what is written there.
#include "trainers/run_folder.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;

class RunFolderTest : public ::testing::Test {
 protected:
  RunFolderTest() { fs::create_directories(base_); }
  ~RunFolderTest() override { fs::remove_all(base_); }
  RunFolderTest(const RunFolderTest&) = delete;
  RunFolderTest& operator=(const RunFolderTest&) = delete;

  static void write(const fs::path& file, const std::string& text = "x") {
    std::ofstream(file) << text;
  }
  static std::string text_of(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path base_ = fs::temp_directory_path() / ("gentrain_run_folder_" + std::to_string(getpid()));
  fs::path path_ = base_ / "runs" / "job";
};

TEST_F(RunFolderTest, IsMadeAndLeftEmpty) {
  RunFolder(path_).prepare(false);
  EXPECT_TRUE(fs::is_empty(path_));
  RunFolder(path_).prepare(false);  // an empty one is no run
}

TEST_F(RunFolderTest, ARunInItIsNotOverwrittenUnasked) {
  for (const char* sign : {"summary.json", "model.h5", "metrics.jsonl"}) {
    fs::create_directories(path_);
    write(path_ / sign);
    EXPECT_EQ(message_of<JobError>([&] { RunFolder(path_).prepare(false); }),
              path_.string() +
                  " holds a run already: start anew over it with --overwrite, or write "
                  "elsewhere with --set output=FOLDER");
    EXPECT_TRUE(fs::exists(path_ / sign));
    fs::remove_all(path_);
  }
}

TEST_F(RunFolderTest, ARunUnderWayHoldsTheFolderAndOneThatNeverTrainedDoesNot) {
  fs::create_directories(path_);
  write(path_ / "status.json", "cut");
  EXPECT_FALSE(RunFolder(path_).holds_run());
  RunFolder(path_).write_status("failed", 0, 3);
  EXPECT_FALSE(RunFolder(path_).holds_run());
  RunFolder(path_).write_status("running", 0, 0);
  EXPECT_TRUE(RunFolder(path_).holds_run());
}

TEST_F(RunFolderTest, TextsThatAreNotUtf8LoseWhatIsNot) {
  RunFolder folder(path_);
  folder.prepare(false);
  folder.write_summary({{"data", "mnist in d\xff"}});
  EXPECT_EQ(nlohmann::json::parse(text_of(path_ / "summary.json"))["data"], "mnist in d\uFFFD");
}

TEST_F(RunFolderTest, OverwritingRemovesTheRunAndNothingElse) {
  fs::create_directories(path_);
  const std::vector<std::string> files = {"job.yaml",     "environment.json", "status.json",
                                          "summary.json", "metrics.jsonl",    "model.h5",
                                          "log.txt"};
  for (const std::string& file : files) {
    write(path_ / file);
  }
  write(path_ / "notes.txt", "mine");
  RunFolder(path_).prepare(true);
  EXPECT_EQ(text_of(path_ / "model.h5"), "x");
  RunFolder(path_).clear();
  for (const std::string& file : files) {
    EXPECT_FALSE(fs::exists(path_ / file)) << file;
  }
  EXPECT_EQ(text_of(path_ / "notes.txt"), "mine");
}

TEST_F(RunFolderTest, AFileInTheFoldersPlace) {
  fs::create_directories(path_.parent_path());
  write(path_);
  EXPECT_THAT(message_of<IoError>([&] { RunFolder(path_).prepare(true); }),
              ::testing::StartsWith("the output folder " + path_.string() + " cannot be "));
  EXPECT_EQ(text_of(path_), "x");
  const fs::path below = path_ / "deeper";
  EXPECT_EQ(message_of<IoError>([&] { RunFolder(below).prepare(false); }),
            "the output folder " + below.string() + " cannot be made: Not a directory");
}

TEST_F(RunFolderTest, WritesTheFilesOfARunsLife) {
  RunFolder folder(path_);
  folder.prepare(false);
  folder.write_job("seed: 1\n");
  folder.write_environment({{"ranks", 3}});
  folder.write_status("running", 4, 0);
  folder.append_metrics({{"step", 1}});
  folder.append_metrics({{"step", 2}});
  write(folder.log(), "");
  folder.append_error("rank 2: something");
  folder.write_summary({{"steps", 2}});
  EXPECT_EQ(text_of(folder.path() / "job.yaml"), "seed: 1\n");
  EXPECT_EQ(nlohmann::json::parse(text_of(path_ / "environment.json"))["ranks"], 3);
  const auto status = nlohmann::json::parse(text_of(path_ / "status.json"));
  EXPECT_EQ(status,
            (nlohmann::json{{"state", "running"}, {"step", 4}, {"exit", 0}, {"restarts", 0}}));
  EXPECT_EQ(text_of(path_ / "metrics.jsonl"), "{\"step\":1}\n{\"step\":2}\n");
  EXPECT_EQ(text_of(folder.log()), "rank 2: something\n");
  EXPECT_EQ(nlohmann::json::parse(text_of(path_ / "summary.json"))["steps"], 2);
}

TEST_F(RunFolderTest, ErrorsWithoutARunGoNowhere) {
  RunFolder(path_).append_error("lost");
  EXPECT_FALSE(fs::exists(path_));
}

}  // namespace
}  // namespace gentrain::trainers
