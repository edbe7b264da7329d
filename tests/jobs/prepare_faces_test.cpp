// Jobs of the kind prepare_faces: their keys, what verbs make of them, and training jobs that take
// what they prepare.
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/image/pack.h"
#include "jobs/cli/job.h"
#include "kernels/error.h"
#include "tests/core/portraits.h"
#include "tests/jobs/verbs_fixture.h"
#include "tests/support/compare.h"

namespace gentrain::jobs {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kJob = "kind: prepare_faces\n";

Job prepare_job(const std::string& text) {
  return parse_job(text, "j.yaml");
}

std::string prepare_error(const std::string& text) {
  return message_of<JobError>([&] { prepare_job(text); });
}

TEST(PrepareFacesJob, HasKeysOfItsOwn) {
  const Job job = prepare_job(
      "kind: prepare_faces\noutput: out\nthreads: 2\n"
      "data: {folder: f, faces: {size: 64, margin: 1.5, test_share: 0.1}}\n");
  EXPECT_EQ(job.kind, JobKind::kPrepareFaces);
  EXPECT_EQ(job.output, "out");
  EXPECT_EQ(job.threads, 2);
  EXPECT_EQ(job.data.folder, "f");
  EXPECT_EQ(job.data.faces, (image::FaceOptions{64, 1.5, 0.1}));
  EXPECT_EQ(prepare_job(kJob).data.faces, (image::FaceOptions{96, 1.4, 0.05}));
  EXPECT_EQ(prepare_job(kJob).output, "runs/j");
  EXPECT_EQ(dump_job(job),
            "kind: prepare_faces\noutput: out\nthreads: 2\ndata:\n  folder: f\n  faces:\n"
            "    size: 64\n    margin: 1.5\n    test_share: 0.1\n");
  EXPECT_EQ(parse_job(dump_job(job), "j.yaml"), job);
}

TEST(PrepareFacesJob, RefusesAllOtherKeys) {
  EXPECT_EQ(prepare_error("kind: prepare_faces\nseed: 1\nstop: {steps: 1}\ndata: {source: lfw}\n"),
            "j.yaml:2:1: unknown key 'seed' in a job of kind prepare_faces (known: kind, output, "
            "threads, data)\n"
            "j.yaml:3:1: unknown key 'stop' in a job of kind prepare_faces (known: kind, output, "
            "threads, data)\n"
            "j.yaml:4:8: unknown key 'source' in data (known: folder, faces)");
  EXPECT_EQ(
      prepare_error("kind: prepare_faces\ndata: {faces: {size: 0, margin: 0.9, test_share: 1}}\n"),
      "j.yaml:2:22: data.faces.size is 0 but must be at least 1 and at most 4096\n"
      "j.yaml:2:33: data.faces.margin is 0.9 but must be at least 1 and at most 10\n"
      "j.yaml:2:50: data.faces.test_share is 1 but must be above 0 and below 1");
  EXPECT_EQ(prepare_error("kind: prepare\nmodel: lenet\nstop: {steps: 1}\n"),
            "j.yaml:1:7: kind is 'prepare' but must be one of train, prepare_faces, "
            "feature_regression, deepdream");
}

TEST(PrepareFacesJob, KeysOfFacesNeedASourceThatReadsThem) {
  const std::string lenet = "model: lenet\nstop: {epochs: 1}\n";
  EXPECT_EQ(prepare_error(lenet + "data: {cache: c, faces: {size: 64}}\n"),
            "j.yaml:3:8: data.cache has no effect without data.source lfw, or auto with model.name "
            "srgan, or content.cache, or a pretrained network\n"
            "j.yaml:3:26: data.faces.size has no effect without data.source lfw, or auto with "
            "model.name srgan");
  EXPECT_EQ(prepare_error(lenet + "data: {source: lfw, cache: c, folder: f, faces: {size: 64}}\n"),
            "nothing was thrown");
  EXPECT_EQ(
      prepare_error("model: srgan\nstages: {gan: {stop: {epochs: 1}}}\ncontent: {cache: true}\n"
                    "data: {source: faces, cache: c}\n"),
      "nothing was thrown");
  EXPECT_EQ(job_identity(prepare_job(lenet + "data: {source: lfw, cache: c}\n")),
            job_identity(prepare_job(lenet + "data: {source: lfw}\n")));
  EXPECT_NE(job_identity(prepare_job(lenet + "data: {source: lfw, faces: {margin: 2}}\n")),
            job_identity(prepare_job(lenet + "data: {source: lfw}\n")));
}

/// A folder of photographs beside the one with the trained model.
class PrepareFaces : public Verbs {
 protected:
  static void SetUpTestSuite() {
    Verbs::SetUpTestSuite();
    fs::create_directories(path("lfw"));
    int count = 0;
    for (const image::Image& face : image::drawn_portraits(8)) {
      image::write_png(path("lfw") / fmt::format("{}.png", count++), image::portrait(face));
    }
    ASSERT_EQ(count, 8);
    write(path("lfw/bad.png"), "no image");
    write(path("faces.yaml"), preparation(path("lfw").string(), path("out").string()));
  }
  static std::string preparation(const std::string& folder, const std::string& output) {
    return fmt::format(
        "kind: prepare_faces\noutput: {}\ndata: {{folder: {}, faces: {{size: 32, test_share: "
        "0.5}}}}\n",
        output, folder);
  }
  static std::string faces() { return path("faces.yaml").string(); }
};

TEST_F(PrepareFaces, WritesPacksThatJobsTake) {
  const Outcome done = gentrain({faces()});
  EXPECT_EQ(done.code, kSuccess) << done.err;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr(fmt::format("preparing 9 photographs in {}: 1 rank x ",
                                          path("lfw").string())),
                    HasSubstr("8 of 9 photographs are kept: "), HasSubstr(", 1 unreadable\n"),
                    HasSubstr(fmt::format("wrote train.h5, test.h5 and report.json to {} after ",
                                          path("out").string()))));
  const auto train = image::open_pack(path("out/train.h5"), {});
  const auto test = image::open_pack(path("out/test.h5"), {});
  EXPECT_EQ(train.samples->size() + test.samples->size(), 8);
  EXPECT_EQ(train.samples->sample_shape(), Shape({32, 32, 3}));
  EXPECT_EQ(train.more["faces"]["counts"]["photographs"], 9);
  EXPECT_EQ(gentrain({"verify", path("out/train.h5").string()}).code, kSuccess);
  EXPECT_EQ(gentrain({faces(), "--quiet"}).out, "");
}

TEST_F(PrepareFaces, CheckTellsWhatIsThere) {
  const Outcome there = gentrain({"check", faces()});
  EXPECT_EQ(there.code, kSuccess);
  EXPECT_THAT(there.out,
              AllOf(StartsWith("kind: prepare_faces\n"),
                    HasSubstr(fmt::format("photographs        9 in {}\n", path("lfw").string())),
                    HasSubstr("missing            nothing\n"), Not(HasSubstr("seed"))));
  const Outcome missing = gentrain({"check", faces(), "--set", "data.folder=nowhere"});
  EXPECT_EQ(missing.code, kBadFile);
  EXPECT_THAT(missing.out, HasSubstr("the photographs of faces are not there: a folder of images "
                                     "was looked for as nowhere"));
}

TEST_F(PrepareFaces, OtherVerbsRefuseIt) {
  const Outcome bench = gentrain({"bench", faces()});
  EXPECT_EQ(bench.code, kUsage);
  EXPECT_EQ(bench.err, fmt::format("gentrain: bench: {} is of the kind prepare_faces, which takes "
                                   "no steps\n",
                                   faces()));
  const Outcome resumed = gentrain({faces(), "--resume", "never"});
  EXPECT_EQ(resumed.code, kUsage);
  EXPECT_EQ(resumed.err, fmt::format("gentrain: --resume: {} is of the kind prepare_faces, which "
                                     "begins anew each time\n",
                                     faces()));
}

TEST_F(PrepareFaces, SaysWhatIsWrongWithItsFolders) {
  fs::create_directories(path("empty"));
  const Outcome empty = gentrain({faces(), "--set", "data.folder=" + path("empty").string()});
  EXPECT_EQ(empty.code, kBadFile);
  EXPECT_THAT(empty.err, StartsWith(fmt::format("gentrain: {}: the folder holds no images",
                                                path("empty").string())));
  const Outcome output = gentrain({faces(), "--set", "output=" + path("lfw/bad.png/x").string()});
  EXPECT_EQ(output.code, kBadFile);
  EXPECT_EQ(output.err, fmt::format("gentrain: output: the folder {} cannot be made: Not a "
                                    "directory\n",
                                    path("lfw/bad.png/x").string()));
}

TEST_F(PrepareFaces, CheckOfATrainingJobPreparesNothing) {
  write(
      path("train.yaml"),
      fmt::format("batch: {{global: 4, shards: 2}}\nmodel: vae\nstop: {{steps: 1}}\n"
                  "data: {{source: lfw, folder: {}, cache: {}, normalize: {{train: {{mean: 0, std: "
                  "1}}}}}}\n",
                  path("lfw").string(), path("cache").string()));
  const Outcome before = gentrain({"check", path("train.yaml").string()});
  EXPECT_EQ(before.code, kSuccess) << before.err;
  EXPECT_THAT(before.out,
              HasSubstr(fmt::format("stand for the 9 photographs in {}, which the first run "
                                    "prepares: there will be at most as many images",
                                    path("lfw").string())));
  EXPECT_FALSE(fs::exists(path("cache")));
  const Outcome missing =
      gentrain({"check", path("train.yaml").string(), "--set", "data.folder=nowhere"});
  EXPECT_EQ(missing.code, kBadFile);
  EXPECT_THAT(missing.out, HasSubstr("missing            the photographs of faces are not there"));
  const Outcome other =
      gentrain({"check", path("train.yaml").string(), "--set", "data.faces.size=32"});
  EXPECT_EQ(other.code, kBadFile);
  EXPECT_THAT(other.out, HasSubstr("missing            the faces are not prepared yet, and drawn "
                                   "ones, of 96 x 96 pixels, cannot stand for those of 32 x 32"));
}

}  // namespace
}  // namespace gentrain::jobs
