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
  RunFolder(path_).prepare();
  EXPECT_TRUE(fs::is_empty(path_));
  RunFolder(path_).prepare();  // an empty one is no run
}

TEST_F(RunFolderTest, SignsOfARun) {
  for (const char* sign : {"summary.json", "model.h5", "metrics.jsonl"}) {
    fs::create_directories(path_);
    EXPECT_FALSE(RunFolder(path_).holds_run());
    write(path_ / sign);
    EXPECT_TRUE(RunFolder(path_).holds_run()) << sign;
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
  folder.prepare();
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
  const fs::path checkpoint = RunFolder(path_).checkpoint(12);
  fs::create_directories(checkpoint.parent_path());
  write(checkpoint);
  RunFolder(path_).prepare();
  RunFolder(path_).make_ready(RunFolder::Earlier::kStays);
  EXPECT_EQ(text_of(path_ / "model.h5"), "x");
  EXPECT_TRUE(fs::exists(checkpoint));
  RunFolder(path_).make_ready(RunFolder::Earlier::kGoes);
  EXPECT_FALSE(fs::exists(checkpoint));
  for (const std::string& file : files) {
    EXPECT_FALSE(fs::exists(path_ / file)) << file;
  }
  EXPECT_EQ(text_of(path_ / "notes.txt"), "mine");
}

TEST_F(RunFolderTest, WhatKilledWritersLeftGoes) {
  const RunFolder folder(path_);
  folder.prepare();
  folder.make_ready(RunFolder::Earlier::kStays);
  const std::vector<fs::path> left = {path_ / ".model.h5.7-0.tmp",
                                      path_ / "checkpoints" / ".step-000000002.h5.7-1.tmp"};
  for (const fs::path& file : left) {
    write(file, "half a file");
  }
  write(folder.checkpoint(1));
  folder.make_ready(RunFolder::Earlier::kStays);
  for (const fs::path& file : left) {
    EXPECT_FALSE(fs::exists(file)) << file;
  }
  EXPECT_TRUE(fs::exists(folder.checkpoint(1)));
}

TEST_F(RunFolderTest, AFileInTheFoldersPlace) {
  fs::create_directories(path_.parent_path());
  write(path_);
  EXPECT_THAT(message_of<IoError>([&] { RunFolder(path_).prepare(); }),
              ::testing::StartsWith("the output folder " + path_.string() + " cannot be "));
  EXPECT_EQ(text_of(path_), "x");
  const fs::path below = path_ / "deeper";
  EXPECT_EQ(message_of<IoError>([&] { RunFolder(below).prepare(); }),
            "the output folder " + below.string() + " cannot be made: Not a directory");
}

TEST_F(RunFolderTest, WritesTheFilesOfARunsLife) {
  RunFolder folder(path_);
  folder.prepare();
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

TEST_F(RunFolderTest, ChecksStepsInTheNamesOfCheckpoints) {
  const RunFolder folder(path_);
  EXPECT_EQ(folder.checkpoint(1500), path_ / "checkpoints" / "step-000001500.h5");
  EXPECT_TRUE(folder.checkpoints().empty());
  fs::create_directories(path_ / "checkpoints");
  for (const char* name :
       {"step-000000020.h5", "step-000000003.h5", "step-1234567890123.h5", "step-12.h5",
        "step-000000004.h5x", ".step-000000005.h5.12-0.tmp", "step-x.h5"}) {
    write(path_ / "checkpoints" / name);
  }
  EXPECT_THAT(folder.checkpoints(), ::testing::ElementsAre(3, 20, 1234567890123));
  folder.remove_checkpoints_behind(3);
  EXPECT_THAT(folder.checkpoints(), ::testing::ElementsAre(3));
}

TEST_F(RunFolderTest, CutsMetricsBehindAStepAndWhatACrashLeft) {
  RunFolder folder(path_);
  folder.prepare();
  write(path_ / "metrics.jsonl",
        "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"ends_stage\":true}\n{\"step\":3}\n{\"ste");
  folder.cut_metrics(2, false);
  EXPECT_EQ(text_of(path_ / "metrics.jsonl"),
            "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"ends_stage\":true}\n");
  folder.cut_metrics(2, true);  // the stage goes on: what its end had written is not part of it
  EXPECT_EQ(text_of(path_ / "metrics.jsonl"), "{\"step\":1}\n{\"step\":2}\n");
  folder.append_metrics({{"step", 3}});
  EXPECT_EQ(text_of(path_ / "metrics.jsonl"), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
}

TEST_F(RunFolderTest, LinesThatCannotBeWrittenAreKeptUntilTheyCan) {
  RunFolder folder(path_);
  folder.prepare();
  fs::create_directories(path_ / "metrics.jsonl");  // nothing can be appended to a folder
  folder.append_metrics({{"step", 1}});
  folder.append_metrics({{"step", 2}});
  EXPECT_THAT(
      message_of<IoError>([&] { folder.flush_metrics(); }),
      ::testing::StartsWith((path_ / "metrics.jsonl").string() + " cannot be written to: "));
  fs::remove_all(path_ / "metrics.jsonl");
  folder.append_metrics({{"step", 3}});
  EXPECT_EQ(text_of(path_ / "metrics.jsonl"), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
}

TEST_F(RunFolderTest, ARunThatLostTheLockWritesNothing) {
  RunFolder folder(path_);
  folder.prepare();
  write(path_ / "lock.json", R"({"run": "other", "where": "node7:12"})");
  folder.write_as("mine");
  const std::string lost = "the lock of " + path_.string() +
                           " is lost (it is node7:12's now): this run writes nothing more there";
  EXPECT_EQ(message_of<IoError>([&] { folder.write_status("running", 1, 0); }), lost);
  EXPECT_EQ(message_of<IoError>([&] { folder.write_summary({}); }), lost);
  EXPECT_EQ(message_of<IoError>([&] { folder.append_metrics({{"step", 1}}); }), lost);
  EXPECT_EQ(message_of<IoError>([&] { folder.make_ready(RunFolder::Earlier::kGoes); }), lost);
  EXPECT_FALSE(fs::exists(path_ / "status.json"));
  EXPECT_FALSE(fs::exists(path_ / "metrics.jsonl"));
}

TEST_F(RunFolderTest, ErrorsWithoutARunGoNowhere) {
  RunFolder(path_).append_error("lost");
  EXPECT_FALSE(fs::exists(path_));
}

}  // namespace
}  // namespace gentrain::trainers
