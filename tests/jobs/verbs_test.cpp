// The verbs, run in this process: what they print, their exit codes, and every error.
#include "jobs/cli/verbs.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/array_file.h"
#include "jobs/cli/draw.h"
#include "jobs/cli/job.h"
#include "tests/jobs/verbs_fixture.h"

namespace gentrain::jobs {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(Verbs, HelpListsVerbsAndExitCodes) {
  const Outcome help = gentrain({"--help"});
  EXPECT_EQ(help.code, kSuccess);
  for (const Verb& verb : verbs()) {
    EXPECT_THAT(help.out, HasSubstr("  " + std::string(verb.usage)));
    EXPECT_THAT(help.out, HasSubstr(std::string(verb.summary)));
  }
  for (const ExitCodeText& code : kExitCodes) {
    EXPECT_THAT(help.out, HasSubstr(std::string(code.meaning)));
  }
  EXPECT_EQ(gentrain({}).code, kUsage);
}

TEST_F(Verbs, EachHasAHelp) {
  for (const Verb& verb : verbs()) {
    const Outcome help = gentrain({std::string(verb.name), "--help"});
    EXPECT_EQ(help.code, kSuccess);
    EXPECT_THAT(help.out, StartsWith("usage: ")) << verb.name;
    EXPECT_THAT(help.out, HasSubstr("--help")) << verb.name;
  }
}

TEST_F(Verbs, UnknownVerbNamesTheNearest) {
  const Outcome near = gentrain({"chek", job()});
  EXPECT_EQ(near.code, kUsage);
  EXPECT_EQ(
      near.err,
      "gentrain: 'chek' is neither a verb nor a job file (did you mean 'check'?); verbs: "
      "train, launch, submit, check, bench, eval, predict, features, summary, export, sample, "
      "upscale, pack, fetch, cache, verify, list\n");
  const Outcome far = gentrain({"zzzzzzzzzz"});
  EXPECT_EQ(far.err,
            "gentrain: 'zzzzzzzzzz' is neither a verb nor a job file (known: train, launch, "
            "submit, check, bench, eval, predict, features, summary, export, sample, upscale, "
            "pack, fetch, cache, verify, list)\n");
  EXPECT_THAT(gentrain({"no/such.yaml"}).err, HasSubstr("no/such.yaml: there is no such job file"));
}

TEST_F(Verbs, WrongOptionsShowTheUsage) {
  const Outcome unknown = gentrain({"bench", job(), "--stpes", "3"});
  EXPECT_EQ(unknown.code, kUsage);
  EXPECT_THAT(unknown.err, HasSubstr("--stpes"));
  EXPECT_THAT(unknown.err, HasSubstr("(usage: [mpirun -np N] gentrain bench JOB [options])"));
  const Outcome missing = gentrain({"check"});
  EXPECT_EQ(missing.code, kUsage);
  EXPECT_THAT(missing.err, HasSubstr("the job is missing (usage: gentrain check JOB [options])"));
}

TEST_F(Verbs, BenchEndsWithJson) {
  const Outcome bench = gentrain({"bench", job(), "--steps", "3", "--warmup", "1", "--set",
                                  "output=" + path("unwritten").string()});
  EXPECT_EQ(bench.code, kSuccess) << bench.err;
  EXPECT_THAT(bench.out, HasSubstr("job, stage whole: batch 32 in 16 shards, 1 rank x 1 thread"));
  const nlohmann::json json = bench.last_line();
  const double step_ms = json.at("step_ms");
  EXPECT_GT(step_ms, 0);
  EXPECT_LE(json.at("step_ms_min"), step_ms);
  EXPECT_NEAR(json.at("images_per_s"), 32e3 / step_ms, 1e-6 * 32e3 / step_ms);
  EXPECT_GE(json.at("best_images_per_s"), json.at("images_per_s"));
  // Forward, gradients of weights; gradients of inputs but for the first layer.
  constexpr double kFirst = 86400;
  constexpr double kOthers = 115200 + 19200 + 1000;
  const double flops = 32 * 2 * (2 * kFirst + 3 * kOthers);
  EXPECT_NEAR(json.at("gflop_per_step"), flops * 1e-9, 1e-12);
  EXPECT_NEAR(json.at("gflop_per_s"), flops * 1e-6 / step_ms, 1e-9 * flops);
  EXPECT_GT(json.at("startup_s"), 0);
  EXPECT_GT(json.at("peak_rss_mib"), json.at("tensor_peak_mib"));
  EXPECT_EQ(json.at("exchanged_bytes"), 0);
  EXPECT_EQ(json.at("ranks"), 1);
  EXPECT_EQ(json.at("threads"), 1);
  EXPECT_EQ(json.at("shards"), 16);
  EXPECT_EQ(json.at("batch"), 32);
  EXPECT_FALSE(fs::exists(path("unwritten")));
}

TEST_F(Verbs, BenchCountsWhatAStageTrains) {
  const nlohmann::json head =
      gentrain({"bench", job(), "--stage", "head", "--steps", "1"}).last_line();
  EXPECT_EQ(head.at("stage"), "head");
  const double forward = 32 * 2 * (86400 + 115200 + 19200 + 1000) * 1e-9;
  EXPECT_NEAR(head.at("gflop_per_step"), forward + 32 * 2 * 1000 * 1e-9, 1e-12);
  const nlohmann::json alone = gentrain({"bench", job(), "--forward", "--steps", "1"}).last_line();
  EXPECT_NEAR(alone.at("gflop_per_step"), forward, 1e-12);
}

TEST_F(Verbs, BenchRefusesImpossibleCounts) {
  EXPECT_THAT(gentrain({"bench", job(), "--stage", "tail"}).err,
              HasSubstr("there is no stage 'tail' (there are head, whole)"));
  const Outcome none = gentrain({"bench", job(), "--steps", "0"});
  EXPECT_EQ(none.code, kUsage);
  EXPECT_THAT(none.err, HasSubstr("--steps 0: at least 1 step has to be timed"));
  EXPECT_THAT(gentrain({"bench", job(), "--warmup=-1"}).err,
              HasSubstr("--warmup -1: cannot be below 0"));
}

TEST_F(Verbs, CheckPrintsJobLayersAndNeeds) {
  const Outcome check = gentrain({"check", job(), "--ranks", "3"});
  EXPECT_EQ(check.code, kSuccess) << check.err;
  EXPECT_THAT(check.out, StartsWith(dump_job(load_job(job()))));
  EXPECT_THAT(check.out, testing::ContainsRegex(
                             "conv2 +\\[8, 8, 12\\] +1,812 +115,200  conv2/weight conv2/bias\n"));
  EXPECT_THAT(check.out, testing::ContainsRegex("parameters +22,278"));
  EXPECT_THAT(check.out, testing::ContainsRegex("steps +3\n"));
  EXPECT_THAT(check.out, testing::ContainsRegex("ranks x threads +3 x 1"));
  EXPECT_THAT(check.out, testing::ContainsRegex("shards +at most 6 a rank"));
  EXPECT_THAT(check.out, testing::ContainsRegex("tensor memory +[0-9.]+ MiB a rank"));
  EXPECT_THAT(check.out, testing::ContainsRegex(
                             "resident memory +[0-9]+ MiB a rank, [0-9]+ more of rank 0 while it "
                             "writes a checkpoint\nall ranks +[0-9]+ MiB on one host: 3 x [0-9]+, "
                             "and once [0-9]+ .* and [0-9]+ .a checkpoint."));
  EXPECT_THAT(check.out, testing::ContainsRegex("exchanged +at most [0-9,]+ bytes sent"));
  EXPECT_THAT(check.out, testing::ContainsRegex("missing +nothing"));
}

TEST_F(Verbs, CheckSaysWhatIsMissing) {
  const Outcome mnist =
      gentrain({"check", job(), "--set", "data={source: mnist, folder: nowhere}"});
  EXPECT_EQ(mnist.code, kBadFile);
  EXPECT_THAT(mnist.out, testing::ContainsRegex("conv2 +\\[8, 8, 12\\]"));
  EXPECT_THAT(mnist.out, testing::ContainsRegex("missing +MNIST is not there: .*nowhere"));
  const Outcome hdf5 =
      gentrain({"check", job(), "--set", "data={source: hdf5, train_file: a.h5, test_file: b.h5}"});
  EXPECT_EQ(hdf5.code, kBadFile);
  EXPECT_THAT(hdf5.out, HasSubstr("source: hdf5"));
  EXPECT_THAT(hdf5.out, testing::ContainsRegex("contract +16 shards"));
  EXPECT_THAT(hdf5.out, testing::ContainsRegex("missing +a.h5 is missing"));
}

TEST_F(Verbs, CheckSaysThatContentWeightsAreMissing) {
  write(path("gan.yaml"), R"(
batch: {global: 4, shards: 2}
data: {source: auto, train_count: 4, test_count: 2}
model: {name: srgan, width: 4, blocks: 1}
threads: 1
stages:
  mse: {stop: {steps: 1}}
  gan: {stop: {steps: 1}}
samples: {every: never}
)");
  const char* old = std::getenv("GENTRAIN_DATA");
  const std::string kept = old == nullptr ? "" : old;
  setenv("GENTRAIN_DATA", path("bare").c_str(), 1);
  const Outcome check = gentrain({"check", path("gan.yaml").string()});
  setenv("GENTRAIN_DATA", kept.c_str(), 1);
  EXPECT_EQ(check.code, kBadFile) << check.err;
  EXPECT_EQ(check.err, "");
  EXPECT_THAT(check.out, testing::ContainsRegex("contract +2 shards"));
  EXPECT_THAT(check.out, testing::ContainsRegex("missing +the weights of the content loss are not "
                                                "there: vgg19.*bare/weights"));
}

TEST_F(Verbs, CheckRefusesImpossibleRanks) {
  const Outcome many = gentrain({"check", job(), "--ranks", "17"});
  EXPECT_EQ(many.code, kUsage);
  EXPECT_THAT(many.err, HasSubstr("17 ranks but only 16 shards"));
  EXPECT_THAT(gentrain({"check", job(), "--ranks", "0"}).err,
              HasSubstr("--ranks 0: at least 1 is needed"));
}

TEST_F(Verbs, EvalCountsEverySample) {
  const Outcome eval = gentrain({"eval", model(), data()});
  EXPECT_EQ(eval.code, kSuccess) << eval.err;
  const nlohmann::json json = eval.last_line();
  EXPECT_EQ(json.at("samples"), 20);
  EXPECT_EQ(json.at("correct"), 2);  // all images are alike, two have the label that they get
  EXPECT_EQ(json.at("top1"), 0.1);
  EXPECT_GT(json.at("loss"), 0);
  EXPECT_THAT(eval.out, HasSubstr("\n2 of 20 right (0.1000), loss "));
  EXPECT_EQ(gentrain({"eval", model(), "digits"}).last_line().at("samples"), 10000);
}

TEST_F(Verbs, EvalTellsTopKAndWritesAReport) {
  const Outcome eval =
      gentrain({"eval", model(), data(), "--top-k", "10", "--report", path("report").string()});
  EXPECT_EQ(eval.code, kSuccess) << eval.err;
  EXPECT_EQ(eval.last_line().at("correct_top10"), 20);
  EXPECT_EQ(eval.last_line().at("top10"), 1.0);
  for (const char* file : {"evaluation.json", "confusion.png", "mistakes.png"}) {
    EXPECT_TRUE(std::filesystem::exists(path("report") / file)) << file;
  }
  const Outcome none = gentrain({"eval", model(), data(), "--top-k", "0"});
  EXPECT_EQ(none.code, kUsage);
  EXPECT_THAT(none.err, HasSubstr("--top-k 0: must be at least 1"));
}

TEST_F(Verbs, EvalAndPredictTakeTheTestSetOfTheEnvironment) {
  const char* old = std::getenv("GENTRAIN_DATA");
  const std::string kept = old == nullptr ? "" : old;
  setenv("GENTRAIN_DATA", path("").c_str(), 1);
  EXPECT_THAT(gentrain({"eval", model()}).out, HasSubstr("MNIST's test set in " + data()));
  const Outcome few = gentrain({"predict", model(), "--format", "csv"});
  EXPECT_EQ(std::count(few.out.begin(), few.out.end(), '\n'), 1 + 8);
  setenv("GENTRAIN_DATA", kept.c_str(), 1);
}

TEST_F(Verbs, EvalRefusesWhatDoesNotFit) {
  write_test_set(path("small"), 3, 20);
  const Outcome small = gentrain({"eval", model(), path("small").string()});
  EXPECT_EQ(small.code, kUsage);
  EXPECT_THAT(small.err, HasSubstr(model() + " takes images of [28, 28, 1] but "));
  EXPECT_THAT(small.err, HasSubstr("holds images of [20, 20, 1]"));
  EXPECT_THAT(gentrain({"eval", model(), images()}).err,
              HasSubstr("there are no labels to compare with"));
  const Outcome gone = gentrain({"eval", model(), path("gone").string()});
  EXPECT_EQ(gone.code, kBadFile);
  EXPECT_THAT(gone.err, HasSubstr("gone is not there: a folder of images or of MNIST's files"));
  fs::create_directories(path("empty"));
  EXPECT_THAT(gentrain({"eval", model(), path("empty").string()}).err,
              HasSubstr("the folder holds no images"));
  EXPECT_THAT(gentrain({"eval", model(), data(), "--isa", "v9"}).err,
              HasSubstr("--isa: there is no 'v9' (known: auto, v3, v4)"));
  EXPECT_THAT(gentrain({"eval", model(), data(), "--threads=-1"}).err,
              HasSubstr("--threads -1: must be at least 0 and at most 4096"));
  EXPECT_EQ(gentrain({"eval"}).code, kUsage);
  const Outcome none =
      gentrain({"eval", path("gone.h5").string(), data(), "--importance-samples", "0"});
  EXPECT_EQ(none.code, kUsage) << "before anything is read";
  EXPECT_THAT(none.err,
              HasSubstr("--importance-samples 0: must be at least 1 and at most 1000000"));
}

TEST_F(Verbs, PredictWritesTablesCsvAndJsonLines) {
  const Outcome table = gentrain({"predict", model(), data(), "-n", "3"});
  EXPECT_EQ(table.code, kSuccess) << table.err;
  EXPECT_THAT(table.out, HasSubstr("image  label  probability"));
  EXPECT_EQ(std::count(table.out.begin(), table.out.end(), '\n'), 1 + 3);

  std::istringstream csv(gentrain({"predict", model(), images(), "--format", "csv"}).out);
  std::string line;
  std::getline(csv, line);
  EXPECT_EQ(line, "image,label,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9");
  int rows = 0;
  while (std::getline(csv, line)) {
    EXPECT_THAT(line, StartsWith(std::to_string(rows) + ","));
    ++rows;
  }
  EXPECT_EQ(rows, 20);

  const Outcome lines = gentrain({"predict", model(), data(), "-n", "1", "--format", "jsonl"});
  const nlohmann::json json = lines.last_line();
  EXPECT_EQ(json.at("image"), 0);
  EXPECT_EQ(json.at("truth"), 0);
  double sum = 0;
  for (const double p : json.at("probabilities")) {
    sum += p;
    EXPECT_LE(p, json.at("probabilities").at(json.at("label").get<std::size_t>()));
  }
  EXPECT_NEAR(sum, 1, 1e-5);
  // Labels of an idx file of images are not known.
  EXPECT_THAT(gentrain({"predict", model(), images(), "--format", "jsonl"}).out,
              Not(HasSubstr("truth")));
}

TEST_F(Verbs, PredictDrawsWhenAsked) {
  const Outcome drawn = gentrain({"predict", model(), "digits", "-n", "1", "--draw"});
  EXPECT_THAT(drawn.out, HasSubstr("image 0: "));
  EXPECT_THAT(drawn.out, HasSubstr("\u2588"));
  EXPECT_THAT(drawn.out, Not(HasSubstr("\033")));  // no colours where there is no terminal
  EXPECT_THAT(drawn.out, HasSubstr("  9 "));       // a bar for every class
  EXPECT_THAT(gentrain({"predict", model(), "digits", "-n", "1"}).out, Not(HasSubstr("\u2588")));
}

TEST_F(Verbs, PredictRefusesWrongCountsAndFiles) {
  for (const char* count : {"0", "21"}) {
    const Outcome wrong = gentrain({"predict", model(), data(), "-n", count});
    EXPECT_EQ(wrong.code, kUsage);
    EXPECT_THAT(wrong.err, HasSubstr("-n " + std::string(count) + ": there are 20 images in "));
    EXPECT_THAT(wrong.err, HasSubstr("ask for 1 to 20"));
  }
  EXPECT_THAT(gentrain({"predict", model(), data(), "--format", "xml"}).err,
              HasSubstr("--format: there is no 'xml' (known: table, csv, jsonl)"));
  write(path("cat.PNG"), "no image");
  const Outcome image = gentrain({"predict", model(), path("cat.PNG").string()});
  EXPECT_EQ(image.code, kBadFile);
  EXPECT_THAT(image.err, HasSubstr("cat.PNG is no image: JPEG, PNG, BMP and WebP are read"));
}

TEST_F(Verbs, VerifyTellsWholeFromDamaged) {
  const Outcome whole = gentrain({"verify", model()});
  EXPECT_EQ(whole.code, kSuccess);
  EXPECT_EQ(whole.out, model() + ": whole, a model of 8 arrays\n");
  fs::copy_file(model(), path("damaged.h5"));
  std::fstream file(path("damaged.h5"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-40, std::ios::end);
  const int byte = file.get();
  file.seekp(-40, std::ios::end);
  file.put(static_cast<char>(byte ^ 1));
  file.close();
  const Outcome damaged = gentrain({"verify", path("damaged.h5").string()});
  EXPECT_EQ(damaged.code, kBadFile);
  EXPECT_THAT(damaged.out, HasSubstr("damaged.h5"));
  const Outcome gone = gentrain({"verify", path("gone.h5").string()});
  EXPECT_EQ(gone.code, kBadFile);
  EXPECT_THAT(gone.out, HasSubstr("No such file"));
}

TEST_F(Verbs, VerifyTellsWhatACheckpointIs) {
  const std::string file = path("step-000000007.h5").string();
  io::write_array_file(file, {io::FileKind::kCheckpoint,
                              {{"job", "lenet"}, {"step", 7}, {"contract", "16 shards"}},
                              {{"weights/w", Shape{2}, {1, 2}}}});
  const Outcome whole = gentrain({"verify", file});
  EXPECT_EQ(whole.code, kSuccess);
  EXPECT_EQ(whole.out, file +
                           ": whole, a checkpoint of 1 arrays\n"
                           "  job       lenet\n"
                           "  step      7\n"
                           "  contract  16 shards\n");
}

TEST_F(Verbs, ListKnowsWhatJobsKnow) {
  const Outcome lists = gentrain({"list"});
  for (const char* what : {"models", "data", "optimizers", "schedules", "layers", "initializers",
                           "keys", "exit-codes"}) {
    EXPECT_THAT(lists.out, HasSubstr(what));
    const Outcome list = gentrain({"list", what});
    EXPECT_EQ(list.code, kSuccess);
    EXPECT_FALSE(list.out.empty());
  }
  EXPECT_EQ(gentrain({"list", "models"}).out,
            "lenet\nvae\nvae_conv\nsrgan\ninception_v3\nvgg16\nvgg19\nsqueezenet\n");
  EXPECT_EQ(gentrain({"list", "optimizers"}).out, "sgd\nadam\nadamw\nrmsprop\n");
  EXPECT_EQ(gentrain({"list", "keys"}).out, job_reference());
  EXPECT_THAT(gentrain({"list", "exit-codes"}).out, HasSubstr("  6  a loss that is NaN"));
  const Outcome wrong = gentrain({"list", "layer"});
  EXPECT_EQ(wrong.code, kUsage);
  EXPECT_THAT(wrong.err, HasSubstr("list: there is no 'layer' (did you mean 'layers'?)"));
}

TEST_F(Verbs, VersionNamesBuildLibrariesAndRules) {
  const Outcome version = gentrain({"--version"});
  EXPECT_EQ(version.code, kSuccess);
  EXPECT_THAT(version.out, testing::ContainsRegex("^gentrain [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_THAT(version.out, testing::ContainsRegex("libraries +oneDNN [0-9.]+, HDF5 [0-9.]+, "));
  EXPECT_THAT(version.out, testing::ContainsRegex("kernels for x86-64-v[34]"));
  EXPECT_THAT(version.out, testing::ContainsRegex("rules +f32"));
}

TEST(Draw, HalfBlocksShowInk) {
  const std::vector<std::uint8_t> pixels = {255, 255, 0, 0,   40, 40,  //
                                            255, 0,   0, 255, 40, 90};
  EXPECT_EQ(draw_image(pixels, 2, 6, false),
            std::vector<std::string>{"\u2588\u2580 \u2584\u2591\u2592"});
  // An odd number of rows: the last one stands alone.
  EXPECT_EQ(draw_image(std::vector<std::uint8_t>(3, 255), 3, 1, false),
            (std::vector<std::string>{"\u2588", "\u2580"}));
}

TEST(Draw, ColoursAreGreysOfBothPixels) {
  EXPECT_EQ(draw_image(std::vector<std::uint8_t>{255, 0}, 2, 1, true),
            std::vector<std::string>{"\033[38;5;255;48;5;232m\u2580\033[0m"});
}

TEST(Draw, BarsAreExactToAnEighth) {
  EXPECT_EQ(bar(0, 2), "  ");
  EXPECT_EQ(bar(0.5, 2), "\u2588 ");
  EXPECT_EQ(bar(1.0 / 16, 2), "\u258f ");
  EXPECT_EQ(bar(1, 2), "\u2588\u2588");
  EXPECT_EQ(bar(2, 2), "\u2588\u2588");
}

}  // namespace
}  // namespace gentrain::jobs
