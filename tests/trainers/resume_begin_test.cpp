// How a run begins where an earlier start was cut off, at whatever moment: nothing is lost, and
// nothing that is finished is touched.
#include <gmock/gmock.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/resume_runs.h"
#include "trainers/run_log.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = RunResult::Kind;

class BeginTest : public ResumeTest {
 protected:
  /// A run that began with a checkpoint of another folder and was killed before its own first one.
  RunSetting begun_from(std::int64_t step) {
    write_every_checkpoint("straight");
    RunSetting from = setting("run");
    from.resume = {ResumeOptions::Mode::kPath, RunFolder(base_ / "straight").checkpoint(step)};
    train(from);
    remove_results();
    RunFolder(base_ / "run").remove_checkpoints_behind(-1);
    return from;
  }
  /// As if the run had been killed before its end.
  void remove_results() const {
    for (const char* file : {"summary.json", "model.h5", "status.json"}) {
      fs::remove(base_ / "run" / file);
    }
  }
  std::vector<std::string> files_with_times(const std::string& folder) const {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(base_ / folder)) {
      const auto time = entry.last_write_time().time_since_epoch().count();
      files.push_back(fmt::format("{} {}", entry.path().string(), time));
    }
    std::sort(files.begin(), files.end());
    return files;
  }
};

TEST_F(BeginTest, WithoutACheckpointOfItsOwnItBeginsWithTheNamedOneAgain) {
  const RunResult straight = train(setting("straight"));
  const RunSetting same = begun_from(4);
  EXPECT_EQ(train(same).summary["state_sha256"], straight.summary["state_sha256"]);
  EXPECT_THAT(metrics("run").front(), HasSubstr("\"step\":5"));
}

TEST_F(BeginTest, TheLauncherThatOnlySaysAutoDoesToo) {
  const RunResult straight = train(setting("straight"));
  begun_from(4);
  EXPECT_EQ(train(setting("run"), 2).summary["state_sha256"], straight.summary["state_sha256"]);
  EXPECT_THAT(metrics("run").front(), HasSubstr("\"step\":5"));
  EXPECT_THAT(text_of("run/run.json"), HasSubstr("step-000000004.h5"));
}

TEST_F(BeginTest, AFolderWithRunJsonAloneIsBegunAgain) {
  const RunResult straight = train(setting("straight"));
  train(setting("run"));
  remove_results();
  RunFolder(base_ / "run").remove_checkpoints_behind(-1);
  fs::remove(base_ / "run" / "metrics.jsonl");
  EXPECT_EQ(train(setting("run")).summary["state_sha256"], straight.summary["state_sha256"]);
  EXPECT_EQ(metrics("run"), metrics("straight"));
}

TEST_F(BeginTest, WhateverIsLeftOfARunThatIsRemovedSaysWhoseItIs) {
  train(setting("run"));
  const RunFolder folder(base_ / "run");
  folder.make_ready(RunFolder::Earlier::kGoes);
  EXPECT_FALSE(folder.holds_run());
  EXPECT_FALSE(fs::exists(base_ / "run" / "status.json"));
  EXPECT_THAT(folder.checkpoints(), ElementsAre());
}

TEST_F(BeginTest, ANamedCheckpointOfTheFinishedRunItselfChangesNothing) {
  train(setting("run"));
  leave_log_file();  // here it stays open behind the end of a run
  const auto before = files_with_times("run");
  const RunFolder folder(base_ / "run");
  RunSetting from = setting("run");
  for (const fs::path& path : {folder.path(), folder.checkpoint(folder.checkpoints().back())}) {
    from.resume = {ResumeOptions::Mode::kPath, path};
    EXPECT_EQ(train(from).kind, Kind::kNothingToDo);
  }
  EXPECT_EQ(train(setting("run")).kind, Kind::kNothingToDo);
  EXPECT_EQ(files_with_times("run"), before);
}

TEST_F(BeginTest, GoingBackRemovesWhatIsBehindBeforeAnythingElse) {
  const RunResult straight = train(setting("run"));
  write_every_checkpoint("run");
  RunSetting back = setting("run");
  back.resume = {ResumeOptions::Mode::kPath, RunFolder(base_ / "run").checkpoint(3)};
  const auto lines = metrics("run");
  EXPECT_EQ(train(back).summary["state_sha256"], straight.summary["state_sha256"]);
  EXPECT_EQ(metrics("run"), lines);
}

TEST_F(BeginTest, AStepLessEndTellsNoSpeeds) {
  train(setting("run"));
  remove_results();
  const RunResult ended = train(setting("run"));
  EXPECT_EQ(ended.kind, Kind::kFinished);
  EXPECT_FALSE(ended.summary.contains("step_ms"));
  EXPECT_EQ(ended.summary["steps"], 8);
}

TEST_F(BeginTest, DamagedCheckpointsGoOnceANewOneIsSafe) {
  options_.checkpoint.keep = 2;
  train(setting("run"));
  const RunFolder folder(base_ / "run");
  for (const std::int64_t step : folder.checkpoints()) {
    flip_a_bit(folder.checkpoint(step));
  }
  remove_results();
  options_.checkpoint.every = {CheckpointOptions::Unit::kSteps, 3};
  options_.best.metric = Metric::kNone;
  train(setting("run"));
  EXPECT_THAT(folder.checkpoints(), Not(Contains(7)));
  EXPECT_NO_THROW(io::read_array_file(folder.checkpoint(8), io::FileKind::kCheckpoint));
}

TEST_F(BeginTest, MetricsThatCannotBeReadAreNotForgotten) {
  train(setting("run"));
  remove_results();
  fs::remove(base_ / "run" / "metrics.jsonl");
  fs::create_directories(base_ / "run" / "metrics.jsonl");
  EXPECT_THAT(message_of<IoError>([&] { train_alone(setting("run")); }),
              HasSubstr("metrics.jsonl"));
}

TEST_F(BeginTest, CheckpointsThatCannotBeListedAreNotTakenForNone) {
  train(setting("run"));
  remove_results();
  fs::remove_all(base_ / "run" / "checkpoints");
  std::ofstream(base_ / "run" / "checkpoints") << "no folder";
  EXPECT_THAT(message_of<IoError>([&] { train_alone(setting("run")); }),
              HasSubstr("checkpoints cannot be listed: Not a directory"));
}

TEST_F(BeginTest, RanksMustTakeCheckpointsTogether) {
  std::string message;
  run_ranks(2, [&](comm::Communicator& communicator) {
    TrainOptions mine = options_;
    mine.checkpoint.every.count = 1 + communicator.rank();
    try {
      trainers::train(mine, setting("run"), communicator);
    } catch (const CommError& error) {
      if (communicator.rank() == 0) {
        message = error.what();
      }
    }
  });
  EXPECT_THAT(message, HasSubstr("runs with another checkpoint.every than rank 0"));
}

}  // namespace
}  // namespace gentrain::trainers
