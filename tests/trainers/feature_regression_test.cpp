// Regressions on features as runs: the same bytes for any number of ranks and threads, also of runs
// that go on; features that are kept; the model file at work; what can be wrong.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "core/io/cache.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/keras_file.h"
#include "tests/trainers/feature_runs.h"
#include "trainers/inference.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::HasSubstr;

TEST_F(FeatureRuns, AnyNumberOfRanksAndThreads) {
  const RunResult alone = fit("alone", 1);
  EXPECT_EQ(alone.summary.at("steps"), 6);
  EXPECT_EQ(alone.summary.at("features_computed"), 12);
  const std::string model = text_of("alone/model.h5");
  EXPECT_FALSE(model.empty());
  for (const auto& [ranks, threads] : {std::pair{1, 2}, {2, 1}, {2, 2}, {3, 1}, {4, 1}}) {
    const std::string name = fmt::format("ranks_{}_{}", ranks, threads);
    options_.threads = threads;
    options_.data.cache = (root_ / (name + "_cache")).string();
    const RunResult other = fit(name, ranks);
    EXPECT_EQ(bytes_of(other), bytes_of(alone)) << name;
    EXPECT_EQ(other.summary.at("features_computed"), 12) << name;
    EXPECT_EQ(text_of(name + "/model.h5"), model) << name;
    EXPECT_EQ(text_of(name + "/metrics.jsonl"), text_of("alone/metrics.jsonl")) << name;
  }
}

TEST_F(FeatureRuns, Bf16TooAndWithOtherBytes) {
  const RunResult f32 = fit("f32", 1);
  options_.precision = Precision::kBf16Emulated;
  const RunResult alone = fit("alone", 1);
  EXPECT_NE(bytes_of(alone), bytes_of(f32));
  EXPECT_EQ(alone.summary.at("features_computed"), 12) << "those of f32 are no use";
  options_.data.cache = (root_ / "other").string();
  EXPECT_EQ(bytes_of(fit("three", 3)), bytes_of(alone));
}

/// The twins: what is compared differs where the split, the shards or the layer do.
TEST_F(FeatureRuns, OthersHaveOtherBytes) {
  const std::string bytes = bytes_of(fit("run", 1));
  regression_.split_seed = 9;
  EXPECT_NE(bytes_of(fit("split", 1)), bytes);
  regression_.split_seed.reset();
  regression_.fit.shards = 3;
  EXPECT_NE(bytes_of(fit("shards", 1)), bytes);
  regression_.fit.shards = 4;
  options_.model.pretrained.pool = PretrainedOptions::Pool::kMax;
  EXPECT_NE(bytes_of(fit("pool", 1)), bytes);
}

TEST_F(FeatureRuns, FeaturesAreKept) {
  const std::string bytes = bytes_of(fit("first", 1));
  const RunResult second = fit("second", 2);
  EXPECT_EQ(bytes_of(second), bytes);
  EXPECT_EQ(second.summary.at("features_computed"), 0);
  regression_.split_seed = 9;
  EXPECT_EQ(fit("split", 1).summary.at("features_computed"), 0) << "of another split too";
  regression_.split_seed.reset();
  const auto entries = io::Cache(root_ / "cache").entries();
  ASSERT_EQ(entries.size(), 1);
  const fs::path kept = root_ / "cache" / entries[0].key;
  fs::resize_file(kept, entries[0].bytes - 1);
  const RunResult third = fit("third", 2);
  EXPECT_EQ(bytes_of(third), bytes);
  EXPECT_EQ(third.summary.at("features_computed"), 12) << "a damaged file is made anew";
  EXPECT_EQ(fs::file_size(kept), entries[0].bytes);
  EXPECT_EQ(fit("fourth", 1).summary.at("features_computed"), 0);
}

TEST_F(FeatureRuns, NeedNoCacheThatCanBeWritten) {
  std::ofstream(root_ / "file") << "x";
  options_.data.cache = (root_ / "file/cache").string();
  const RunResult without = fit("without", 2);
  options_.data.cache = (root_ / "cache").string();
  EXPECT_EQ(bytes_of(without), bytes_of(fit("with", 1)));
}

TEST_F(FeatureRuns, GoOnToTheSameBytes) {
  const std::string straight = bytes_of(fit("straight", 1));
  regression_.fit.max_iterations = 2;
  EXPECT_EQ(fit("run", 2).summary.at("steps"), 2);
  regression_.fit.max_iterations = 6;
  EXPECT_EQ(bytes_of(fit("run", 3)), straight);
  EXPECT_EQ(text_of("run/model.h5"), text_of("straight/model.h5"));
  EXPECT_EQ(text_of("run/metrics.jsonl"), text_of("straight/metrics.jsonl"));
  EXPECT_EQ(fit("run", 2).kind, RunResult::Kind::kNothingToDo);
}

/// As after a kill: nothing of the end is there, nor are the last checkpoints.
TEST_F(FeatureRuns, GoOnFromTheNewestCheckpoint) {
  const std::string straight = bytes_of(fit("run", 2));
  const std::string metrics = text_of("run/metrics.jsonl");
  for (const char* file : {"model.h5", "summary.json", "status.json", "evaluation.json"}) {
    fs::remove(root_ / "run" / file);
  }
  const RunFolder folder(root_ / "run");
  EXPECT_EQ(folder.checkpoints(), (std::vector<std::int64_t>{1, 2, 3, 4, 5, 6}));
  folder.remove_checkpoints_behind(3);
  EXPECT_EQ(bytes_of(fit("run", 4)), straight);
  EXPECT_EQ(text_of("run/metrics.jsonl"), metrics);
  EXPECT_THAT(text_of("run/log.txt"), HasSubstr("going on from "));
  for (const char* file : {"model.h5", "summary.json"}) {
    fs::remove(root_ / "run" / file);
  }
  fs::remove_all(root_ / "run/checkpoints");
  EXPECT_EQ(bytes_of(fit("run", 1)), straight) << "without a checkpoint from the beginning";
}

TEST_F(FeatureRuns, DoNotGoOnWithOtherImages) {
  regression_.fit.max_iterations = 2;
  EXPECT_EQ(fit("run", 1).kind, RunResult::Kind::kFinished);
  regression_.fit.max_iterations = 6;
  image::write_png(root_ / "set/cats/0.png", striped(40, 52, 77));
  EXPECT_THAT(message_of<JobError>([&] { static_cast<void>(fit_alone("run")); }),
              HasSubstr("step-000000002.h5: the run was on other images ("));
}

/// Network and regression are one model, which needs nothing else.
TEST_F(FeatureRuns, TheModelTellsOfPicturesWhatTheRunDid) {
  const RunResult run = fit("run", 1);
  const auto single = comm::make_single();
  Inference model(root_ / "run/model.h5", {}, *single);
  EXPECT_THAT(model.description().class_names, ::testing::ElementsAre("cats", "dogs"));
  const InferenceData all = model.load((root_ / "set").string());
  ASSERT_EQ(all.samples->size(), 12);
  const std::vector<float> probabilities = model.predict(*all.samples, 12);
  const FeatureSplit split = split_features(*all.samples, 0.5, options_.seed);
  std::int64_t correct = 0;
  for (std::size_t i = 0; i < split.test.numbers.size(); ++i) {
    const auto at = static_cast<std::size_t>(2 * split.test.numbers[i]);
    const int predicted = probabilities[at + 1] > probabilities[at] ? 1 : 0;
    correct += predicted == split.test.labels[i] ? 1 : 0;
  }
  EXPECT_EQ(run.summary.at("metrics").at("correct"), correct);
  EXPECT_EQ(run.summary.at("metrics").at("samples"), 6);
  EXPECT_EQ(model.evaluate(*all.samples).samples, 12);
  const nlohmann::json report = nlohmann::json::parse(text_of("run/evaluation.json"));
  EXPECT_EQ(report.at("samples"), 6);
  EXPECT_THAT(text_of("run/log.txt"),
              HasSubstr(fmt::format("Test set accuracy {:.4f} ({} of 6)",
                                    static_cast<double>(correct) / 6, correct)));
}

TEST_F(FeatureRuns, TakeThreeClassesByPatterns) {
  for (int i = 0; i < 3; ++i) {
    fs::rename(root_ / fmt::format("set/dogs/{}.png", i),
               root_ / fmt::format("set/dogs/bird_{}.png", i));
  }
  options_.data.classes = {
      {"dogs", {"dogs/?.png", ""}}, {"birds", {"dogs/bird*", ""}}, {"cats", {"cats/*", ""}}};
  const RunResult run = fit("run", 2);
  EXPECT_EQ(run.summary.at("regression").at("classes"), 3);
  options_.data.classes.pop_back();                                 // cats are passed over
  EXPECT_EQ(fit("two", 1).summary.at("metrics").at("samples"), 4);  // of 3 two, rounded
}

TEST_F(FeatureRuns, BadFilesAreNamedOrLeftOut) {
  std::ofstream(root_ / "set/cats/bad.png") << "no image";
  EXPECT_THAT(message_of<IoError>([&] { static_cast<void>(fit_alone("stop")); }),
              HasSubstr("set/cats/bad.png"));
  options_.data.on_bad_file = DataOptions::OnBadFile::kSkip;
  const RunResult skipped = fit("skip", 2);
  EXPECT_EQ(skipped.summary.at("features_computed"), 12);
  EXPECT_THAT(text_of("skip/environment.json"), HasSubstr("set/cats/bad.png"));
}

TEST_F(FeatureRuns, WeightsOfAnotherNetworkAreRefused) {
  const std::string path = (root_ / "w.h5").string();
  test::write_keras_file(path, {{"conv1",
                                 {{"kernel:0", {3, 3, 3, 64}, std::vector(9 * 3 * 64, 0.01)},
                                  {"bias:0", {64}, std::vector(64, 1.0)}}}});
  options_.weights.file = path;
  EXPECT_THAT(message_of<IoError>([&] { static_cast<void>(fit_alone("run")); }),
              testing::AllOf(HasSubstr(path), HasSubstr("fire2/squeeze1x1")));
  options_.weights.allow_missing = {{"fire*", ""}};
  EXPECT_EQ(fit("missing", 2).kind, RunResult::Kind::kFinished);
}

TEST_F(FeatureRuns, WhatCannotBeIsRefused) {
  fs::remove_all(root_ / "set/dogs");
  EXPECT_THAT(message_of<JobError>([&] { static_cast<void>(fit_alone("one")); }),
              HasSubstr("cats is the one class there is"));
  write_classes(root_ / "set", 6);
  options_.model.pretrained.layer = "fire99";
  EXPECT_THAT(message_of<JobError>([&] { static_cast<void>(fit_alone("layer")); }),
              HasSubstr("the network has no layer 'fire99' (known: "));
  options_.model.pretrained.layer = "fire3/concat";
  regression_.fit.elastic_net = 2;
  EXPECT_EQ(message_of<JobError>([&] { static_cast<void>(fit_alone("net")); }),
            "logistic regression: elastic_net is 2, 0 to 1 is needed");
  EXPECT_THAT(text_of("net/log.txt"), HasSubstr("elastic_net is 2"));
}

TEST_F(FeatureRuns, APlanComputesNothing) {
  const FeaturePlan plan = plan_feature_regression(options_, regression_);
  EXPECT_EQ(plan.missing, "");
  EXPECT_EQ(plan.train + plan.test, 12);
  EXPECT_EQ(plan.width, 128);
  EXPECT_EQ(plan.feature_bytes, 12 * 128 * 4);
  EXPECT_GE(plan.fit_bytes, 2 * plan.feature_bytes) << "12 images are a block";
  EXPECT_EQ(plan.layers.back().name, "probabilities");
  EXPECT_FALSE(fs::exists(root_ / "cache"));
  options_.data.path = (root_ / "nowhere").string();
  EXPECT_THAT(plan_feature_regression(options_, regression_).missing, HasSubstr("nowhere"));
}

}  // namespace
}  // namespace gentrain::trainers
