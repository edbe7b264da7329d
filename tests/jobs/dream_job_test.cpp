// Jobs of the kind deepdream: their keys, and what the verbs make of them.
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/image/image.h"
#include "jobs/cli/job.h"
#include "tests/jobs/job_error.h"
#include "tests/jobs/verbs_fixture.h"

namespace gentrain::jobs {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using trainers::DreamOptimizer;
using trainers::DreamOptions;

Job dream_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_job("kind: deepdream\n" + text, "j.yaml", overrides);
}

std::string dream_error(const std::string& text) {
  return error_of("kind: deepdream\n" + text);
}

TEST(DreamJob, HasKeysOfItsOwn) {
  const Job job = dream_of(
      "seed: 4\nimages: [a.jpg, b]\nsize: [60, 70]\nmodel: inception_v3\nweights: random\n"
      "preset: none\nlayers: {mixed4: 2, mixed5/x: {coefficient: -1.5, channels: [3, 7]}}\n"
      "continuity: 0.5\njitter: 1\niterations: 3\noptimizer: {name: gradient_ascent, lr: 0.5, "
      "steps: 9, normalised: false}\noctaves: {count: 3, scale: 1.5}\nop_threads: 2\n");
  EXPECT_EQ(job.kind, JobKind::kDeepDream);
  EXPECT_EQ(job.seed, 4U);
  EXPECT_EQ(job.op_threads, 2);
  EXPECT_EQ(job.weights.file, "random");
  const DreamOptions& dream = job.dream;
  EXPECT_EQ(dream.images, (std::vector<std::string>{"a.jpg", "b"}));
  EXPECT_EQ(dream.height, 60);
  EXPECT_EQ(dream.width, 70);
  EXPECT_EQ(dream.network, "inception_v3");
  EXPECT_EQ(dream.layers,
            (std::vector<trainers::DreamLayer>{{"mixed4", 2, {}}, {"mixed5/x", -1.5, {3, 7}}}));
  EXPECT_EQ(dream.weights, (trainers::DreamWeights{0.5, 0}));
  EXPECT_EQ(dream.optimizer.name, DreamOptimizer::Name::kGradientAscent);
  EXPECT_EQ(dream.optimizer.steps, 9);
  EXPECT_FALSE(dream.optimizer.normalised);
  EXPECT_EQ(dream.octaves, 3);
  EXPECT_EQ(parse_job(dump_job(job), "j.yaml"), job);
}

TEST(DreamJob, TakesItsPresetsAndWhatIsGivenBesideThem) {
  DreamOptions bad_trip;
  bad_trip.preset = DreamOptions::Preset::kBadTrip;
  trainers::take_preset(bad_trip);
  EXPECT_EQ(dream_of("").dream, DreamOptions());
  EXPECT_EQ(dream_of("preset: bad_trip\n").dream, bad_trip);
  EXPECT_EQ(dream_of("preset: dreamy\n", {"preset=bad_trip"}).dream, bad_trip);
  const Job own = dream_of("l2: 0.3\npreset: bad_trip\n");
  EXPECT_EQ(own.dream.weights.l2, 0.3);
  EXPECT_EQ(own.dream.jitter, 5);
  EXPECT_EQ(parse_job(dump_job(own), "j.yaml"), own);
  EXPECT_EQ(dream_of("images: cat.jpg\nsize: 50\n").dream.images,
            (std::vector<std::string>{"cat.jpg"}));
  EXPECT_EQ(dream_of("size: none\n").dream.height, 0);
}

TEST(DreamJob, TheShippedOnesAreTheBooks) {
  const std::string folder = std::string(GENTRAIN_SOURCE_DIR) + "/jobs/";
  const Job shipped = load_job(folder + "deepdream.yaml");
  EXPECT_EQ(shipped.dream.layers, DreamOptions().layers);
  EXPECT_EQ(shipped.dream.network, "vgg16");
  EXPECT_EQ(shipped.dream.height, 600);
  EXPECT_EQ(shipped.dream.width, 600);
  EXPECT_EQ(shipped.dream.iterations, 5);
  EXPECT_EQ(shipped.dream.optimizer.max_evaluations, 7);
  EXPECT_EQ(shipped.op_threads, 2);
  EXPECT_EQ(load_job(folder + "deepdream.yaml", {"preset=bad_trip"}).dream.jitter, 5);
  EXPECT_EQ(load_job(folder + "tiny/dream.yaml").dream.octaves, 2);
}

TEST(DreamJob, KeysThatChangeNoBytesAreNotCompared) {
  EXPECT_EQ(job_identity(dream_of("threads: 1\noutput: a\n")),
            job_identity(dream_of("threads: 2\n")));
  EXPECT_NE(job_identity(dream_of("op_threads: 2\n")), job_identity(dream_of("")));
  EXPECT_NE(job_identity(dream_of("preset: bad_trip\n")), job_identity(dream_of("")));
}

TEST(DreamJob, SaysWhatIsWrong) {
  EXPECT_THAT(dream_error("stop: {steps: 1}\n"),
              StartsWith("j.yaml:2:1: unknown key 'stop' in a job of kind deepdream"));
  EXPECT_EQ(dream_error("preset: none\n"),
            "j.yaml: layers is empty but a dream needs a layer at least, as {block5_conv1: 0.05}");
  EXPECT_EQ(dream_error("layers: [a]\n"),
            "j.yaml:2:9: layers needs a map of layers, as {block5_conv1: 0.05}, got a list");
  EXPECT_EQ(dream_error("layers: {a: x}\n"),
            "j.yaml:2:13: layers.a needs a finite number, got 'x'");
  EXPECT_THAT(dream_error("layers: {a: {channels: [1.5]}}\n"),
              AllOf(HasSubstr("layers.a needs a coefficient"),
                    HasSubstr("layers.a has the channel 1.5, no whole number")));
  EXPECT_THAT(dream_error("layers: {a: {coefficient: 1, channels: [-1]}}\n"),
              HasSubstr("layers.a.channels is -1 but must be at least 0"));
  EXPECT_THAT(dream_error("layers: {a: {coefficient: 1, channels: [2, 2]}}\n"),
              HasSubstr("layers.a has a channel twice"));
  EXPECT_THAT(dream_error("octaves: {count: 2}\nzoom: 1.1\n"),
              StartsWith("j.yaml:3:1: zoom is 1.1 but with octaves.count 2 there is none"));
  EXPECT_THAT(dream_error("model: {file: x.h5}\n"),
              HasSubstr("model.file needs model.preprocess: caffe, inception, torch or none"));
  EXPECT_EQ(dream_error("model: {file: x.h5, preprocess: caffe}\nweights: random\n"),
            "j.yaml:3:1: weights: model.file has its own weights, so there is no choice of others");
  EXPECT_THAT(dream_error("iterations: 0\nop_threads: 65\nl2: -1\nmodel: lenet\n"),
              AllOf(HasSubstr("iterations is 0 but must be at least 1"),
                    HasSubstr("op_threads is 65 but must be at least 1 and at most 64"),
                    HasSubstr("l2 is -1 but must be at least 0"),
                    HasSubstr("model.name is 'lenet' but must be one of inception_v3, vgg16")));
}

/// A picture and the small job beside the folder with the trained model.
class DreamVerbs : public Verbs {
 protected:
  static void SetUpTestSuite() {
    Verbs::SetUpTestSuite();
    image::Image picture{40, 40, 3, {}};
    for (int i = 0; i < 40 * 40 * 3; ++i) {
      picture.pixels.push_back(static_cast<std::uint8_t>(i * 3 % 256));
    }
    image::write_png(path("cat.png"), picture);
  }
  static std::vector<std::string> with(std::vector<std::string> words,
                                       const std::vector<std::string>& keys = {}) {
    words.insert(words.begin() + (words.empty() || words[0] == "run" ? 0 : 1),
                 std::string(GENTRAIN_SOURCE_DIR) + "/jobs/tiny/dream.yaml");
    std::erase(words, "run");
    for (const std::string& key :
         {"images=" + path("cat.png").string(), "output=" + path("dreams").string()}) {
      words.insert(words.end(), {"--set", key});
    }
    for (const std::string& key : keys) {
      words.insert(words.end(), {"--set", key});
    }
    return words;
  }
};

TEST_F(DreamVerbs, RunWritesPicturesAndTerms) {
  const Outcome done = gentrain(with({"run"}));
  EXPECT_EQ(done.code, kSuccess) << done.err;
  EXPECT_THAT(done.out, AllOf(HasSubstr("weights: drawn at random"),
                              HasSubstr("cat.png, octave 1 of 2, iteration 1 of 2: loss "),
                              HasSubstr("1 of 1 dreams are in ")));
  EXPECT_TRUE(fs::exists(path("dreams/001_cat/octave_2_iteration_02.png")));
  EXPECT_TRUE(fs::exists(path("dreams/001_cat.png")));
  EXPECT_TRUE(fs::exists(path("dreams/metrics.jsonl")));
  const Outcome again = gentrain(with({"run"}));
  EXPECT_EQ(again.code, kSuccess);
  EXPECT_THAT(again.out, HasSubstr("cat.png: is dreamt already"));
  const Outcome other = gentrain(with({"run"}, {"seed=2"}));
  EXPECT_EQ(other.code, kUsage);
  EXPECT_THAT(other.err, HasSubstr("holds the dreams of another job"));
  EXPECT_EQ(gentrain(with({"run", "--overwrite"}, {"seed=2"})).code, kSuccess);
  const Outcome resume = gentrain(with({"run", "--resume", "x.h5"}));
  EXPECT_EQ(resume.code, kUsage);
  EXPECT_THAT(resume.err, HasSubstr("is of the kind deepdream, which goes on with its output "
                                    "alone: auto or never"));
}

TEST_F(DreamVerbs, CheckTellsWhatItTakes) {
  const Outcome there = gentrain(with({"check"}));
  EXPECT_EQ(there.code, kSuccess) << there.err;
  EXPECT_THAT(there.out, AllOf(StartsWith("kind: deepdream\n"),
                               HasSubstr("largest            cat.png, 48 x 40 pixels\n"),
                               HasSubstr("memory             at least "),
                               HasSubstr("missing            nothing\n")));
  const Outcome many = gentrain(with({"check", "--ranks", "1000000"}));
  EXPECT_EQ(many.code, kDeviceGone);
  EXPECT_THAT(many.err, HasSubstr("there is not enough memory: 1000000 ranks on host "));
  EXPECT_THAT(many.err, Not(ContainsRegex("on host [^ ]*:[0-9]")));
  const Outcome missing = gentrain(with({"check"}, {"weights=nowhere.h5"}));
  EXPECT_EQ(missing.code, kBadFile);
  EXPECT_THAT(missing.out, HasSubstr("nowhere.h5"));
  const Outcome unknown = gentrain(with({"check"}, {"layers={fire22/concat: 1}"}));
  EXPECT_EQ(unknown.code, kUsage);
  EXPECT_THAT(unknown.err, HasSubstr("layers: the network has no layer 'fire22/concat' (known: "));
}

TEST_F(DreamVerbs, BenchCountsGradients) {
  const Outcome bench = gentrain(with({"bench", "--steps", "2", "--warmup", "0"}));
  EXPECT_EQ(bench.code, kSuccess) << bench.err;
  const nlohmann::json last = bench.last_line();
  EXPECT_EQ(last["stage"], "gradients");
  EXPECT_EQ(last["batch"], 1);
  EXPECT_GT(last["images_per_s"].get<double>(), 0);
  const Outcome forward = gentrain(with({"bench", "--forward"}));
  EXPECT_EQ(forward.code, kUsage);
}

}  // namespace
}  // namespace gentrain::jobs
