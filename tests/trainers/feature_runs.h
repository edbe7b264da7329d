// What tests of regressions on features share: twelve small pictures of two classes, and a small
// job on them.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/trainers/finetune_runs.h"
#include "trainers/feature_regression.h"
#include "trainers/run_log.h"

namespace gentrain::trainers {

class FeatureRuns : public ::testing::Test {
 protected:
  FeatureRuns() {
    start_log("info", 0);
    write_classes(root_ / "set", 6);
    options_.seed = 3;
    options_.threads = 1;
    options_.data.path = (root_ / "set").string();
    options_.data.height = options_.data.width = 40;
    options_.data.fit = image::Fit::kStretch;
    options_.data.cache = (root_ / "cache").string();
    options_.model.name = "squeezenet";
    options_.model.pretrained.layer = "fire3/concat";
    options_.init.name = Initializer::Kind::kKaimingNormal;
    options_.weights.file = "random";
    options_.checkpoint = {{CheckpointOptions::Unit::kSteps, 1}, 100};
    regression_.train_share = 0.5;
    regression_.fit.max_iterations = 6;
    regression_.fit.reg_param = 1e-3;
    regression_.fit.tolerance = 0;
    regression_.fit.shards = 4;
  }
  ~FeatureRuns() override { std::filesystem::remove_all(root_); }
  FeatureRuns(const FeatureRuns&) = delete;
  FeatureRuns& operator=(const FeatureRuns&) = delete;

  [[nodiscard]] RunSetting setting(const std::string& folder) const {
    RunSetting made;
    made.job = "small";
    made.same_job = "regression.reg_param: 0.001\n";
    made.identity = made.same_job +
                    "regression.max_iterations: " + std::to_string(regression_.fit.max_iterations) +
                    "\n";
    made.resolved = "seed: 3\n";
    made.output = root_ / folder;
    return made;
  }

  /// The summary of rank 0, whatever the kind of the result.
  [[nodiscard]] RunResult fit(const std::string& folder, int ranks) const {
    RunResult result;
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      RunResult mine = run_feature_regression(options_, regression_, setting(folder), communicator);
      if (communicator.rank() == 0) {
        result = std::move(mine);
      }
    });
    return result;
  }
  /// On this thread, so that errors come out.
  [[nodiscard]] RunResult fit_alone(const std::string& folder) const {
    return run_feature_regression(options_, regression_, setting(folder), *comm::make_single());
  }

  /// What runs have alike that are one.
  [[nodiscard]] static std::string bytes_of(const RunResult& result) {
    const nlohmann::json& summary = result.summary;
    return summary.at("weights_sha256").get<std::string>() + " " +
           summary.at("state_sha256").get<std::string>() + " " +
           summary.at("data_sha256").get<std::string>() + " " + summary.at("metrics").dump();
  }
  [[nodiscard]] std::string text_of(const std::string& file) const {
    std::ifstream in(root_ / file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::filesystem::path root_ =
      std::filesystem::temp_directory_path() / ("gentrain_features_" + std::to_string(getpid()));
  TrainOptions options_;
  RegressionOptions regression_;
};

}  // namespace gentrain::trainers
