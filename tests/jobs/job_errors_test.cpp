// Everything that can be wrong with a job file: each message as a whole, with its position.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/jobs/job_error.h"

namespace gentrain::jobs {
namespace {

/// The error of a right job with lines added behind its two.
std::string added(const std::string& lines, const std::vector<std::string>& overrides = {}) {
  return error_of("model: lenet\nstop: {epochs: 1}\n" + lines, overrides);
}

/// The error of a job with these layers.
std::string layers(const std::string& list) {
  return error_of("stop: {epochs: 1}\nmodel:\n  layers: [" + list + "]\n");
}

TEST(JobErrors, TheBaseOfTheseTestsIsRight) {
  EXPECT_EQ(added(""), "");
}

TEST(JobErrors, UnknownKey) {
  EXPECT_EQ(added("bach: {global: 64}"),
            "j.yaml:3:1: unknown key 'bach' in the job (did you mean 'batch'?)");
  EXPECT_EQ(added("batch: {globl: 64}"),
            "j.yaml:3:9: unknown key 'globl' in batch (did you mean 'global'?)");
  EXPECT_EQ(added("batch: {completely_different: 64}"),
            "j.yaml:3:9: unknown key 'completely_different' in batch (known: global, shards)");
  EXPECT_EQ(added("data:\n  normalize:\n    train: {men: 1}"),
            "j.yaml:5:13: unknown key 'men' in data.normalize.train (did you mean 'mean'?)");
}

TEST(JobErrors, WrongType) {
  EXPECT_EQ(added("seed: many"), "j.yaml:3:7: seed needs an integer, got 'many'");
  EXPECT_EQ(added("seed: 1.5"), "j.yaml:3:7: seed needs an integer, got '1.5'");
  EXPECT_EQ(added("seed: 60_000"), "j.yaml:3:7: seed needs an integer, got '60_000'");
  EXPECT_EQ(added("seed: 0x10"), "j.yaml:3:7: seed needs an integer, got '0x10'");
  EXPECT_EQ(added("seed: 010"), "j.yaml:3:7: seed needs an integer, got '010'");
  EXPECT_EQ(added("seed: \"1\""), "j.yaml:3:7: seed needs an integer, got the text '1'");
  EXPECT_EQ(added("seed: [1]"), "j.yaml:3:7: seed needs an integer, got a list");
  EXPECT_EQ(added("seed: {a: 1}"), "j.yaml:3:7: seed needs an integer, got a map");
  EXPECT_EQ(added("seed:"), "j.yaml:3:1: seed needs an integer, got nothing");
  EXPECT_EQ(added("output: [a]"), "j.yaml:3:9: output needs a text, got a list");
  EXPECT_EQ(added("optimizer: {lr: high}"),
            "j.yaml:3:17: optimizer.lr needs a finite number, got 'high'");
  EXPECT_EQ(added("optimizer: {momentum: 0.9, nesterov: yes}"),
            "j.yaml:3:38: optimizer.nesterov needs true or false, got 'yes'");
  EXPECT_EQ(added("optimizer: {momentum: 0.9, nesterov: True}"),
            "j.yaml:3:38: optimizer.nesterov needs true or false, got 'True'");
  EXPECT_EQ(added("batch: 64"), "j.yaml:3:8: batch needs a map of keys, got '64'");
  EXPECT_EQ(added("optimizer: [sgd]"),
            "j.yaml:3:12: optimizer needs a name or a map of keys, got a list");
  EXPECT_EQ(added("device: [cpu]"), "j.yaml:3:9: device needs one of auto, cpu, cuda, got a list");
  EXPECT_EQ(added("trainable: conv1/*"),
            "j.yaml:3:12: trainable needs a list of patterns, as [\"conv1/*\"], got 'conv1/*'");
  EXPECT_EQ(added("trainable: []"),
            "j.yaml:3:12: trainable needs a list of patterns, as [\"conv1/*\"], got a list");
}

TEST(JobErrors, OutOfRange) {
  EXPECT_EQ(added("batch: {global: 0, shards: 1}"),
            "j.yaml:3:17: batch.global is 0 but must be at least 1 and at most 10000000");
  EXPECT_EQ(added("seed: -1"), "j.yaml:3:7: seed is -1 but must be at least 0");
  EXPECT_EQ(added("threads: 5000"),
            "j.yaml:3:10: threads is 5000 but must be at least 0 and at most 4096");
  EXPECT_EQ(added("data: {validation: 1}"),
            "j.yaml:3:20: data.validation is 1 but must be at least 0 and below 1");
  EXPECT_EQ(added("optimizer: {name: adam, epsilon: 0}"),
            "j.yaml:3:34: optimizer.epsilon is 0 but must be above 0");
  EXPECT_EQ(error_of("model: lenet\nstop: {steps: -1}"),
            "j.yaml:2:15: stop.steps is -1 but must be at least 0 and at most 1000000000000");
}

TEST(JobErrors, CountsThatWouldOverflow) {
  const auto too_large = [](const std::string& lines, const std::string& value) {
    return testing::AssertionResult(
               added(lines + value + "}").find(" is " + value + " but must be ") !=
               std::string::npos)
           << lines << value << ": " << added(lines + value + "}");
  };
  for (const char* key :
       {"batch: {global: ", "data: {source: digits, train_count: ",
        "data: {source: digits, test_count: ", "evaluate: {batch: ", "evaluate: {every: ",
        "log: {every: ", "early_stop: {metric: top1, patience: ", "schedule: {name: step, every: ",
        "schedule: {name: cosine, total: ", "schedule: {warmup: "}) {
    EXPECT_TRUE(too_large(key, "1000000000001"));
    EXPECT_TRUE(too_large(key, "9223372036854775807"));
  }
  for (const char* key : {"epochs", "steps"}) {
    EXPECT_THAT(
        error_of(fmt::format("model: lenet\nstop: {{{}: 9223372036854775807}}", key)),
        testing::StartsWith(fmt::format("j.yaml:2:{}: stop.{} is 9223372036854775807 but must "
                                        "be at least 0 and at most ",
                                        std::string(key).size() + 10, key)));
  }
  for (const char* layer :
       {"conv: {kernel: 3, out: ", "conv: {out: 3, kernel: ", "conv: {out: 3, kernel: 3, stride: ",
        "conv: {out: 3, kernel: 3, padding: ", "max_pool: {size: ",
        "average_pool: {size: 2, stride: ", "linear: {out: "}) {
    EXPECT_THAT(layers(fmt::format("{{{}4294967296}}}}", layer)),
                testing::HasSubstr(" is 4294967296 but must be at least "))
        << layer;
  }
}

TEST(JobErrors, WhatThisVersionHasNot) {
  EXPECT_EQ(
      added("device: cuda"),
      "j.yaml:3:1: device is cuda, but this build has no CUDA backend: set it to cpu or auto");
  EXPECT_EQ(
      added("precision: bf16"),
      "j.yaml:3:1: precision is bf16, but this version has no bf16 products for any "
      "processor: f32 is faster. bf16_emulated keeps tensors in bf16 all the same and computes "
      "in f32");
  EXPECT_EQ(added("", {"precision=tf32"}),
            "--set precision=tf32: precision is tf32, but only CUDA devices have it");
  EXPECT_EQ(added("op_threads: 2"),
            "j.yaml:3:1: op_threads is 2, but this version cuts no operation into parts: only 1 is "
            "there");
}

TEST(JobErrors, NumbersThatAreNoneOrTooLarge) {
  EXPECT_EQ(added("seed: 18446744073709551616"),
            "j.yaml:3:7: seed is 18446744073709551616, which is too large");
  EXPECT_EQ(added("threads: 9223372036854775808"),
            "j.yaml:3:10: threads is 9223372036854775808, which is too large");
  EXPECT_EQ(added("clip_norm: 1e999"),
            "j.yaml:3:12: clip_norm is 1e999, which is too large or too small");
  EXPECT_EQ(added("clip_norm: .nan"), "j.yaml:3:12: clip_norm needs a finite number, got '.nan'");
  EXPECT_EQ(added("clip_norm: .inf"), "j.yaml:3:12: clip_norm needs a finite number, got '.inf'");
  EXPECT_EQ(added("clip_norm: nan"), "j.yaml:3:12: clip_norm needs a finite number, got 'nan'");
  EXPECT_EQ(added("clip_norm: 1e"), "j.yaml:3:12: clip_norm needs a finite number, got '1e'");
}

TEST(JobErrors, ValueThatIsNotInTheList) {
  EXPECT_EQ(added("device: gpu"),
            "j.yaml:3:9: device is 'gpu' but must be one of auto, cpu, cuda (did you mean 'cpu'?)");
  EXPECT_EQ(added("optimizer: lbfgs"),
            "j.yaml:3:12: optimizer.name is 'lbfgs' but must be one of sgd, adam, adamw, rmsprop");
  EXPECT_EQ(error_of("model: lenett\nstop: {epochs: 1}"),
            "j.yaml:1:8: model.name is 'lenett' but must be one of lenet, vae, vae_conv, srgan, "
            "inception_v3, vgg16, vgg19, squeezenet (did you mean 'lenet'?)");
}

TEST(JobErrors, Intervals) {
  for (const char* wrong : {"1 week", "epoch", "1.5 epochs", "[5]"}) {
    EXPECT_THAT(added(fmt::format("checkpoint: {{every: {}}}", wrong)),
                ::testing::HasSubstr("checkpoint.every needs a number of steps, `1 epoch`, `30 s`, "
                                     "end or never, got "))
        << wrong;
  }
  EXPECT_EQ(added("checkpoint: {every: 0 s}"),
            "j.yaml:3:21: checkpoint.every is 0 but must be at least 1 and at most 1000000000");
  EXPECT_EQ(added("checkpoint: {every: 10000000000 s}"),
            "j.yaml:3:21: checkpoint.every is 10000000000 but must be at least 1 and at most "
            "1000000000");
  EXPECT_EQ(added("checkpoint: {every: 0}"),
            "j.yaml:3:21: checkpoint.every is 0 but must be at least 1 and at most 1000000000000");
  EXPECT_EQ(added("checkpoint: {keep: 0}"),
            "j.yaml:3:20: checkpoint.keep is 0 but must be at least 1 and at most 1000");
}

TEST(JobErrors, InitFromNeedsAFile) {
  EXPECT_EQ(added("init_from: {parameters: ['conv*']}"),
            "j.yaml:3:13: init_from.parameters has no effect without init_from.name");
}

TEST(JobErrors, DuplicateKey) {
  EXPECT_EQ(added("seed: 1\nstop: {epochs: 2}"),
            "j.yaml:4:1: duplicate key 'stop' (first in line 2)");
  EXPECT_EQ(added("batch: {global: 64, global: 32}"),
            "j.yaml:3:21: duplicate key 'global' (first in line 3)");
  EXPECT_EQ(added("? [a, b]\n: 1"), "j.yaml:3:3: a key must be a name");
}

TEST(JobErrors, TabInLeadingWhiteSpace) {
  EXPECT_EQ(error_of("stop:\n\tepochs: 1\n \t steps: 1\n"),
            "j.yaml:2:1: tab in leading white space (indent with spaces)\n"
            "j.yaml:3:2: tab in leading white space (indent with spaces)\n"
            "j.yaml:3:9: YAML syntax: illegal map value");
  // The rest is read as if a space stood there.
  EXPECT_EQ(error_of("stop:\n\tepochs: many\nbach: 1\nmodel: lenet\n"),
            "j.yaml:2:1: tab in leading white space (indent with spaces)\n"
            "j.yaml:2:10: stop.epochs needs an integer or none, got 'many'\n"
            "j.yaml:3:1: unknown key 'bach' in the job (did you mean 'batch'?)");
  EXPECT_EQ(added("seed:\t1  # a tab elsewhere is none of our business\n\t\n"), "");
}

TEST(JobErrors, Syntax) {
  EXPECT_EQ(error_of("seed: 1\nbatch: {global: 3\nmodel: lenet\n"),
            "j.yaml:3:6: YAML syntax: end of map flow not found");
  EXPECT_EQ(error_of("seed: 1\n  batch: 2\n"), "j.yaml:2:8: YAML syntax: illegal map value");
  EXPECT_EQ(error_of("seed: 1\n---\nseed: 2\n"),
            "j.yaml:3:1: holds 2 YAML documents, but one job is one document");
  EXPECT_EQ(added("output: !folder x"), "j.yaml:3:9: output: the tag !folder is not known");
  EXPECT_EQ(added("output: &x [*x]"),
            "j.yaml:3:9: the job is nested too deeply or refers to itself");
}

TEST(JobErrors, NotAMap) {
  EXPECT_EQ(error_of(""), "j.yaml: the job file is empty");
  EXPECT_EQ(error_of("# only a comment\n"), "j.yaml: the job file is empty");
  EXPECT_EQ(error_of("- a\n"), "j.yaml:1:1: a job is a map of keys, got a list");
  EXPECT_EQ(error_of("lenet\n"), "j.yaml:1:1: a job is a map of keys, got 'lenet'");
}

TEST(JobErrors, Files) {
  const auto error_of_file = [](const std::string& path) -> std::string {
    try {
      load_job(path);
    } catch (const JobError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of_file("/nowhere/j.yaml"), "/nowhere/j.yaml: there is no such job file");
  const std::string folder = testing::TempDir();
  EXPECT_EQ(error_of_file(folder), folder + ": is a folder, not a job file");
  const std::string large = folder + "/gentrain_job_errors_large.yaml";
  std::ofstream(large) << std::string(1 << 21, '#');
  EXPECT_EQ(error_of_file(large), large + ": is larger than 1048576 bytes, so not a job file");
  std::filesystem::remove(large);
}

TEST(JobErrors, Variables) {
  unsetenv("GENTRAIN_TEST_UNSET");
  EXPECT_EQ(
      added("output: \"${GENTRAIN_TEST_UNSET}/x\""),
      "j.yaml:3:9: output: the environment variable GENTRAIN_TEST_UNSET is not set; set it, or "
      "write ${GENTRAIN_TEST_UNSET:-default}");
  EXPECT_EQ(added("output: \"a${HOME\""), "j.yaml:3:9: output: 'a${HOME' has a ${ without its }");
  EXPECT_EQ(added("output: \"${a b}\""),
            "j.yaml:3:9: output: ${a b} does not name an environment variable");
}

TEST(JobErrors, Layers) {
  EXPECT_EQ(layers("{covn: {out: 1}}"),
            "j.yaml:3:12: model.layers.1 has the unknown layer 'covn' (did you mean 'conv'?)");
  EXPECT_EQ(layers("flatten, {tanh: 3}"),
            "j.yaml:3:21: model.layers.2 gives values to tanh, which takes none: write tanh alone");
  EXPECT_EQ(layers("conv"), "j.yaml:3:12: model.layers.1 needs values for conv, as {conv: {...}}");
  EXPECT_EQ(layers("{conv: {out: 6}}"), "j.yaml:3:19: model.layers.1.conv.kernel is missing");
  EXPECT_EQ(layers("{conv: 6}"), "j.yaml:3:19: model.layers.1.conv needs a map of values, got '6'");
  EXPECT_EQ(
      layers("{conv: {out: 0, kernel: [3, 0]}}"),
      "j.yaml:3:25: model.layers.1.conv.out is 0 but must be at least 1 and at most 10000000\n"
      "j.yaml:3:40: model.layers.1.conv.kernel is 0 but must be at least 1 and at most 100000");
  EXPECT_EQ(
      layers("{conv: {out: 6, kernel: 3, padding: some}}"),
      "j.yaml:3:48: model.layers.1.conv.padding needs an integer, [h, w] or same, got 'some'");
  EXPECT_EQ(layers("{max_pool: {size: [1, 2, 3], strid: 2}}"),
            "j.yaml:3:30: model.layers.1.max_pool.size needs an integer or [h, w], got a list\n"
            "j.yaml:3:41: unknown key 'strid' in model.layers.1.max_pool (did you mean 'stride'?)");
  EXPECT_EQ(
      layers("{max_pool: {size: 2, stride: 0}}"),
      "j.yaml:3:41: model.layers.1.max_pool.stride is 0 but must be at least 1 and at most 100000");
  EXPECT_EQ(layers("{dropout: 1}"),
            "j.yaml:3:22: model.layers.1.dropout.rate is 1 but must be at least 0 and below 1");
  EXPECT_EQ(layers("{linear: 10, tanh: }"),
            "j.yaml:3:12: model.layers.1 needs one layer, as tanh or {conv: {out: 6, kernel: 5}}, "
            "got a map of 2 keys");
  EXPECT_EQ(layers("[tanh]"),
            "j.yaml:3:12: model.layers.1 needs one layer, as tanh or {conv: {out: 6, kernel: 5}}, "
            "got a list");
  EXPECT_EQ(layers(""), "j.yaml:3:11: model.layers needs a list of layers, got a list");
}

TEST(JobErrors, Stages) {
  const std::string stages =
      "model: lenet\nstages:\n  head: {stop: {epochs: 1}}\n  all: {stop: {epochs: 1}}\n";
  EXPECT_EQ(error_of(stages), "");
  EXPECT_EQ(error_of(stages + "stop: {steps: 1}\n"),
            "j.yaml:5:1: this job has stages, so stop is set in each, as stages.NAME.stop");
  EXPECT_EQ(error_of(stages + "  a b: {stop: {epochs: 1}}\n"),
            "j.yaml:5:3: a stage's name has letters, digits, _ and - only, got 'a b'");
  EXPECT_EQ(error_of(stages + "  none:\n"),
            "j.yaml:5:3: stages.none needs a map of keys, got nothing");
  EXPECT_EQ(error_of(stages + "  last: {optimiser: adam, stop: {steps: 1}}\n"),
            "j.yaml:5:10: unknown key 'optimiser' in stages.last (did you mean 'optimizer'?)");
  EXPECT_EQ(error_of(stages + "  last: {optimizer: adam}\n"),
            "j.yaml:5:3: nothing ends the stage 'last'; set stages.last.stop.epochs or "
            "stages.last.stop.steps");
  EXPECT_EQ(error_of("model: lenet\nstages: {}\n"),
            "j.yaml:2:9: stages needs a map of stages, got a map");
}

TEST(JobErrors, AllAtOnceInOrderOfTheFile) {
  EXPECT_EQ(added("log: {every: 0}\nbach: 3\nseed: x\n", {"thread=1"}),
            "j.yaml:3:14: log.every is 0 but must be at least 1 and at most 1000000000000\n"
            "j.yaml:4:1: unknown key 'bach' in the job (did you mean 'batch'?)\n"
            "j.yaml:5:7: seed needs an integer, got 'x'\n"
            "--set thread=1: unknown key 'thread' in the job (did you mean 'threads'?)");
}

TEST(JobErrors, Overrides) {
  EXPECT_EQ(added("", {"seed"}), "--set seed: needs the form KEY=VALUE, as --set optimizer.lr=0.1");
  EXPECT_EQ(added("", {"=1"}), "--set =1: needs the form KEY=VALUE, as --set optimizer.lr=0.1");
  EXPECT_EQ(added("", {"batch.globl=1"}),
            "--set batch.globl=1: unknown key 'globl' in batch (did you mean 'global'?)");
  EXPECT_EQ(added("", {"seed=x"}), "--set seed=x: seed needs an integer, got 'x'");
  EXPECT_EQ(added("", {"output="}), "--set output=: output needs a text, got nothing");
  EXPECT_EQ(added("", {"trainable=[a"}),
            "--set trainable=[a: YAML syntax: end of sequence flow not found");
  EXPECT_EQ(added("seed: 1", {"seed.x=1"}),
            "--set seed.x=1: seed has no keys, it can only be set as a whole");
  EXPECT_EQ(added("", {"data={source: digits, source: mnist}"}),
            "--set data={source: digits, source: mnist}: duplicate key 'source'");
  EXPECT_EQ(added("", {"stages.a.stop.steps=1"}),
            "--set stages.a.stop.steps=1: this job has no stages; set the key without stages.NAME");
  EXPECT_EQ(
      error_of("model: lenet\nstages: {gan: {stop: {steps: 1}}}", {"stages.gna.stop.steps=1"}),
      "--set stages.gna.stop.steps=1: unknown stage 'gna' (did you mean 'gan'?)");
}

TEST(JobErrors, BatchAgainstShards) {
  EXPECT_EQ(added("batch: {global: 8}"),
            "j.yaml:3:9: batch.global 8 is below batch.shards 16, so some shards would always be "
            "empty; set batch.shards to at most 8");
  EXPECT_EQ(added("batch: {global: 8, shards: 8}"), "");
  EXPECT_EQ(added("batch: {global: 64, shards: 8}", {"batch.global=4"}),
            "--set batch.global=4: batch.global 4 is below batch.shards 8, so some shards would "
            "always be empty; set batch.shards to at most 4");
}

TEST(JobErrors, ModelAndStop) {
  EXPECT_EQ(
      error_of("seed: 1"),
      "j.yaml: model is missing; set model to lenet, vae, vae_conv, srgan, inception_v3, vgg16, "
      "vgg19, squeezenet or {layers: [...]}\n"
      "j.yaml: nothing ends the stage 'train'; set stop.epochs or stop.steps");
  EXPECT_EQ(error_of("model: {name: lenet, layers: [flatten]}\nstop: {steps: 1}"),
            "j.yaml:1:22: model.name and model.layers exclude each other");
  EXPECT_EQ(error_of("model: lenet\nstop: {epochs: none}"),
            "j.yaml:2:1: nothing ends the stage 'train'; set stop.epochs or stop.steps");
  EXPECT_EQ(added("init: normal"), "j.yaml:3:1: init normal needs init.stddev above 0");
  EXPECT_EQ(added("init: {stddev: 0.1}"),
            "j.yaml:3:8: init.stddev has no effect without init.name normal");
}

TEST(JobErrors, Data) {
  EXPECT_EQ(added("data: {source: hdf5}"),
            "j.yaml:3:8: data.source hdf5 needs data.train_file\n"
            "j.yaml:3:8: data.source hdf5 needs data.test_file, or data.validation above 0");
  EXPECT_EQ(added("data: {source: hdf5, train_file: a.h5, validation: 0.1}"), "");
  EXPECT_EQ(
      added("data: {source: digits, folder: x, train_file: a.h5}"),
      "j.yaml:3:24: data.folder has no effect without data.source mnist, auto, lfw or folder\n"
      "j.yaml:3:35: data.train_file has no effect without data.source hdf5");
  EXPECT_EQ(
      added("data: {source: mnist, train_count: 5}"),
      "j.yaml:3:23: data.train_count has no effect without data.source digits, faces or auto");
}

TEST(JobErrors, Images) {
  EXPECT_EQ(added("data: {source: folder}"),
            "j.yaml:3:8: data.source folder needs data.path or data.folder\n"
            "j.yaml:3:8: data.source folder needs data.test_folder, or data.validation above 0");
  EXPECT_EQ(added("data: {source: folder, folder: a, test_folder: b, size: [4, 6], fit: stretch, "
                  "channels: 1, on_bad_file: skip}"),
            "");
  EXPECT_EQ(added("data: {source: folder, folder: a, validation: 0.1, size: none}"), "");
  EXPECT_EQ(added("data: {source: folder, folder: a, test_folder: b, channels: 2}"),
            "j.yaml:3:51: data.channels is 2, images have 3 (RGB) or 1 (grey)");
  EXPECT_EQ(added("data: {source: folder, folder: a, test_folder: b, size: 0}"),
            "j.yaml:3:57: data.size is 0 but must be at least 1 and at most 100000");
  EXPECT_EQ(added("data: {size: 5, fit: stretch, channels: 1, on_bad_file: skip, test_folder: x}"),
            "j.yaml:3:8: data.size has no effect without data.source folder\n"
            "j.yaml:3:17: data.fit has no effect without data.source folder\n"
            "j.yaml:3:31: data.channels has no effect without data.source folder\n"
            "j.yaml:3:44: data.on_bad_file has no effect without data.source folder\n"
            "j.yaml:3:63: data.test_folder has no effect without data.source folder");
}

TEST(JobErrors, Augmentation) {
  EXPECT_EQ(added("data: {augment: {rotation: 30, shear: 0.2, zoom: 0.2}}"), "");
  EXPECT_EQ(added("data: {augment: {rotation: 181, shear: 90, width_shift: 1}}"),
            "j.yaml:3:28: data.augment.rotation is 181 but must be at least 0 and at most 180\n"
            "j.yaml:3:40: data.augment.shear is 90 but must be at least 0 and below 90\n"
            "j.yaml:3:57: data.augment.width_shift is 1 but must be at least 0 and below 1");
  EXPECT_EQ(added("data: {augment: {zoom: 1}}"),
            "j.yaml:3:24: data.augment.zoom is 1 but must be at least 0 and below 1");
  EXPECT_EQ(added("data: {augment: {zoom: [0, 1]}}"),
            "j.yaml:3:25: data.augment.zoom is 0 but must be above 0 and at most 100");
  EXPECT_EQ(added("data: {augment: {zoom: [1.5, 1.2]}}"),
            "j.yaml:3:24: data.augment.zoom is [1.5, 1.2] but the lower factor comes first");
  EXPECT_EQ(added("data: {augment: {zoom: [1, 2, 3]}}"),
            "j.yaml:3:24: data.augment.zoom needs a number or [low, high], got a list");
  EXPECT_EQ(added("data: {augment: {fill_mode: mirror}}"),
            "j.yaml:3:29: data.augment.fill_mode is 'mirror' but must be one of nearest, constant, "
            "reflect, wrap");
  EXPECT_EQ(error_of("model: vae\nstop: {epochs: 1}\ndata: {augment: {rotation: 5}}"),
            "j.yaml:3:8: data.augment: model vae learns no classes; only a classifier's labelled "
            "training images are augmented: set it to none");
  EXPECT_EQ(error_of("model: vae\nstop: {epochs: 1}\ndata: {augment: none}"), "");
}

TEST(JobErrors, Classification) {
  EXPECT_EQ(added("class_weight: auto\nevaluate: {top_k: 3, report: false}"), "");
  EXPECT_EQ(added("class_weight: balanced"),
            "j.yaml:3:15: class_weight is 'balanced' but must be one of none, auto");
  EXPECT_EQ(added("evaluate: {top_k: 0}"),
            "j.yaml:3:19: evaluate.top_k is 0 but must be at least 1 and at most 10000000");
  EXPECT_EQ(
      error_of("model: vae\nstop: {epochs: 1}\nclass_weight: auto\nevaluate: {top_k: 3, report: "
               "false}"),
      "j.yaml:3:1: class_weight has no effect without a classifier as model\n"
      "j.yaml:4:12: evaluate.top_k has no effect without a classifier as model\n"
      "j.yaml:4:22: evaluate.report has no effect without a classifier as model");
}

TEST(JobErrors, OptimizerScheduleAndMetrics) {
  EXPECT_EQ(added("optimizer: {name: adam, momentum: 0.9}"),
            "j.yaml:3:25: optimizer.momentum has no effect without optimizer.name sgd");
  EXPECT_EQ(added("optimizer: {nesterov: true}"),
            "j.yaml:3:13: optimizer.nesterov has no effect without momentum above 0");
  EXPECT_EQ(added("optimizer: {beta1: 0.5}"),
            "j.yaml:3:13: optimizer.beta1 has no effect without optimizer.name adam or adamw");
  EXPECT_EQ(added("optimizer: {name: rmsprop, beta2: 0.5, rho: 0.8, epsilon: 1e-7}"),
            "j.yaml:3:28: optimizer.beta2 has no effect without optimizer.name adam or adamw");
  EXPECT_EQ(added("optimizer: {rho: 0.8, epsilon: 1e-7}"),
            "j.yaml:3:13: optimizer.rho has no effect without optimizer.name rmsprop\n"
            "j.yaml:3:23: optimizer.epsilon has no effect without optimizer.name adam, adamw or "
            "rmsprop");
  EXPECT_EQ(added("schedule: step"),
            "j.yaml:3:1: schedule step needs schedule.every of at least 1");
  EXPECT_EQ(added("schedule: cosine"),
            "j.yaml:3:1: schedule cosine needs schedule.total of at least 1");
  EXPECT_EQ(added("schedule: {name: cosine, total: 9, floor: 1}"),
            "j.yaml:3:36: schedule.floor 1 is above the learning rate 0.01");
  EXPECT_EQ(added("schedule: {decay: 0.1}"),
            "j.yaml:3:12: schedule.decay has no effect without schedule.name inverse_time");
  EXPECT_EQ(
      added("early_stop: {patience: 5}"),
      "j.yaml:3:14: early_stop.patience has no effect without early_stop.metric top1 or loss");
  EXPECT_EQ(added("best: {mode: max}"),
            "j.yaml:3:8: best.mode has no effect without best.metric top1 or loss");
}

}  // namespace
}  // namespace gentrain::jobs
