// Going on from checkpoints: the same bytes as without a stop, whatever the ranks and threads; and
// what is refused.
#include "trainers/resume.h"

#include <thread>

#include <gmock/gmock.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/resume_runs.h"
#include "trainers/run_lock.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Unit = CheckpointOptions::Unit;
using Kind = RunResult::Kind;

TEST_F(ResumeTest, FromEveryStepOnOtherRanksAndThreadsTheSameBytesAndMetrics) {
  const RunResult straight = train(setting("straight"));
  ASSERT_EQ(straight.kind, Kind::kFinished);
  write_every_checkpoint("straight");
  const std::vector<std::string> lines = metrics("straight");
  const RunFolder folder(base_ / "straight");
  ASSERT_THAT(folder.checkpoints(), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  for (const std::int64_t step : folder.checkpoints()) {
    const int ranks = static_cast<int>(step % 3) + 1;
    options_.threads = step % 2 + 1;
    RunSetting again = setting(fmt::format("from{}", step));
    again.resume = {ResumeOptions::Mode::kPath, folder.checkpoint(step)};
    const RunResult resumed = train(again, ranks);
    EXPECT_EQ(resumed.summary["state_sha256"], straight.summary["state_sha256"]) << step;
    EXPECT_EQ(resumed.summary["metrics"], straight.summary["metrics"]) << step;
    EXPECT_EQ(resumed.summary["best_step"], straight.summary["best_step"]) << step;
    EXPECT_EQ(resumed.summary["train"], straight.summary["train"]) << step;
    EXPECT_EQ(resumed.summary["steps"], 8);
    const std::vector<std::string> rest = metrics(fmt::format("from{}", step));
    const auto first = std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return nlohmann::json::parse(line)["step"].get<std::int64_t>() > step;
    });
    EXPECT_EQ(rest, std::vector<std::string>(first, lines.end())) << step;
  }
}

TEST_F(ResumeTest, AChangedCheckpointChangesTheBytes) {
  const RunResult straight = train(setting("straight"));
  write_every_checkpoint("straight");
  const fs::path path = RunFolder(base_ / "straight").checkpoint(4);
  io::ArrayFile file = io::read_array_file(path, io::FileKind::kCheckpoint);
  const auto momentum = std::find_if(file.arrays.begin(), file.arrays.end(), [](const auto& array) {
    return array.name.starts_with("optimizer/");
  });
  ASSERT_NE(momentum, file.arrays.end());
  momentum->values[3] += 1.0F;
  io::write_array_file(path, file);
  RunSetting again = setting("changed");
  again.resume = {ResumeOptions::Mode::kPath, path};
  EXPECT_NE(train(again).summary["state_sha256"], straight.summary["state_sha256"]);
}

TEST_F(ResumeTest, AFinishedRunIsLeftAloneAndARaisedStopExtendsIt) {
  options_.stages[0].stop.steps = 12;  // two epochs
  const RunResult straight = train(setting("straight"));
  options_.stages[0].stop.steps = 5;
  ASSERT_EQ(train(setting("run")).kind, Kind::kFinished);
  const auto before = fs::last_write_time(base_ / "run");
  EXPECT_EQ(train(setting("run"), 2).kind, Kind::kNothingToDo);
  EXPECT_EQ(fs::last_write_time(base_ / "run"), before);
  options_.stages[0].stop.steps = 12;
  const RunResult extended = train(setting("run"), 2);
  EXPECT_EQ(extended.kind, Kind::kFinished);
  EXPECT_EQ(extended.summary["weights_sha256"], straight.summary["weights_sha256"]);
  EXPECT_EQ(metrics("run"), metrics("straight"));
  options_.stages[0].stop.steps = 7;
  const std::string run_before = text_of("run/run.json");
  EXPECT_EQ(message_of<JobError>([&] { train_alone(setting("run")); }),
            (base_ / "run/checkpoints/step-000000012.h5").string() +
                ": stage train has taken 12 steps already, but its stop is now at 7");
  EXPECT_EQ(text_of("run/run.json"), run_before);
  EXPECT_THAT(text_of("run/status.json"), HasSubstr("finished"));
  options_.stages[0].stop.steps = 12;
  EXPECT_EQ(train(setting("run")).kind, Kind::kNothingToDo);
}

TEST_F(ResumeTest, AStartThatNeverBeginsLeavesTheEarlierRunEvenIfItIsToBeOverwritten) {
  train(setting("run"));
  options_.stages[0].trainable = {Pattern{"nope*", ""}};
  RunSetting over = setting("run");
  over.overwrite = true;
  EXPECT_THAT(message_of<JobError>([&] { train_alone(over); }),
              HasSubstr("'nope*' matches no parameter"));
  EXPECT_TRUE(fs::exists(base_ / "run" / "model.h5"));
  EXPECT_THAT(text_of("run/status.json"), HasSubstr("finished"));
  EXPECT_EQ(RunFolder(base_ / "run").checkpoints().back(), 8);
}

TEST_F(ResumeTest, ANamedCheckpointOverAnotherRunTakesItsPlaceWhole) {
  const RunResult straight = train(setting("straight"));
  write_every_checkpoint("straight");
  options_.seed = 9;
  options_.stages[0].stop.steps = 12;
  RunSetting other = setting("run");
  other.same_job = other.identity = "seed: 9\n";
  train(other);
  options_.seed = 7;
  options_.stages[0].stop.steps = 8;
  RunSetting from = setting("run");
  from.overwrite = true;
  from.resume = {ResumeOptions::Mode::kPath, RunFolder(base_ / "straight").checkpoint(4)};
  EXPECT_EQ(train(from).summary["state_sha256"], straight.summary["state_sha256"]);
  EXPECT_EQ(RunFolder(base_ / "run").checkpoints().back(), 8);
  EXPECT_THAT(metrics("run").front(), HasSubstr("\"step\":5"));
}

TEST_F(ResumeTest, TheSameCommandWithANamedCheckpointGoesOn) {
  const RunResult straight = train(setting("straight"));
  write_every_checkpoint("straight");
  RunSetting from = setting("run");
  from.resume = {ResumeOptions::Mode::kPath, RunFolder(base_ / "straight").checkpoint(4)};
  train(from);
  EXPECT_EQ(train(from).kind, Kind::kNothingToDo);
  fs::remove(base_ / "run" / "summary.json");  // as if killed before
  const RunResult again = train(from);
  EXPECT_EQ(again.summary["state_sha256"], straight.summary["state_sha256"]);
  EXPECT_THAT(metrics("run").front(), HasSubstr("\"step\":5"));
}

TEST_F(ResumeTest, ACheckpointOfAnotherJobInTheFolderIsPassedOver) {
  const RunResult straight = train(setting("run"));
  write_every_checkpoint("run");
  const RunFolder folder(base_ / "run");
  io::ArrayFile file = io::read_array_file(folder.checkpoint(8), io::FileKind::kCheckpoint);
  file.header["same_job"] = "seed: 9\n";
  io::write_array_file(folder.checkpoint(8), file);
  fs::remove(base_ / "run" / "summary.json");
  const auto single = comm::make_single();
  const Beginning beginning = choose_beginning(setting("run"), options_, folder, *single);
  EXPECT_EQ(beginning.source, folder.checkpoint(7).string());
  EXPECT_THAT(beginning.passed_over, ElementsAre(8));
  EXPECT_EQ(train(setting("run")).summary["state_sha256"], straight.summary["state_sha256"]);
}

TEST_F(ResumeTest, ACheckpointThatCannotBeReadIsNotTakenForDamaged) {
  train(setting("run"));
  const RunFolder folder(base_ / "run");
  const fs::path newest = folder.checkpoint(folder.checkpoints().back());
  fs::remove(base_ / "run" / "summary.json");
  fs::remove(newest);
  fs::create_directories(newest);  // opens, but cannot be read
  EXPECT_THAT(message_of<IoError>([&] { train_alone(setting("run")); }),
              StartsWith(newest.string() + ": "));
  EXPECT_TRUE(fs::exists(newest));
}

TEST_F(ResumeTest, PatienceGoesOnToo) {
  options_.stages[0].stop.steps = 60;
  options_.early_stop = {.metric = Metric::kLoss, .patience = 2, .min_delta = 0.5};
  const RunResult straight = train(setting("straight"));
  const std::int64_t steps = straight.summary["steps"];
  ASSERT_LT(steps, 60);  // it was ended early
  ASSERT_GT(steps, 17);
  write_every_checkpoint("straight");
  for (const std::int64_t step : {7, 12, 17}) {
    RunSetting from = setting(fmt::format("from{}", step));
    from.resume = {ResumeOptions::Mode::kPath, RunFolder(base_ / "straight").checkpoint(step)};
    const RunResult resumed = train(from, 2);
    EXPECT_EQ(resumed.summary["steps"], steps);
    EXPECT_EQ(resumed.summary["state_sha256"], straight.summary["state_sha256"]);
  }
}

TEST_F(ResumeTest, TheNewestValidCheckpointIsTakenAndDamagedOnesArePassedOver) {
  const RunResult straight = train(setting("run"));
  write_every_checkpoint("run");
  const RunFolder folder(base_ / "run");
  std::vector<std::int64_t> steps = folder.checkpoints();
  ASSERT_GT(steps.size(), 3U);
  flip_a_bit(folder.checkpoint(steps.back()));
  fs::resize_file(folder.checkpoint(steps[steps.size() - 2]), 1000);
  fs::remove(base_ / "run" / "summary.json");  // as if killed before
  const auto single = comm::make_single();
  EXPECT_EQ(choose_beginning(setting("run"), options_, folder, *single).source,
            folder.checkpoint(steps[steps.size() - 3]).string());
  const RunResult again = train(setting("run"), 2);
  EXPECT_EQ(again.summary["state_sha256"], straight.summary["state_sha256"]);
}

TEST_F(ResumeTest, WithoutAValidCheckpointARunStartsFromTheBeginning) {
  const RunResult straight = train(setting("run"));
  write_every_checkpoint("run");
  const RunFolder folder(base_ / "run");
  for (const std::int64_t step : folder.checkpoints()) {
    flip_a_bit(folder.checkpoint(step));
  }
  fs::remove(base_ / "run" / "summary.json");
  EXPECT_EQ(train(setting("run")).summary["state_sha256"], straight.summary["state_sha256"]);
}

TEST_F(ResumeTest, ARunOfAnotherJobIsNotTouched) {
  train(setting("run"));
  RunSetting other = setting("run");
  other.same_job = "optimizer.lr: 0.2\nseed: 7\n";
  other.identity = other.same_job;
  const std::string refused =
      " holds a run of another job (optimizer.lr: 0.1 there, 0.2 here): start anew over it with "
      "--overwrite, or write elsewhere with --set output=FOLDER";
  EXPECT_EQ(message_of<JobError>([&] { train_alone(other); }), (base_ / "run").string() + refused);
  EXPECT_TRUE(fs::exists(base_ / "run" / "summary.json"));
  const fs::path checkpoint = RunFolder(base_ / "run").checkpoint(8);
  other.output = base_ / "elsewhere";
  other.resume = {ResumeOptions::Mode::kPath, checkpoint};
  EXPECT_EQ(message_of<JobError>([&] { train_alone(other); }), checkpoint.string() + refused);
}

TEST_F(ResumeTest, NeverStartsAnewOnlyWhereAsked) {
  train(setting("run"));
  RunSetting never = setting("run");
  never.resume.mode = ResumeOptions::Mode::kNever;
  EXPECT_EQ(message_of<JobError>([&] { train_alone(never); }),
            (base_ / "run").string() +
                " holds a run already: start anew over it with --overwrite, or write elsewhere "
                "with --set output=FOLDER");
  never.overwrite = true;
  EXPECT_EQ(train(never).kind, Kind::kFinished);
}

TEST_F(ResumeTest, ANamedCheckpointMustBeWholeAndBelongHere) {
  train(setting("run"));
  write_every_checkpoint("run");
  const RunFolder folder(base_ / "run");
  RunSetting from = setting("other");
  from.resume = {ResumeOptions::Mode::kPath, base_ / "nowhere"};
  EXPECT_THAT(message_of<IoError>([&] { train_alone(from); }),
              "--resume " + (base_ / "nowhere").string() +
                  ": there is no such checkpoint or folder (known words: auto, never)");
  flip_a_bit(folder.checkpoint(4));
  from.resume.path = folder.checkpoint(4);
  EXPECT_THAT(message_of<IoError>([&] { train_alone(from); }), HasSubstr("is damaged"));
  fs::create_directories(base_ / "empty");
  from.resume.path = base_ / "empty";
  EXPECT_EQ(message_of<IoError>([&] { train_alone(from); }),
            "--resume " + (base_ / "empty").string() +
                ": there is no valid checkpoint of this job in its folder checkpoints");
  from.resume.path = base_ / "run";
  EXPECT_EQ(train(from).kind, Kind::kFinished);
  from.output = base_ / "run";
  from.resume.path = RunFolder(base_ / "other").checkpoint(8);
  EXPECT_THAT(message_of<JobError>([&] { train_alone(from); }),
              HasSubstr("is not its checkpoint: start over it with --overwrite"));
}

TEST_F(ResumeTest, OtherDataAreRefused) {
  options_.stages[0].stop.steps = 5;
  train(setting("run"));
  options_.stages[0].stop.steps = 8;
  options_.data.seed = 2;
  EXPECT_THAT(message_of<JobError>([&] { train_alone(setting("run")); }),
              HasSubstr("step-000000005.h5: the run was on other data ("));
}

TEST_F(ResumeTest, ACheckpointOfAnotherNetworkIsNamed) {
  options_.stages[0].stop.steps = 5;
  train(setting("run"));
  options_.stages[0].stop.steps = 8;
  options_.model.name.clear();
  options_.model.layers = {layer_of(LayerKind::kFlatten), linear_layer(10)};
  EXPECT_THAT(message_of<IoError>([&] { train_alone(setting("run")); }),
              HasSubstr("step-000000005.h5: has no array weights/linear1/weight"));
}

TEST_F(ResumeTest, KeepsTheNewestAndTheBest) {
  options_.checkpoint.keep = 2;
  options_.stages[0].stop.steps = 30;
  options_.best = {.metric = Metric::kLoss, .mode = MetricMode::kMax};  // the first is the best
  const RunResult result = train(setting("run"));
  EXPECT_EQ(result.summary["best_step"], 6);
  const std::vector<std::int64_t> steps = RunFolder(base_ / "run").checkpoints();
  // That of the best evaluation, or the first behind it if the writer was busy then.
  EXPECT_GE(steps.front(), 6);
  EXPECT_LT(steps.front(), 25);
  EXPECT_LE(steps.size(), 3U);
  EXPECT_EQ(steps.back(), 30);
}

TEST_F(ResumeTest, KeepsTheNewestAloneWhereNoneIsTheBest) {
  options_.checkpoint.keep = 2;
  options_.stages[0].stop.steps = 30;
  options_.best.metric = Metric::kNone;
  EXPECT_FALSE(train(setting("run")).summary.contains("best_step"));
  const std::vector<std::int64_t> steps = RunFolder(base_ / "run").checkpoints();
  EXPECT_EQ(steps.size(), 2U);
  EXPECT_GT(steps.front(), 6) << "the first one goes too";
  EXPECT_EQ(steps.back(), 30);
}

TEST_F(ResumeTest, ACheckpointThatCannotBeWrittenSaysWhichIsTheNewest) {
  RunFolder folder(base_);
  fs::create_directories(base_ / "checkpoints");
  const ParameterSet none;
  CheckpointWriter writer(folder, none, 2);
  Snapshot snapshot;
  snapshot.step = 5;
  writer.start(snapshot);
  writer.finish();
  fs::create_directories(base_ / "metrics.jsonl");  // cannot be synced before it
  snapshot.step = 6;
  writer.start(snapshot);
  EXPECT_EQ(message_of<IoError>([&] { writer.finish(); }),
            "the checkpoint of step 6 is not written: " + (base_ / "metrics.jsonl").string() +
                ": open failed: Is a directory; the newest is " + folder.checkpoint(5).string());
  EXPECT_THAT(folder.checkpoints(), ElementsAre(5));
}

TEST_F(ResumeTest, AWriterHandsTheVectorsOfASnapshotOutAgain) {
  RunFolder folder(base_);
  fs::create_directories(base_ / "checkpoints");
  ParameterSet parameters;
  parameters.add("w", {3}, {}, 1, 1);
  CheckpointWriter writer(folder, parameters, 2);
  EXPECT_THAT(writer.spare(), testing::IsEmpty());
  Snapshot snapshot;
  snapshot.step = 5;
  snapshot.header = nlohmann::json::object();
  snapshot.arenas.push_back({"weights", {1, 2, 3, 0}});
  const float* const lies = snapshot.arenas[0].values.data();
  writer.start(std::move(snapshot));
  while (writer.writing()) {
    std::this_thread::yield();
  }
  const io::ArrayFile file = io::read_array_file(folder.checkpoint(5), io::FileKind::kCheckpoint);
  EXPECT_EQ(io::find_array(file.arrays, "weights/w")->values, (std::vector<float>{1, 2, 3}));
  Snapshot next;
  next.step = 6;
  next.header = nlohmann::json::object();
  next.arenas.push_back({"weights", writer.spare()});
  EXPECT_EQ(next.arenas[0].values.data(), lies);
  EXPECT_THAT(writer.spare(), testing::IsEmpty());
  writer.start(std::move(next));
  writer.finish();
  EXPECT_THAT(writer.spare(), testing::IsEmpty()) << "the end gives the memory back";
}

TEST_F(ResumeTest, AWriterThatLostTheLockWritesNothingAndSaysSo) {
  RunFolder folder(base_);
  fs::create_directories(base_ / "checkpoints");
  const ParameterSet none;
  CheckpointWriter writer(folder, none, 2);
  std::optional<RunLock> lock(base_);
  folder.write_as(lock->id());
  Snapshot snapshot;
  snapshot.step = 5;
  writer.start(snapshot);
  writer.finish();
  lock.reset();
  snapshot.step = 6;
  EXPECT_THAT(message_of<LostLockError>([&] {
                writer.start(snapshot);
                writer.finish();
              }),
              HasSubstr("this run writes nothing more there"));
  EXPECT_THAT(folder.checkpoints(), ElementsAre(5));
}

TEST_F(ResumeTest, StagesThatHaveEndedCannotBeChanged) {
  options_.stages.push_back(options_.stages[0]);
  options_.stages[0].name = "one";
  options_.stages[1].name = "two";
  options_.stages[0].stop.steps = 3;
  train(setting("run"));
  options_.stages[0].stop.steps = 4;
  RunSetting changed = setting("run");
  changed.identity += "x";
  EXPECT_EQ(message_of<JobError>([&] { train_alone(changed); }),
            (base_ / "run/checkpoints/step-000000011.h5").string() +
                ": stage one has ended and stage two has begun: the stop of one cannot be changed "
                "any more");
}

TEST_F(ResumeTest, NoCheckpointsWhereNoneAreWanted) {
  for (const Unit unit : {Unit::kNever, Unit::kEnd}) {
    options_.checkpoint.every = {unit, 1};
    RunSetting never = setting(unit == Unit::kNever ? "never" : "end");
    train(never);
    const bool end = unit == Unit::kEnd;
    EXPECT_EQ(RunFolder(never.output).checkpoints().size(), end ? 1U : 0U);
    EXPECT_EQ(fs::exists(never.output / "model.h5"), end);
    EXPECT_EQ(train(never).kind, Kind::kNothingToDo);
  }
  options_.checkpoint.every.unit = Unit::kNever;
  options_.stages[0].stop.steps = 9;
  EXPECT_EQ(message_of<JobError>([&] { train_alone(setting("never")); }),
            (base_ / "never").string() +
                " holds this run, finished with another stop, but no checkpoint to go on from: "
                "start anew with --overwrite");
}

TEST_F(ResumeTest, InitialWeightsComeFromAFileWholeOrByPattern) {
  train(setting("run"));
  const fs::path model = base_ / "run" / "model.h5";
  const auto weights_of = [&](const InitFromOptions& from) {
    TrainOptions options = options_;
    options.init_from = from;
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    std::vector<std::vector<float>> all;
    for (int i = 0; i < run.parameters().size(); ++i) {
      all.push_back(copy_to_host<float>(run.device(), run.runner().queue(), run.parameters()[i]));
    }
    return all;
  };
  const auto fresh = weights_of({});
  const auto whole = weights_of({model.string(), {Pattern{}}});
  const auto part = weights_of({model.string(), {Pattern{"conv*", ""}}});
  const io::ArrayFile file = io::read_array_file(model, io::FileKind::kModel);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i], file.arrays[i].values);
    const bool conv = file.arrays[i].name.starts_with("conv");
    EXPECT_EQ(part[i], conv ? whole[i] : fresh[i]) << file.arrays[i].name;
  }
  const fs::path checkpoint = RunFolder(base_ / "run").checkpoint(8);
  EXPECT_NE(weights_of({checkpoint.string(), {Pattern{}}}), fresh);
  EXPECT_THAT(message_of<JobError>([&] {
                weights_of({model.string(), {Pattern{"dense*", "j.yaml:3:4"}}});
              }),
              StartsWith("j.yaml:3:4: the init_from pattern 'dense*' matches no parameter"));
  options_.model.name.clear();
  options_.model.layers = {layer_of(LayerKind::kFlatten), linear_layer(10)};
  EXPECT_EQ(message_of<IoError>([&] {
              weights_of({model.string(), {Pattern{}}});
            }),
            model.string() +
                ": has no array linear1/weight (init_from.parameters says which are "
                "taken)");
}

}  // namespace
}  // namespace gentrain::trainers
