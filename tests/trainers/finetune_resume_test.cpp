// Fine-tuning that goes on: with the weights that it began with, and no others.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/keras_file.h"
#include "tests/trainers/finetune_runs.h"
#include "tests/trainers/resume_runs.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;

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
    options_.model = {};
    options_.model.name = "squeezenet";
    options_.model.pretrained.hidden = 8;
    options_.weights.allow_missing = {{"fire*", ""}};
    options_.stages[0].freeze.through.text = "fire8/concat";
    options_.stages[0].optimizer.lr = 0.01;
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

/// Where a job began with a model, the checkpoint has all weights and no file is looked for.
TEST_F(FinetuneResume, GoesOnWithoutTheModelThatItBeganWith) {
  options_.weights = {};
  options_.weights.file = "random";
  steps(1);
  train(setting("first"));
  options_.weights = {};
  options_.init_from.file = (base_ / "first/model.h5").string();
  steps(1);
  train(setting("run"));
  fs::remove_all(base_ / "first");
  steps(2);
  EXPECT_EQ(train_alone(setting("run")).kind, RunResult::Kind::kFinished);
}

}  // namespace
}  // namespace gentrain::trainers
