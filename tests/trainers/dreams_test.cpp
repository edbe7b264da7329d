// Jobs of dreams: the same bytes for any ranks and threads, what their folder holds and keeps, and
// what is looked at before the first dream.
#include "trainers/dreams.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/dream_runs.h"
#include "tests/trainers/small_runs.h"
#include "trainers/dream_folder.h"
#include "trainers/dream_sources.h"
#include "trainers/run_lock.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::HasSubstr;
using testing::StartsWith;

/// Jobs of dreams in a folder with three pictures.
class Dreams : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("gentrain_dreams_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "in");
    for (const int i : {0, 1, 2}) {
      image::Image picture{30 + i, 44, 3, {}};
      for (std::int64_t k = 0; k < picture.h * picture.w * 3; ++k) {
        picture.pixels.push_back(static_cast<std::uint8_t>((k * (i + 3) / 5) % 256));
      }
      image::write_png(folder_ / "in" / ("p" + std::to_string(i) + ".png"), picture);
    }
    options_.weights.file = "random";
    options_.op_threads = 2;
    dream_.images = {(folder_ / "in").string()};
  }
  void TearDown() override { fs::remove_all(folder_); }

  DreamSetting setting(const std::string& output) const {
    return {.options = options_,
            .dream = dream_,
            .output = folder_ / output,
            .identity = "a job",
            .resolved = "kind: deepdream\n"};
  }
  /// Every file of an output by its name.
  std::map<std::string, std::string> files(const std::string& output) const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / output)) {
      if (entry.is_regular_file()) {
        std::ifstream file(entry.path(), std::ios::binary);
        all[fs::relative(entry.path(), folder_ / output).string()] = {
            std::istreambuf_iterator<char>(file), {}};
      }
    }
    return all;
  }
  void run(const std::string& output, int ranks, std::int64_t threads) {
    options_.threads = threads;
    const DreamSetting job = setting(output);
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      EXPECT_TRUE(run_dreams(job, communicator));
    });
  }
  std::string refusal(const std::string& output) const {
    return message_of<Error>([&] { run_dreams(setting(output), *comm::make_single()); });
  }

  fs::path folder_;
  TrainOptions options_;
  DreamOptions dream_ = small_dream();
};

TEST_F(Dreams, AreTheSameBytesForAnyRanksAndThreads) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16Emulated}) {
    options_.precision = precision;
    fs::remove_all(folder_ / "one");
    run("one", 1, 1);
    const auto one = files("one");
    EXPECT_EQ(one.size(),
              3U * 4 + 3);  // two iterations, dream, record; and what says whose they are
    EXPECT_TRUE(one.contains("001_p0/iteration_02.png"));
    EXPECT_TRUE(one.contains("003_p2.png"));
    for (const auto& [ranks, threads] :
         {std::pair{1, 2}, std::pair{2, 1}, std::pair{3, 2}, std::pair{4, 1}}) {
      fs::remove_all(folder_ / "other");
      run("other", ranks, threads);
      EXPECT_EQ(files("other"), one) << ranks << " ranks of " << threads << " threads";
    }
  }
}

TEST_F(Dreams, DependOnTheirSeed) {
  run("one", 1, 1);
  options_.seed = 2;  // of the jitter, and of these weights
  run("other", 1, 1);
  EXPECT_NE(files("other").at("001_p0.png"), files("one").at("001_p0.png"));
}

TEST_F(Dreams, StayOnceTheyAreThere) {
  run("out", 1, 1);
  const auto all = files("out");
  const auto time = fs::last_write_time(folder_ / "out/001_p0.png");
  fs::remove(folder_ / "out/002_p1.json");
  fs::remove(folder_ / "out/metrics.jsonl");
  run("out", 2, 1);
  EXPECT_EQ(files("out"), all);
  EXPECT_EQ(fs::last_write_time(folder_ / "out/001_p0.png"), time);
}

TEST_F(Dreams, WriteTheirTerms) {
  run("out", 1, 2);
  std::ifstream file(folder_ / "out/metrics.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0]["image"], "p0.png");
  EXPECT_EQ(lines[3]["image"], "p1.png");
  EXPECT_EQ(lines[3]["iteration"], 2);
  const nlohmann::json& one = lines[0];
  double sum = one["continuity"].get<double>() + one["l2"].get<double>();
  for (const auto& [layer, term] : one["layers"].items()) {
    sum += term.get<double>();
  }
  EXPECT_NEAR(sum, one["loss"].get<double>(), 1e-9 * std::abs(sum));
  EXPECT_LT(one["loss"].get<double>(), one["before"].get<double>());
}

TEST_F(Dreams, OfAnotherJobAreNotTouched) {
  run("out", 1, 1);
  dream_.images = {(folder_ / "in/p0.png").string()};
  EXPECT_EQ(refusal("out"),
            "output: " + (folder_ / "out").string() +
                " holds the dreams of another job, of other images, weights or libraries: name "
                "another folder, or start over with --overwrite");
  DreamSetting over = setting("out");
  over.overwrite = true;
  const std::map<std::string, std::string> own = {{"2024_notes.json", "{\"identity\": 3}"},
                                                  {"1_my.state", "mine"},
                                                  {"002_p1/mine.txt", "mine"}};
  for (const auto& [name, text] : own) {
    std::ofstream(folder_ / "out" / name) << text;
  }
  EXPECT_TRUE(run_dreams(over, *comm::make_single()));
  const auto now = files("out");
  for (const auto& [name, text] : own) {
    EXPECT_EQ(now.at(name), text);
  }
  for (const char* name : {"002_p1.json", "002_p1.png", "002_p1/iteration_01.png"}) {
    EXPECT_FALSE(now.contains(name)) << name;
  }
  EXPECT_FALSE(fs::exists(folder_ / "out/003_p2"));
}

TEST_F(Dreams, NothingIsRemovedWhereNoneWere) {
  fs::create_directories(folder_ / "out");
  std::ofstream(folder_ / "out/001_a.json") << R"({"identity": "x", "sha256": "y", "steps": []})";
  std::ofstream(folder_ / "out/metrics.jsonl") << "mine";
  DreamFolder(folder_ / "out", "me").open("", true, true);
  EXPECT_TRUE(fs::exists(folder_ / "out/001_a.json"));
  EXPECT_TRUE(fs::exists(folder_ / "out/metrics.jsonl"));
  DreamFolder(folder_ / "out", "me").open("", true, false);
  EXPECT_FALSE(fs::exists(folder_ / "out/001_a.json"));
  EXPECT_FALSE(fs::exists(folder_ / "out/metrics.jsonl"));
}

TEST_F(Dreams, WriteNothingOnceTheirLockIsLost) {
  DreamFolder folder(folder_ / "out", "me");
  folder.open("", false, false);
  folder.hold("another run");
  const DreamKey key{0, "a.png", "hash"};
  const image::Image picture{1, 1, 3, {1, 2, 3}};
  EXPECT_THROW(folder.save(key, {0, 1, {1, 1, {1, 2, 3}}}, {}, picture, false), LostLockError);
  EXPECT_THROW(folder.finish(key, {}, picture), LostLockError);
  EXPECT_THROW(folder.write_metrics(""), LostLockError);
  EXPECT_EQ(files("out").size(), 2U) << "what open() wrote";
}

TEST_F(Dreams, SayThatTheirFolderCannotBeMade) {
  std::ofstream(folder_ / "file") << "no folder";
  EXPECT_THAT(
      refusal("file/out"),
      StartsWith("output: the folder " + (folder_ / "file/out").string() + " cannot be made: "));
}

TEST_F(Dreams, NeedTheSameImagesOnAllRanks) {
  fs::copy(folder_ / "in", folder_ / "in2");
  fs::copy_file(folder_ / "in/p0.png", folder_ / "in2/p1.png",
                fs::copy_options::overwrite_existing);
  DreamOptions other = dream_;
  other.images = {(folder_ / "in2").string()};
  run_ranks(2, [&](comm::Communicator& communicator) {
    DreamSetting job = setting("out");
    const DreamSetting mine{.options = job.options,
                            .dream = communicator.rank() == 0 ? dream_ : other,
                            .output = job.output,
                            .identity = job.identity,
                            .resolved = job.resolved};
    EXPECT_THROW(run_dreams(mine, communicator), CommError);
  });
}

TEST_F(Dreams, SayWhatIsWrongWithTheirImages) {
  dream_.images = {"nowhere.jpg"};
  EXPECT_EQ(refusal("out"), "images: nowhere.jpg is not there: a file or folder is needed");
  std::ofstream(folder_ / "bad.png") << "no image";
  dream_.images = {(folder_ / "bad.png").string()};
  dream_.height = 0;
  EXPECT_THAT(refusal("out"), StartsWith((folder_ / "bad.png").string()));
  image::write_png(folder_ / "dot.png", {1, 1, 3, {1, 2, 3}});
  dream_.images = {(folder_ / "dot.png").string()};
  EXPECT_THAT(refusal("out"),
              StartsWith("dot.png: an image of 1 x 1 pixels does not fit squeezenet: "
                         "conv1 (convolution): "));
  fs::create_directories(folder_ / "empty");
  dream_.images = {(folder_ / "empty").string()};
  EXPECT_THAT(refusal("out"), HasSubstr("the folder holds no images"));
}

TEST_F(Dreams, NeedMemory) {
  dream_.height = dream_.width = 60000;
  EXPECT_THAT(refusal("out"), AllOf(StartsWith("there is not enough memory: 1 rank on host "),
                                    HasSubstr(". p0.png of 60000 x 60000 pixels takes "),
                                    HasSubstr(" MiB of it: a smaller `size` needs less")));
}

TEST_F(Dreams, BeginWithADrawnFaceWhereThereIsNoPicture) {
  const char* const before = std::getenv("GENTRAIN_DATA");
  const std::string data = before == nullptr ? "" : before;
  ::setenv("GENTRAIN_DATA", (folder_ / "nothing").c_str(), 1);
  dream_.images.clear();
  std::string note;
  const auto sources = dream_sources(dream_, note);
  data.empty() ? ::unsetenv("GENTRAIN_DATA") : ::setenv("GENTRAIN_DATA", data.c_str(), 1);
  ASSERT_EQ(sources.size(), 1U);
  EXPECT_THAT(note, StartsWith("images: none are named"));
  const LoadedSource drawn = load_source({"face", {}}, dream_);
  EXPECT_EQ(drawn.image.h, 40);
  EXPECT_EQ(drawn.image.w, 36);
}

TEST_F(Dreams, UnfinishedAreReadBackWhole) {
  const DreamFolder folder(folder_ / "out", "me");
  folder.open("", false, false);
  const DreamKey key{1, "cats/tom.jpg", "hash"};
  const DreamState state{1, 2, {2, 1, {1.5, -2, 3e-300, 4, 5, 6}}};
  const image::Image picture{2, 1, 3, {1, 2, 3, 4, 5, 6}};
  folder.save(key, state, nlohmann::json::array({7}), picture, true);
  EXPECT_TRUE(fs::exists(folder_ / "out/002_cats_tom/octave_2_iteration_02.png"));
  const auto found = folder.unfinished(key);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->state.octave, 1);
  EXPECT_EQ(found->state.iterations, 2);
  EXPECT_EQ(found->state.image.values, state.image.values);
  EXPECT_EQ(found->steps, nlohmann::json::array({7}));
  EXPECT_FALSE(folder.unfinished({1, "cats/tom.jpg", "another file"}).has_value());
  EXPECT_FALSE(DreamFolder(folder_ / "out", "you").unfinished(key).has_value());
  const fs::path file = folder_ / "out/002_cats_tom.state";
  const std::string whole = files("out").at("002_cats_tom.state");
  for (const auto& [text, changed] :
       {std::pair{"\"octave\":1", "\"octave\":0"},
        std::pair{"\"iterations\":2", "\"iterations\":1"}, std::pair{"\"h\":2,", "\"h\":3,"}}) {
    std::string damaged = whole;
    ASSERT_NE(damaged.find(text), std::string::npos) << text;
    damaged.replace(damaged.find(text), std::string(text).size(), changed);
    std::ofstream(file, std::ios::binary) << damaged;
    EXPECT_FALSE(folder.unfinished(key).has_value()) << changed;
  }
  std::ofstream(file, std::ios::binary) << whole;
  EXPECT_TRUE(folder.unfinished(key).has_value());
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_FALSE(folder.unfinished(key).has_value());
  std::ofstream(file) << "nonsense";
  EXPECT_FALSE(folder.unfinished(key).has_value());
  folder.finish(key, nlohmann::json::array({8}), picture);
  EXPECT_FALSE(fs::exists(file));
  EXPECT_EQ(folder.finished(key), nlohmann::json::array({8}));
}

TEST_F(Dreams, AreEstimatedAndTimed) {
  const DreamEstimate estimate = estimate_dreams(options_, dream_);
  EXPECT_EQ(estimate.images, 3U);
  EXPECT_EQ(estimate.h, 40);
  EXPECT_EQ(estimate.missing, "");
  EXPECT_GT(estimate.bytes, 0);
  EXPECT_LT(estimate_dreams(options_, dream_, 2).bytes, estimate.bytes) << "a host's weights";
  const BenchResult result = bench_dreams(setting("out"), {.stage = "", .steps = 2, .warmup = 1},
                                          std::chrono::system_clock::now(), *comm::make_single());
  EXPECT_EQ(result.batch, 1);
  EXPECT_GT(result.images_per_s(), 0);
  EXPECT_NEAR(result.gflop_per_step, estimate.gflop, 1e-9);
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  const auto refused = [&](const BenchOptions& bench) {
    return message_of<JobError>([&] {
      bench_dreams(setting("out"), bench, std::chrono::system_clock::now(), *comm::make_single());
    });
  };
  EXPECT_THAT(refused({.stage = "gan"}), StartsWith("--stage: a job of the kind deepdream has no"));
  EXPECT_THAT(refused({.stage = "", .forward = true}),
              StartsWith("--forward: a job of the kind deepdream has no"));
  EXPECT_EQ(refused({.stage = "", .steps = 0}),
            "--steps 0, --warmup 5: at least 1 and 0 are needed");
}

}  // namespace
}  // namespace gentrain::trainers
