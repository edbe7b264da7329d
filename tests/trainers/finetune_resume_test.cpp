// Fine-tuning that goes on: with the weights that it began with, and no others.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/keras_file.h"
#include "tests/trainers/finetune_runs.h"
#include "tests/trainers/resume_runs.h"
#include "tests/trainers/whole_models.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::HasSubstr;

class FinetuneResume : public ResumeTest {
 protected:
  FinetuneResume() {
    write_classes(base_ / "set/train", 5);
    write_classes(base_ / "set/validation", 1);
    options_.batch = {.global = 6, .shards = 4};
    options_.data = {};
    options_.data.source = DataOptions::Source::kFolder;
    options_.data.path = (base_ / "set").string();
    options_.data.height = options_.data.width = 40;
    options_.data.cache = (base_ / "cache").string();
    options_.model = {};
    options_.model.name = "squeezenet";
    options_.model.pretrained.hidden = 8;
    options_.weights.allow_missing = {{"fire*", ""}};
    options_.stages[0].freeze.through.text = "fire8/concat";
    options_.stages[0].optimizer.lr = 0.01;
    options_.best.metric = Metric::kNone;  // a run ends with the weights of its last step
  }

  /// A file of the first convolution, whose weights are all `value`; and its hash.
  std::pair<std::string, std::string> weights(const std::string& name, double value) const {
    const fs::path path = base_ / name;
    test::write_keras_file(path, {{"conv1",
                                   {{"kernel:0", {3, 3, 3, 64}, std::vector(9 * 3 * 64, value)},
                                    {"bias:0", {64}, std::vector(64, 1.0)}}}});
    const io::Bytes bytes = io::read_file(path);
    return {path.string(),
            io::sha256({reinterpret_cast<const std::byte*>(bytes.data.get()), bytes.size})};
  }
  void steps(std::int64_t count) { options_.stages[0].stop.steps = count; }
};

TEST_F(FinetuneResume, GoesOnToTheSameBytesWithTheSameFileAlone) {
  const auto [a, hash_of_a] = weights("a.h5", 0.01);
  const auto [b, hash_of_b] = weights("b.h5", 0.02);
  options_.weights.file = a;
  steps(3);
  const auto straight = train(setting("straight")).summary["weights_sha256"];
  steps(1);
  train(setting("run"));
  steps(3);
  options_.weights.file = b;
  EXPECT_EQ(message_of<JobError>([&] { train_alone(setting("run")); }),
            (base_ / "run/checkpoints/step-000000001.h5").string() +
                ": the run was trained with weights " + hash_of_a + ", but now there is weights " +
                hash_of_b);
  options_.weights.file = a;
  EXPECT_EQ(train(setting("run"), 3).summary["weights_sha256"], straight);
}

/// The checkpoint has all weights, and knows which file they began with.
TEST_F(FinetuneResume, GoesOnWithoutTheFileThatItBeganWith) {
  const auto [a, hash_of_a] = weights("a.h5", 0.01);
  options_.weights.file = a;
  steps(3);
  const auto straight = train(setting("straight")).summary["weights_sha256"];
  steps(1);
  train(setting("run"));
  fs::remove(a);
  steps(2);
  EXPECT_EQ(train(setting("run"), 2).kind, RunResult::Kind::kFinished);
  steps(3);
  const auto [b, hash_of_b] = weights("a.h5", 0.02);
  EXPECT_EQ(message_of<JobError>([&] { train_alone(setting("run")); }),
            (base_ / "run/checkpoints/step-000000002.h5").string() +
                ": the run was trained with weights " + hash_of_a + ", but now there is weights " +
                hash_of_b);
  fs::remove(b);
  EXPECT_EQ(train_alone(setting("run")).summary["weights_sha256"], straight);
  EXPECT_THAT(text_of("run/environment.json"),
              HasSubstr("weights: those of the checkpoint, of a run that began with weights " +
                        hash_of_a + " (" + a + ": "));
}

/// One that was found counts as little as one that is gone.
TEST_F(FinetuneResume, GoesOnWithoutTheFileThatItFound) {
  fs::create_directories(base_ / "weights");
  const DataFolder data(base_);
  const auto [a, hash_of_a] = weights("weights/squeezenet_a.h5", 0.01);
  steps(2);
  const auto straight = train(setting("straight")).summary["weights_sha256"];
  for (const bool other : {false, true}) {
    const std::string name = other ? "other" : "none";
    weights("weights/squeezenet_a.h5", 0.01);
    steps(1);
    train(setting(name));
    fs::remove(a);
    if (other) {
      weights("weights/squeezenet_b.h5", 0.02);
    }
    steps(2);
    EXPECT_EQ(train_alone(setting(name)).summary["weights_sha256"], straight) << name;
  }
}

/// Where a job began with a model, the checkpoint has all weights and no file is looked for.
TEST_F(FinetuneResume, GoesOnWithoutTheModelThatItBeganWith) {
  options_.weights = {};
  options_.weights.file = "random";
  steps(1);
  train(setting("first"));
  options_.weights = {};
  options_.init_from.file = (base_ / "first/model.h5").string();
  steps(2);
  const auto straight = train(setting("straight")).summary["weights_sha256"];
  steps(1);
  EXPECT_NE(train(setting("run")).summary["weights_sha256"], straight);
  fs::remove_all(base_ / "first");
  steps(2);
  EXPECT_EQ(train_alone(setting("run")).summary["weights_sha256"], straight);
}

/// The checkpoint has the graph too; another file under the same name is another network.
TEST_F(FinetuneResume, GoesOnWithoutTheWholeModelThatItBeganWith) {
  const fs::path file = base_ / "x.h5";
  write_whole_model(file);
  options_.model = {};
  options_.model.imported.file = file.string();
  options_.model.imported.preprocess = Preprocessing::kInception;
  options_.data.height = options_.data.width = 0;
  options_.weights = {};
  options_.stages[0].freeze.through.text = "norm";
  steps(3);
  const auto straight = train(setting("straight")).summary["weights_sha256"];
  steps(1);
  train(setting("run"));
  EXPECT_THAT(text_of("run/environment.json"), HasSubstr("10 of 10 parameters read"));
  steps(3);
  write_whole_model(file, {.scale = 2});
  EXPECT_THAT(message_of<JobError>([&] { train_alone(setting("run")); }),
              HasSubstr(": the run was trained with model "));
  fs::remove(file);
  EXPECT_EQ(train(setting("run"), 3).summary["weights_sha256"], straight);
  EXPECT_THAT(text_of("run/environment.json"),
              HasSubstr("model: that of the checkpoint, of a run that began with model "));
}

/// Everything that a stage has of its own, cut in the second one.
TEST_F(FinetuneResume, TwoStagesGoOnToTheSameBytesWithOtherRanksAndThreads) {
  image::write_png(base_ / "set/train/cats/5.png", striped(45, 52, 10));  // the classes differ
  options_.weights.file = weights("a.h5", 0.01).first;
  options_.class_weight = ClassWeight::kAuto;
  options_.data.augment = data::AugmentOptions{.rotation = 20, .horizontal_flip = true};
  StageOptions second = options_.stages[0];
  second.name = "finetune";
  second.optimizer = {.lr = 1e-2, .momentum = 0.9};
  options_.stages[0].name = "transfer";
  options_.stages[0].stop.steps = 2;
  options_.stages[0].freeze.through.text = "fire9/concat";
  options_.stages[0].optimizer = {.name = OptimizerOptions::Name::kRmsprop, .lr = 1e-3};
  options_.stages.push_back(second);
  options_.stages[1].stop.steps = 3;
  const nlohmann::json straight = train(setting("straight")).summary;
  write_every_checkpoint("straight");
  const std::vector<std::string> lines = metrics("straight");
  for (const std::int64_t step : {3, 4}) {
    options_.threads = 5 - step;
    RunSetting again = setting(fmt::format("from{}", step));
    again.resume = {ResumeOptions::Mode::kPath, RunFolder(base_ / "straight").checkpoint(step)};
    const nlohmann::json summary = train(again, static_cast<int>(step) - 1).summary;
    EXPECT_EQ(summary["steps"], 5);
    EXPECT_EQ(summary["weights_sha256"], straight["weights_sha256"]) << step;
    EXPECT_EQ(summary["state_sha256"], straight["state_sha256"]) << step;
    EXPECT_EQ(summary["train"], straight["train"]) << step;
    EXPECT_EQ(metrics(fmt::format("from{}", step)).back(), lines.back()) << step;
  }
  RunSetting other = setting("other");
  other.resume = {ResumeOptions::Mode::kPath, RunFolder(base_ / "straight").checkpoint(3)};
  options_.class_weight = ClassWeight::kNone;
  EXPECT_NE(train(other).summary["weights_sha256"], straight["weights_sha256"]);
}

}  // namespace
}  // namespace gentrain::trainers
