// Jobs of the kind feature_regression: their keys and everything that can be wrong with them.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/jobs/job_error.h"

namespace gentrain::jobs {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string kRegressionJob =
    "kind: feature_regression\ndata: {path: p}\nmodel: {name: vgg16, layer: block5_pool}\n";

Job regression_of(const std::string& text) {
  return parse_job(text, "j.yaml");
}

TEST(FeatureJob, Defaults) {
  const Job job = regression_of(kRegressionJob);
  EXPECT_EQ(job.kind, JobKind::kFeatureRegression);
  EXPECT_EQ(job.regression, trainers::RegressionOptions());
  EXPECT_EQ(job.regression.train_share, 0.6);
  EXPECT_EQ(job.regression.fit.max_iterations, 20);
  EXPECT_TRUE(job.regression.fit.centre);
  EXPECT_EQ(job.model.name, "vgg16");
  EXPECT_EQ(job.model.pretrained.layer, "block5_pool");
  EXPECT_EQ(job.model.pretrained.pool, trainers::PretrainedOptions::Pool::kAverage);
  EXPECT_EQ(job.output, "runs/j");
}

TEST(FeatureJob, EveryKeyIsReadAndWritten) {
  const Job job = regression_of(
      "kind: feature_regression\nseed: 4\noutput: o\nisa: v3\nprecision: bf16_emulated\n"
      "threads: 2\n"
      "data: {path: p, size: [30, 40], fit: stretch, on_bad_file: skip, cache: c,\n"
      "       classes: {roses: \"*/roses*\", \"a b\": \"x?\"}}\n"
      "split: {train: 0.75, seed: 8}\nmodel: {name: inception_v3, layer: mixed8, pool: none}\n"
      "init: xavier\nweights: {file: w.h5, reinit: [conv2d_1]}\n"
      "regression: {max_iterations: 100, reg_param: 0.1, elastic_net: 0, tolerance: 0,\n"
      "             centre: false, shards: 8}\n"
      "log: {every: 1}\ncheckpoint: {every: 5, keep: 3}\n");
  EXPECT_EQ(job.regression.train_share, 0.75);
  EXPECT_EQ(job.regression.split_seed, 8);
  EXPECT_EQ(job.regression.fit.shards, 8);
  EXPECT_FALSE(job.regression.fit.centre);
  ASSERT_EQ(job.data.classes.size(), 2);
  EXPECT_EQ(job.data.classes[0].name, "roses");
  EXPECT_EQ(job.data.classes[0].pattern.text, "*/roses*");
  EXPECT_EQ(job.data.classes[0].pattern.where, "j.yaml:8:25");
  EXPECT_EQ(job.data.classes[1].name, "a b");
  EXPECT_EQ(job.model.pretrained.pool, trainers::PretrainedOptions::Pool::kNone);
  const std::string dumped = dump_job(job);
  EXPECT_THAT(dumped, HasSubstr("  classes: {roses: \"*/roses*\", \"a b\": \"x?\"}\n"));
  EXPECT_EQ(parse_job(dumped, "j.yaml"), job);
  EXPECT_EQ(regression_of(dump_job(regression_of(kRegressionJob))), regression_of(kRegressionJob))
      << "without classes";
}

/// What a run that goes on must have alike.
TEST(FeatureJob, MoreIterationsAreTheSameJob) {
  const Job few = regression_of(kRegressionJob);
  const Job more = regression_of(kRegressionJob + "regression: {max_iterations: 50}\nthreads: 3\n");
  EXPECT_EQ(job_identity(few, false), job_identity(more, false));
  EXPECT_NE(job_identity(few), job_identity(more));
  EXPECT_NE(job_identity(few, false),
            job_identity(regression_of(kRegressionJob + "regression: {reg_param: 0.1}\n"), false));
  EXPECT_NE(job_identity(few, false),
            job_identity(regression_of(kRegressionJob + "split: {seed: 2}\n"), false));
}

TEST(FeatureJob, WhatIsMissing) {
  EXPECT_EQ(error_of("kind: feature_regression\n"),
            "j.yaml: data.path is missing: a folder of images, or a pack of them\n"
            "j.yaml: model.name is missing; set it to inception_v3, vgg16, vgg19, squeezenet\n"
            "j.yaml: model.layer is missing: the layer whose output is an image's features");
}

TEST(FeatureJob, WhatIsWrong) {
  EXPECT_THAT(error_of(kRegressionJob + "stop: {epochs: 1}\n"),
              HasSubstr("j.yaml:4:1: unknown key 'stop' in a job of kind feature_regression"));
  EXPECT_THAT(error_of("kind: feature_regression\ndata: {path: p}\n"
                       "model: {name: lenet, layer: x, pool: mean}\n"),
              testing::AllOf(HasSubstr("model.name is 'lenet' but must be one of inception_v3, "
                                       "vgg16, vgg19, squeezenet"),
                             HasSubstr("model.pool is 'mean' but must be one of avg, max, none")));
  EXPECT_EQ(error_of(kRegressionJob + "split: {train: 1}\n"),
            "j.yaml:4:16: split.train is 1 but must be above 0 and below 1");
  EXPECT_EQ(error_of(kRegressionJob + "regression: {elastic_net: 1.5, reg_param: -1}\n"),
            "j.yaml:4:27: regression.elastic_net is 1.5 but must be at least 0 and at most 1\n"
            "j.yaml:4:43: regression.reg_param is -1 but must be at least 0");
  EXPECT_THAT(error_of(kRegressionJob + "weights: {file: random, reinit: [a]}\n"),
              HasSubstr("weights.reinit has no effect without a file in weights.file"));
  EXPECT_THAT(error_of(kRegressionJob + "init: normal\n"),
              HasSubstr("init normal needs init.stddev"));
  EXPECT_THAT(error_of(kRegressionJob + "device: cuda\n"),
              HasSubstr("this build has no CUDA backend"));
}

TEST(FeatureJob, Classes) {
  const std::string head =
      "kind: feature_regression\nmodel: {name: vgg16, layer: fc2, pool: none}\n";
  EXPECT_THAT(error_of(head + "data: {path: p, classes: {roses: \"*\"}}\n"),
              HasSubstr("data.classes has the one class 'roses': two or more are told apart"));
  EXPECT_THAT(error_of(head + "data: {path: p, classes: [roses]}\n"),
              HasSubstr("data.classes needs none or a map of patterns, one for each class, got a "
                        "list"));
  EXPECT_TRUE(regression_of(head + "data: {path: p, classes: none}\n").data.classes.empty());
  EXPECT_EQ(error_of("model: lenet\nstop: {epochs: 1}\n"
                     "data: {source: folder, folder: f, validation: 0.5, size: 8,\n"
                     "       classes: {a: x, b: y}}\n"),
            "j.yaml:4:8: data.classes has no effect without data.source folder and data.path");
  EXPECT_EQ(error_of("model: lenet\nstop: {epochs: 1}\n"
                     "data: {source: folder, path: p, size: 8, classes: {a: x, b: y}}\n"),
            "");
}

TEST(FeatureJob, TheShippedOnes) {
  const fs::path jobs = fs::path(GENTRAIN_SOURCE_DIR) / "jobs";
  const Job flowers = load_job(jobs / "flowers_features.yaml");
  EXPECT_EQ(flowers.kind, JobKind::kFeatureRegression);
  EXPECT_EQ(flowers.model.name, "inception_v3");
  EXPECT_EQ(flowers.model.pretrained.layer, "mixed8");
  EXPECT_EQ(flowers.data.classes.size(), 2);
  EXPECT_EQ(flowers.regression, trainers::RegressionOptions()) << "Spark's numbers";
  EXPECT_EQ(load_job(jobs / "tiny/regression.yaml").weights.file, "random");
}

}  // namespace
}  // namespace gentrain::jobs
