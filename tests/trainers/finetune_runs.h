// What tests of fine-tuning share: a folder of small pictures, and small jobs on it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/image/image.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {

/// A picture of one colour with a brighter stripe, which tells the pictures apart.
inline image::Image striped(std::int64_t h, std::int64_t w, int number) {
  image::Image picture{h, w, 3, {}};
  for (std::int64_t i = 0; i < h * w; ++i) {
    const int stripe = i % w == number % w ? 120 : 0;
    for (int c = 0; c < 3; ++c) {
      picture.pixels.push_back(
          static_cast<std::uint8_t>(20 + (31 * number + 50 * c) % 100 + stripe));
    }
  }
  return picture;
}

/// `count` pictures of other extents than any model takes in each of two classes.
inline void write_classes(const std::filesystem::path& folder, int count) {
  for (const char* name : {"cats", "dogs"}) {
    std::filesystem::create_directories(folder / name);
    for (int i = 0; i < count; ++i) {
      image::write_png(folder / name / (std::to_string(i) + ".png"),
                       striped(40 + i, 52, 2 * i + (name[0] == 'c' ? 0 : 1)));
    }
  }
}

/// While it lives $GENTRAIN_DATA is a folder.
class DataFolder {
 public:
  explicit DataFolder(const std::filesystem::path& folder) {
    if (const char* value = std::getenv("GENTRAIN_DATA"); value != nullptr) {
      before_ = value;
    }
    setenv("GENTRAIN_DATA", folder.c_str(), 1);
  }
  ~DataFolder() {
    if (before_) {
      setenv("GENTRAIN_DATA", before_->c_str(), 1);
    } else {
      unsetenv("GENTRAIN_DATA");
    }
  }
  DataFolder(const DataFolder&) = delete;
  DataFolder& operator=(const DataFolder&) = delete;

 private:
  std::optional<std::string> before_;
};

/// Five pictures of each class to train on and one to test, in a folder that goes with the test.
class FinetuneRuns : public ::testing::Test {
 protected:
  FinetuneRuns() {
    write_classes(root_ / "set/train", 5);
    write_classes(root_ / "set/validation", 1);
  }
  ~FinetuneRuns() override { std::filesystem::remove_all(root_); }
  FinetuneRuns(const FinetuneRuns&) = delete;
  FinetuneRuns& operator=(const FinetuneRuns&) = delete;

  /// A pretrained network without what it learned, with a small head; one stage of one step.
  [[nodiscard]] TrainOptions job(const std::string& model, std::int64_t size) const {
    TrainOptions options;
    options.seed = 3;
    options.threads = 1;
    options.batch = {.global = 6, .shards = 4};
    options.data.source = DataOptions::Source::kFolder;
    options.data.path = (root_ / "set").string();
    options.data.height = options.data.width = size;
    options.data.fit = image::Fit::kStretch;
    options.data.cache = (root_ / "cache").string();
    options.model.name = model;
    options.model.pretrained.hidden = 8;
    options.init.name = Initializer::Kind::kKaimingNormal;
    options.weights.file = "random";
    StageOptions stage;
    stage.stop.steps = 1;
    stage.optimizer.lr = 0.01;
    options.stages = {stage};
    return options;
  }

  std::filesystem::path root_ =
      std::filesystem::temp_directory_path() / ("gentrain_finetune_" + std::to_string(getpid()));
};

}  // namespace gentrain::trainers
