// Reading jobs: values, defaults, short forms, overrides, variables; dumping them and reading them
// again.
#include "jobs/cli/job.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gentrain::jobs {
namespace {

using testing::HasSubstr;
using testing::Not;
using trainers::LayerKind;
namespace fs = std::filesystem;

constexpr const char* kSmall = "model: lenet\nstop: {epochs: 1}\n";

Job some_job(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_job(text, "some/small.yaml", overrides);
}

Job small(const std::string& lines, const std::vector<std::string>& overrides = {}) {
  return some_job(kSmall + lines, overrides);
}

std::vector<fs::path> shipped_jobs() {
  std::vector<fs::path> jobs;
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(GENTRAIN_SOURCE_DIR) / "jobs")) {
    if (entry.path().extension() == ".yaml") {
      jobs.push_back(entry.path());
    }
  }
  std::ranges::sort(jobs);
  return jobs;
}

Job shipped(const std::string& name) {
  return load_job(fs::path(GENTRAIN_SOURCE_DIR) / "jobs" / name);
}

TEST(Job, DefaultsAreThoseOfTheStructs) {
  Job expected;
  expected.output = "runs/small";
  expected.model.name = "lenet";
  expected.stages = {trainers::StageOptions{}};
  expected.stages[0].stop.epochs = 1;
  const Job job = small("");
  EXPECT_EQ(job, expected);
  EXPECT_EQ(job.name, "small");
  EXPECT_EQ(job.file, "some/small.yaml");
}

TEST(Job, ReadsEveryKindOfValue) {
  const Job job = small(R"(
seed: 18446744073709551615
output: a b/c
exchange: library
threads: 3
optimizer: {name: sgd, lr: 2.0e-1, momentum: .5, nesterov: true}
trainable: ["conv1/*", fc2/bias]
data: {validation: 0.25, normalize: {train: {mean: -1, std: 2.5}}}
)");
  EXPECT_EQ(job.seed, 18446744073709551615U);
  EXPECT_EQ(job.output, "a b/c");
  EXPECT_EQ(job.exchange, comm::ExchangeMode::kLibrary);
  EXPECT_EQ(job.threads, 3);
  const trainers::StageOptions& stage = job.stages.at(0);
  EXPECT_EQ(stage.optimizer.lr, 0.2);
  EXPECT_EQ(stage.optimizer.momentum, 0.5);
  EXPECT_TRUE(stage.optimizer.nesterov);
  ASSERT_EQ(stage.trainable.size(), 2U);
  EXPECT_EQ(stage.trainable[1].text, "fc2/bias");
  EXPECT_EQ(stage.trainable[1].where, "some/small.yaml:9:24");
  EXPECT_EQ(job.data.validation, 0.25);
  ASSERT_TRUE(job.data.normalize.train);
  EXPECT_EQ(job.data.normalize.train->mean, -1);
  EXPECT_EQ(job.data.normalize.train->stddev, 2.5);
  EXPECT_FALSE(job.data.normalize.test);
}

TEST(Job, Augmentation) {
  EXPECT_FALSE(small("").data.augment);
  EXPECT_FALSE(small("data: {augment: none}").data.augment);
  const Job job = small(R"(
data:
  augment: {rotation: 30, width_shift: 0.2, height_shift: 0.1, shear: 0.5, zoom: 0.25,
            horizontal_flip: true, fill_mode: reflect, fill_value: 7, interpolation: nearest}
)");
  const data::AugmentOptions expected = {.rotation = 30,
                                         .width_shift = 0.2,
                                         .height_shift = 0.1,
                                         .shear = 0.5,
                                         .zoom_low = 0.75,
                                         .zoom_high = 1.25,
                                         .horizontal_flip = true,
                                         .fill_mode = data::FillMode::kReflect,
                                         .fill_value = 7,
                                         .interpolation = data::Resampling::kNearest};
  ASSERT_TRUE(job.data.augment);
  EXPECT_EQ(*job.data.augment, expected);
  EXPECT_EQ(small("data: {augment: {zoom: [0.75, 1.25]}}").data.augment->zoom_low, 0.75);
  EXPECT_EQ(small("data: {augment: {}}").data.augment, data::AugmentOptions{});
}

TEST(Job, Classification) {
  const Job job = small("class_weight: auto\nevaluate: {top_k: 2, report: false}");
  EXPECT_EQ(job.class_weight, trainers::ClassWeight::kAuto);
  EXPECT_EQ(job.evaluate.top_k, 2);
  EXPECT_FALSE(job.evaluate.report);
  EXPECT_EQ(small("").evaluate.top_k, 5);
}

TEST(Job, NamedGroupsMayBeTheirNameAlone) {
  EXPECT_EQ(small("optimizer: adam\ninit: xavier"),
            small("optimizer: {name: adam}\ninit: {name: xavier}"));
  EXPECT_EQ(some_job("model: {name: lenet}\nstop: {epochs: 1}\n"), small(""));
}

TEST(Job, LayersWithTheirPlaces) {
  const Job job = some_job(R"(stop: {steps: 5}
model:
  layers:
    - {conv: {out: 6, kernel: [5, 3], stride: 2, padding: same, bias: false}}
    - {conv: {out: 7, kernel: 3, padding: [1, 0]}}
    - tanh
    - {max_pool: 3}
    - {average_pool: {size: [2, 4], stride: 1}}
    - {max_pool: [2, 3]}
    - flatten
    - {dropout: 0.5}
    - linear: 10
)");
  const auto& layers = job.model.layers;
  ASSERT_EQ(layers.size(), 9U);
  EXPECT_EQ(layers[0], (trainers::LayerSpec{.kind = LayerKind::kConv,
                                            .out = 6,
                                            .kernel_h = 5,
                                            .kernel_w = 3,
                                            .stride_h = 2,
                                            .stride_w = 2,
                                            .same = true,
                                            .bias = false,
                                            .where = {}}));
  EXPECT_EQ(layers[0].where, "some/small.yaml:4:7");
  EXPECT_EQ(layers[1].pad_h, 1);
  EXPECT_EQ(layers[1].pad_w, 0);
  EXPECT_EQ(layers[2].kind, LayerKind::kTanh);
  EXPECT_EQ(layers[3].kernel_w, 3);
  EXPECT_EQ(layers[3].stride_h, 3);
  EXPECT_EQ(layers[4].kind, LayerKind::kAveragePool);
  EXPECT_EQ(layers[4].kernel_w, 4);
  EXPECT_EQ(layers[4].stride_w, 1);
  EXPECT_EQ(layers[5].stride_h, 2);
  EXPECT_EQ(layers[5].stride_w, 3);
  EXPECT_EQ(layers[7].rate, 0.5);
  EXPECT_EQ(layers[8].out, 10);
  EXPECT_EQ(layers[8].where, "some/small.yaml:12:7");
}

TEST(Job, Stages) {
  const Job job = shipped("tiny/stages.yaml");
  ASSERT_EQ(job.stages.size(), 2U);
  EXPECT_EQ(job.stages[0].name, "head");
  EXPECT_EQ(job.stages[0].trainable.at(0).text, "fc2/*");
  EXPECT_EQ(job.stages[1].name, "whole");
  EXPECT_EQ(job.stages[1].optimizer.momentum, 0.9);
  // One stage named train is what a job without stages has.
  EXPECT_EQ(some_job("model: lenet\nstages: {train: {stop: {epochs: 1}}}"), small(""));
}

TEST(Job, ANetworksOptimizerBeginsWithTheStages) {
  const Job job = some_job(
      "model: srgan\ncontent: {maps: [block2_conv2], map_weights: [0.5], pixel_weight: 3}\n"
      "stages:\n  gan:\n"
      "    stop: {steps: 3}\n"
      "    optimizer: {name: adam, lr: 0.5, beta1: 0.25, discriminator: {lr: 0.125}}\n",
      {"stages.gan.optimizer.discriminator.beta2=0.75"});
  const trainers::StageOptions& stage = job.stages.at(0);
  OptimizerOptions expected = stage.optimizer;
  EXPECT_EQ(expected.lr, 0.5);
  expected.lr = 0.125;
  expected.beta2 = 0.75;
  EXPECT_EQ(stage.discriminator_optimizer, expected);
  EXPECT_FALSE(stage.generator_optimizer.has_value());
  EXPECT_EQ(job.content.maps, std::vector<std::string>{"block2_conv2"});
  EXPECT_EQ(job.content.map_weights, std::vector<double>{0.5});
  EXPECT_EQ(job.content.pixel_weight, 3);
  EXPECT_EQ(some_job(dump_job(job)).stages, job.stages);
  EXPECT_EQ(some_job(dump_job(job)).content, job.content);
  Job cached = job;
  cached.content.cache = true;
  EXPECT_EQ(some_job(dump_job(cached)).content, cached.content);
  EXPECT_EQ(job_identity(cached), job_identity(job)) << "it changes no result";
}

TEST(Job, Overrides) {
  EXPECT_EQ(small("", {"seed=7"}).seed, 7U);
  EXPECT_EQ(small("", {"seed=7", "seed=8"}).seed, 8U);
  EXPECT_EQ(small("", {"stop.epochs=none", "stop.steps=0"}).stages[0].stop.steps, 0);
  EXPECT_EQ(small("", {"optimizer.lr=1e-3"}).stages[0].optimizer.lr, 1e-3);
  EXPECT_EQ(small("", {"output=runs/a=b"}).output, "runs/a=b");
  EXPECT_EQ(small("", {"trainable=[\"a*\", b]"}).stages[0].trainable.size(), 2U);
  EXPECT_EQ(small("", {"trainable=[\"a*\"]"}).stages[0].trainable[0].where,
            "--set trainable=[\"a*\"]");
  EXPECT_EQ(small("init: normal", {"init.stddev=0.5"}).init.stddev, 0.5);
  EXPECT_EQ(small("", {"model={layers: [flatten, {linear: 10}]}"}).model.layers.size(), 2U);
  const Job stages = some_job("model: lenet\nstages: {gan: {stop: {steps: 1}}}",
                              {"stages.gan.optimizer.name=adam", "stages.gan.stop.steps=9"});
  EXPECT_EQ(stages.stages[0].optimizer.name, OptimizerOptions::Name::kAdam);
  EXPECT_EQ(stages.stages[0].stop.steps, 9);
}

TEST(Job, Variables) {
  setenv("GENTRAIN_TEST_SET", "here", 1);
  setenv("GENTRAIN_TEST_EMPTY", "", 1);
  unsetenv("GENTRAIN_TEST_UNSET");
  EXPECT_EQ(small("output: ${GENTRAIN_TEST_SET}/x").output, "here/x");
  EXPECT_EQ(small("output: a${GENTRAIN_TEST_SET}b${GENTRAIN_TEST_SET:-no}").output, "aherebhere");
  EXPECT_EQ(small("output: ${GENTRAIN_TEST_UNSET:-de/fault}").output, "de/fault");
  EXPECT_EQ(small("output: a${GENTRAIN_TEST_EMPTY:-b}").output, "ab");
  EXPECT_EQ(small("output: a${GENTRAIN_TEST_EMPTY}").output, "a");
  EXPECT_EQ(small("output: $${GENTRAIN_TEST_SET}").output, "${GENTRAIN_TEST_SET}");
  EXPECT_EQ(small("seed: \"${GENTRAIN_TEST_UNSET:-12}\"").seed, 12U);
  EXPECT_EQ(small("", {"output=${GENTRAIN_TEST_SET}"}).output, "here");
}

TEST(Job, DumpReadsAgainToTheSame) {
  std::vector<Job> jobs = {
      small("output: \"$${HOME} #: \\\"quoted\\\"\\t- *\""),
      small("output: null-ish\ntrainable: [\"*\", \"a, b\", \"~\"]"),
      small("data: {normalize: {test: {std: 0.1}}}\nclip_norm: 0.1\nseed: 18446744073709551615"),
      small("data: {source: folder, folder: a, test_folder: b, size: [4, 6], fit: stretch}"),
      small("data: {augment: {rotation: 5, zoom: 0.1, fill_mode: wrap}}"),
      some_job(
          "stop: {steps: 1}\nmodel: {layers: [{conv: {out: 1, kernel: [1, 2], padding: same}}, "
          "{max_pool: {size: 3, stride: [1, 2], padding: 1}}, flatten, {dropout: 0.1}, relu, "
          "sigmoid, {linear: {out: 3, bias: false}}]}"),
  };
  for (const fs::path& path : shipped_jobs()) {
    jobs.push_back(load_job(path));
  }
  for (const Job& job : jobs) {
    SCOPED_TRACE(dump_job(job));
    const Job again = parse_job(dump_job(job), "runs/x/job.yaml");
    EXPECT_EQ(again, job);
    EXPECT_EQ(dump_job(again), dump_job(job));
  }
}

TEST(Job, DumpHasNamesAtTheTopLevel) {
  const std::string text = dump_job(small("seed: 5"));
  EXPECT_THAT(text, HasSubstr("\nseed: 5\n"));
  EXPECT_THAT(text, HasSubstr("\nbatch:\n  global: 64\n  shards: 16\n"));
  EXPECT_THAT(text, HasSubstr("\nstop:\n  epochs: 1\n  steps: none\n"));
  EXPECT_THAT(text, Not(HasSubstr("stages")));
}

TEST(Job, IdentityIsOfTheComputation) {
  const std::string identity = job_identity(small(""));
  for (const char* same :
       {"output=x", "threads=3", "device=cpu", "log.every=3", "checkpoint.every=never"}) {
    EXPECT_EQ(job_identity(small("", {same})), identity) << same;
  }
  for (const char* other : {"seed=2",
                            "isa=v3",
                            "exchange=library",
                            "stop.epochs=9",
                            "stop.steps=9",
                            "batch.global=128",
                            "batch.shards=8",
                            "data.source=digits",
                            "data.validation=0.1",
                            "data={source: folder, folder: a, validation: 0.1}",
                            "model={layers: [flatten, {linear: 10}]}",
                            "init=xavier",
                            "optimizer.lr=0.3",
                            "schedule.warmup=3",
                            "clip_norm=1",
                            "trainable=[a]",
                            "early_stop.metric=loss",
                            "best.metric=top1",
                            "evaluate.batch=3",
                            "data.augment.rotation=3",
                            "class_weight=auto",
                            "evaluate.top_k=3"}) {
    EXPECT_NE(job_identity(small("", {other})), identity) << other;
  }
  for (const char* stop : {"stop.epochs=9", "stop.steps=9"}) {
    EXPECT_EQ(job_identity(small("", {stop}), false), job_identity(small(""), false)) << stop;
  }
  EXPECT_NE(job_identity(small("", {"seed=2"}), false), job_identity(small(""), false));
  Job job = small("");
  job.op_threads = 2;
  EXPECT_NE(job_identity(job), identity);
  job = small("");
  job.precision = trainers::Precision::kBf16;
  EXPECT_NE(job_identity(job), identity);
}

TEST(ShippedJobs, AllLoad) {
  const std::vector<fs::path> jobs = shipped_jobs();
  EXPECT_GE(jobs.size(), 7U);
  for (const fs::path& path : jobs) {
    EXPECT_NO_THROW(load_job(path)) << path;
  }
}

TEST(ShippedJobs, LenetInLayersDiffersInTheModelOnly) {
  Job layers = shipped("lenet_layers.yaml");
  const Job lenet = shipped("lenet_mnist.yaml");
  EXPECT_EQ(layers.model.layers.size(), 10U);
  layers.model = lenet.model;
  EXPECT_EQ(job_identity(layers), job_identity(lenet));
  EXPECT_EQ(lenet.batch.global, 2048);
  EXPECT_EQ(lenet.stages[0].optimizer.lr, 0.4);
  EXPECT_EQ(lenet.stages[0].schedule.decay, 2e-4);
  EXPECT_EQ(lenet.stages[0].stop.epochs, 20);
}

TEST(JobReference, IsWhatTheDescriptionsSay) {
  std::ifstream file(fs::path(GENTRAIN_SOURCE_DIR) / "docs/job-reference.md");
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), job_reference())
      << "write it again: gentrain list keys > docs/job-reference.md";
}

}  // namespace
}  // namespace gentrain::jobs
