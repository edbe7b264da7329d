// What a job says of fine-tuning: weights, what stages freeze, networks that weights exist for; and
// everything that can be wrong with it.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/jobs/job_error.h"

namespace gentrain::jobs {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using trainers::PretrainedOptions;

constexpr const char* kSmallJob = "model: inception_v3\nstop: {epochs: 1}\n";

Job small_finetune(const std::string& lines, const std::vector<std::string>& overrides = {}) {
  return parse_job(kSmallJob + lines, "j.yaml", overrides);
}
std::string added_error(const std::string& lines) {
  return error_of(kSmallJob + lines);
}
std::vector<std::string> texts(const std::vector<trainers::Pattern>& patterns) {
  std::vector<std::string> texts;
  for (const trainers::Pattern& pattern : patterns) {
    texts.push_back(pattern.text);
  }
  return texts;
}

TEST(FinetuneJob, Networks) {
  EXPECT_EQ(small_finetune("").model.pretrained, PretrainedOptions());
  const Job job = parse_job(
      "model: {name: inception_v3, top: original, batch_norm: train}\nstop: {epochs: 1}\n", "j");
  EXPECT_EQ(job.model.pretrained.top, PretrainedOptions::Top::kOriginal);
  EXPECT_TRUE(job.model.pretrained.batch_statistics);
  const Job plain = parse_job("model: {name: vgg16, hidden: 0}\nstop: {epochs: 1}\n", "j");
  EXPECT_EQ(plain.model.pretrained.hidden, 0);
  EXPECT_EQ(plain.model.vae.hidden, 128) << "which is the autoencoder's";
}

TEST(FinetuneJob, Weights) {
  const Job job = small_finetune(
      "weights: {file: w.h5, allow_missing: [a, \"b*\"], allow_extra: [c], reinit: [d],\n"
      "          reinit_zeros: [e/weight]}");
  EXPECT_EQ(job.weights.file, "w.h5");
  EXPECT_EQ(texts(job.weights.allow_missing), (std::vector<std::string>{"a", "b*"}));
  EXPECT_EQ(job.weights.allow_missing[1].where, "j.yaml:3:42");
  EXPECT_EQ(texts(job.weights.allow_extra), std::vector<std::string>{"c"});
  EXPECT_EQ(texts(job.weights.reinit), std::vector<std::string>{"d"});
  EXPECT_EQ(texts(job.weights.reinit_zeros), std::vector<std::string>{"e/weight"});
  EXPECT_EQ(small_finetune("weights: w.h5"), small_finetune("weights: {file: w.h5}"));
  EXPECT_EQ(small_finetune("weights: w.h5", {"weights.reinit=[a]"}).weights.file, "w.h5");
  EXPECT_EQ(small_finetune("weights: {reinit: [a]}", {"weights=random"}).weights,
            small_finetune("weights: random").weights);
}

TEST(FinetuneJob, Freezing) {
  const trainers::FreezeOptions through =
      small_finetune("freeze: {through: mixed8}").stages[0].freeze;
  EXPECT_EQ(through.through.text, "mixed8");
  EXPECT_EQ(through.through.where, "j.yaml:3:19");
  EXPECT_TRUE(through.parameters.empty());
  const Job patterns = small_finetune("freeze: [\"conv2d_1/*\", b]");
  EXPECT_EQ(patterns, small_finetune("freeze: {parameters: [\"conv2d_1/*\", b]}"));
  EXPECT_EQ(patterns.stages[0].freeze.parameters[1].where, "j.yaml:3:24");
  const Job both = small_finetune("freeze: [a]", {"freeze.through=mixed9"});
  EXPECT_EQ(both.stages[0].freeze.through.text, "mixed9");
  EXPECT_EQ(texts(both.stages[0].freeze.parameters), std::vector<std::string>{"a"});
  EXPECT_EQ(small_finetune("freeze: {through: mixed8}", {"freeze=[]"}), small_finetune(""));
}

TEST(FinetuneJob, DumpReadsAgainToTheSame) {
  for (const Job& job :
       {small_finetune("weights: {reinit: [a], reinit_zeros: [\"b*\"]}\nfreeze: {through: mixed8}"),
        small_finetune("weights: random\nfreeze: [a]\noptimizer: {name: rmsprop, rho: 0.5}"),
        small_finetune("data: {source: folder, path: pictures, size: 299, fit: stretch}"),
        parse_job("model: {name: vgg19, hidden: 7}\nstop: {epochs: 1}\n", "j")}) {
    SCOPED_TRACE(dump_job(job));
    const Job again = parse_job(dump_job(job), "runs/x/job.yaml");
    EXPECT_EQ(again.weights, job.weights);
    EXPECT_EQ(again.stages, job.stages);
    EXPECT_EQ(again.model, job.model);
    EXPECT_EQ(again.data, job.data);
    EXPECT_EQ(dump_job(again), dump_job(job));
  }
}

TEST(FinetuneJob, TheIdentityHasIt) {
  const std::string identity = job_identity(small_finetune(""));
  for (const char* other : {"weights=random", "weights.reinit=[a]", "freeze.through=mixed1",
                            "freeze=[a]", "model.batch_norm=train", "model.hidden=9"}) {
    EXPECT_NE(job_identity(small_finetune("", {other})), identity) << other;
  }
}

TEST(FinetuneJob, CachedFeatures) {
  using CacheFeatures = trainers::DataOptions::CacheFeatures;
  EXPECT_EQ(small_finetune("").data.cache_features, CacheFeatures::kAuto);
  const Job job = small_finetune("data: {cache: c, cache_features: off, cache_features_mib: 7}");
  EXPECT_EQ(job.data.cache_features, CacheFeatures::kOff);
  EXPECT_EQ(job.data.cache_features_mib, 7);
  EXPECT_EQ(parse_job(dump_job(job), "j").data, job.data);
  EXPECT_EQ(job_identity(job), job_identity(small_finetune(""))) << "they change no result";
  const std::string lenet = "model: lenet\nstop: {epochs: 1}\n";
  EXPECT_EQ(error_of(lenet + "data: {cache_features: off, cache_features_mib: 7}\n"),
            "j.yaml:3:8: data.cache_features has no effect without a pretrained network\n"
            "j.yaml:3:29: data.cache_features_mib has no effect without a pretrained network");
  EXPECT_EQ(error_of("model: vgg16\nstop: {epochs: 1}\ndata: {cache_features_mib: 0}\n"),
            "j.yaml:3:28: data.cache_features_mib is 0 but must be at least 1 and at most 1000000");
}

TEST(FinetuneJob, Shipped) {
  const Job job = load_job(fs::path(GENTRAIN_SOURCE_DIR) / "jobs/inception_finetune.yaml");
  ASSERT_EQ(job.stages.size(), 2);
  EXPECT_EQ(job.stages[0].name, "transfer");
  EXPECT_EQ(job.stages[0].optimizer.name, OptimizerOptions::Name::kRmsprop);
  EXPECT_EQ(job.stages[0].optimizer.epsilon, 1e-7);
  EXPECT_EQ(job.stages[0].freeze.through.text, "mixed10");
  EXPECT_EQ(job.stages[1].name, "finetune");
  EXPECT_EQ(job.stages[1].freeze.through.text, "mixed8");
  EXPECT_EQ(job.stages[1].optimizer.momentum, 0.9);
  EXPECT_EQ(texts(job.weights.reinit_zeros),
            (std::vector<std::string>{"conv2d_82/weight", "conv2d_91/weight"}));
  EXPECT_EQ(job.data.fit, image::Fit::kStretch);
  EXPECT_EQ(job.class_weight, trainers::ClassWeight::kAuto);
  EXPECT_THAT(job.data.path, HasSubstr("cars_cats_dogs_flowers"));
}

TEST(FinetuneJobErrors, OfNetworksWithoutWeights) {
  const std::string needs =
      " has no effect without model.name inception_v3, vgg16, vgg19 or "
      "squeezenet";
  EXPECT_EQ(error_of("model: lenet\nstop: {epochs: 1}\nweights: w.h5\nfreeze: {through: conv1}\n"),
            "j.yaml:3:1: weights" + needs + "\nj.yaml:4:10: freeze.through" + needs);
  EXPECT_EQ(error_of("model: {name: lenet, top: original, batch_norm: train}\nstop: {epochs: 1}\n"),
            "j.yaml:1:22: model.top" + needs +
                "\nj.yaml:1:37: model.batch_norm has no effect without model.name inception_v3");
  EXPECT_EQ(error_of("model: lenet\nstop: {epochs: 1}\nfreeze: [\"conv1/*\"]\n"), "")
      << "patterns are for all models";
}

TEST(FinetuneJobErrors, OfTheNetwork) {
  EXPECT_EQ(error_of("model: {name: vgg16, batch_norm: train}\nstop: {epochs: 1}\n"),
            "j.yaml:1:22: model.batch_norm has no effect without model.name inception_v3");
  EXPECT_EQ(error_of("model: {name: vgg16, top: original, hidden: 5}\nstop: {epochs: 1}\n"),
            "j.yaml:1:37: model.hidden has no effect without model.top head");
  EXPECT_EQ(error_of("model: {name: vgg16, top: none}\nstop: {epochs: 1}\n"),
            "j.yaml:1:22: model.top none gives maps, which tell no classes: set it to head or "
            "original");
  EXPECT_EQ(error_of("model: {name: vgg16, top: tail}\nstop: {epochs: 1}\n"),
            "j.yaml:1:27: model.top is 'tail' but must be one of head, original, none");
}

TEST(FinetuneJobErrors, OfWeightsAndFreezing) {
  EXPECT_EQ(added_error("weights: w.h5\ninit_from: m.h5"),
            "j.yaml:3:1: weights and init_from exclude each other: the weights are from one file");
  EXPECT_EQ(added_error("weights: {file: random, reinit: [a]}"),
            "j.yaml:3:25: weights.reinit has no effect without a file in weights.file");
  EXPECT_EQ(added_error("weights: [a]"),
            "j.yaml:3:10: weights needs a name or a map of keys, got a list");
  EXPECT_EQ(added_error("weights: {name: a}"),
            "j.yaml:3:11: unknown key 'name' in weights (known: file, allow_missing, allow_extra, "
            "reinit, reinit_zeros)");
  EXPECT_EQ(added_error("freeze: mixed8"),
            "j.yaml:3:9: freeze needs a list of patterns or a map of keys, got 'mixed8'");
  EXPECT_EQ(added_error("freeze: {through: [mixed8]}"),
            "j.yaml:3:19: freeze.through needs a text, got a list");
  EXPECT_EQ(added_error("freeze: {parameters: mixed8}"),
            "j.yaml:3:22: freeze.parameters needs a list of patterns, as [\"conv1/*\"], got "
            "'mixed8'");
}

TEST(FinetuneJobErrors, OfDataPath) {
  EXPECT_EQ(added_error("data: {source: folder, path: a, folder: b, size: 299}"),
            "j.yaml:3:24: data.path stands in place of data.folder and data.test_folder: give "
            "either");
  EXPECT_EQ(added_error("data: {path: a}"),
            "j.yaml:3:8: data.path has no effect without data.source folder");
  EXPECT_EQ(added_error("data: {source: folder, path: a, size: 299}"), "");
}

}  // namespace
}  // namespace gentrain::jobs
