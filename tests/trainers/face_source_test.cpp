// Faces out of a folder of photographs: the same packs on any number of ranks and threads, the
// cache, what is said when something is missing.
#include "trainers/face_source.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/io/cache.h"
#include "kernels/error.h"
#include "tests/core/portraits.h"
#include "tests/support/as_nobody.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"
#include "trainers/face_preparation.h"
#include "trainers/run_log.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

constexpr int kPortraits = 12;

std::string bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Twelve portraits, of which some fall to each set; a wall, two faces, a file that is no image.
void write_photographs(const fs::path& folder) {
  using image::write_png;
  const std::vector<image::Image> faces = image::drawn_portraits(kPortraits);
  ASSERT_THAT(faces, SizeIs(kPortraits));
  fs::create_directories(folder / "A");
  fs::create_directories(folder / "B");
  for (std::size_t i = 0; i < faces.size(); ++i) {
    write_png(folder / (i % 2 == 0 ? "A" : "B") / fmt::format("{:02}.png", i),
              image::portrait(faces[i]));
  }
  write_png(folder / "A/wall.png", image::empty_frame(150, 150));
  write_png(folder / "B/small.png", image::empty_frame(20, 150));
  image::Image both = image::empty_frame(2 * image::kPortraitSide, 4 * image::kPortraitSide);
  image::put_into(both, image::portrait(faces[0]), 0, 0);
  image::put_into(both, image::portrait(faces[1]), 0, 2 * image::kPortraitSide);
  write_png(folder / "B/both.png", both);
  std::ofstream(folder / "B/bad.jpg") << "no image";
}

class FaceSourceTest : public testing::Test {
 protected:
  /// The photographs are the same for all tests; drawing them takes a while.
  static void SetUpTestSuite() {
    start_log("error", 0);
    home() = fs::temp_directory_path() / fmt::format("gentrain_face_source_{}", getpid());
    write_photographs(home() / "lfw");
  }
  static void TearDownTestSuite() {
    start_log("info", 0);
    fs::remove_all(home());
  }
  static fs::path& home() {
    static fs::path path;
    return path;
  }

  FaceSourceTest() {
    if (const char* value = std::getenv("GENTRAIN_DATA"); value != nullptr) {
      saved_ = value;
    }
    unsetenv("GENTRAIN_DATA");
    fs::create_directories(root_);
    fs::current_path(root_);
  }
  ~FaceSourceTest() override {
    fs::current_path(before_);
    fs::remove_all(root_);
    if (!saved_.empty()) {
      setenv("GENTRAIN_DATA", saved_.c_str(), 1);
    }
  }
  FaceSourceTest(const FaceSourceTest&) = delete;
  FaceSourceTest& operator=(const FaceSourceTest&) = delete;

  /// A job on the photographs, with half of the faces in each set.
  [[nodiscard]] DataOptions lfw() const {
    DataOptions options;
    options.source = DataOptions::Source::kLfw;
    options.folder = (home() / "lfw").string();
    options.faces.size = 32;
    options.faces.test_share = 0.5;
    options.cache = (root_ / "cache").string();
    return options;
  }
  static LoadedData load(const DataOptions& data, const std::string& model = "srgan") {
    TrainOptions job;
    job.data = data;
    job.model.name = model;
    return load_data(job, 1, *comm::make_single());
  }
  static std::string refusal(const DataOptions& data) {
    return message_of<IoError>([&] { load(data); });
  }
  [[nodiscard]] std::size_t kept() const { return io::Cache(root_ / "cache").entries().size(); }

  fs::path root_ = home() / "run";

 private:
  std::string saved_;
  fs::path before_ = fs::current_path();
};

/// What a preparation writes, by name.
std::map<std::string, std::string> prepared(const DataOptions& data, const fs::path& output,
                                            int ranks, int threads) {
  run_ranks(ranks, [&](comm::Communicator& communicator) {
    run_face_preparation(data, output, threads, communicator);
  });
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(output)) {
    files[entry.path().filename().string()] = bytes_of(entry.path());
  }
  fs::remove_all(output);
  return files;
}

TEST_F(FaceSourceTest, TheSameFilesOnAnyNumberOfRanksAndThreads) {
  const auto same = prepared(lfw(), root_ / "out", 1, 1);
  EXPECT_THAT(same, SizeIs(3));
  for (const auto& [ranks, threads] : {std::pair{1, 3}, {2, 1}, {3, 2}, {5, 1}, {20, 1}}) {
    EXPECT_EQ(prepared(lfw(), root_ / "out", ranks, threads), same)
        << ranks << " ranks, " << threads << " threads";
  }
  DataOptions other = lfw();
  other.faces.margin = 1.3;
  EXPECT_NE(prepared(other, root_ / "out", 1, 1), same);
}

TEST_F(FaceSourceTest, TheReportSaysWhatBecameOfEveryFile) {
  const auto files = prepared(lfw(), root_ / "out", 2, 1);
  const auto report = nlohmann::json::parse(files.at("report.json"));
  EXPECT_EQ(report["counts"],
            nlohmann::json::parse(fmt::format(
                R"({{"photographs": 16, "kept": 12, "none": 1, "several": 1, "outside": 0,
                "small": 1, "unreadable": 1, "train": {}, "test": {}}})",
                report["counts"]["train"].get<int>(), 12 - report["counts"]["train"].get<int>())));
  std::map<std::string, std::string> outcomes;
  std::map<std::string, int> sets;
  for (const nlohmann::json& file : report["files"]) {
    const auto name = file["name"].get<std::string>();
    outcomes[name] = file["outcome"].get<std::string>();
    if (outcomes[name] == "kept") {
      EXPECT_EQ(file["set"], image::is_test_face(name, 0.5) ? "test" : "train") << name;
      ++sets[file["set"].get<std::string>()];
    } else if (outcomes[name] == "unreadable") {
      EXPECT_THAT(file["reason"].get<std::string>(), HasSubstr("B/bad.jpg is no image"));
    }
  }
  EXPECT_EQ(outcomes["A/00.png"], "kept");
  EXPECT_EQ(outcomes["A/wall.png"], "none");
  EXPECT_EQ(outcomes["B/bad.jpg"], "unreadable");
  EXPECT_EQ(outcomes["B/both.png"], "several");
  EXPECT_EQ(outcomes["B/small.png"], "small");
  EXPECT_EQ(report["counts"]["train"], sets["train"]);
  EXPECT_EQ(report["counts"]["test"], sets["test"]);
}

TEST_F(FaceSourceTest, TheFirstRunPreparesAndLaterOnesTakeFromTheCache) {
  const LoadedData first = load(lfw());
  EXPECT_EQ(first.pair.train->size() + first.pair.test->size(), kPortraits);
  EXPECT_EQ(first.pair.train->sample_shape(), Shape({32, 32, 3}));
  EXPECT_EQ(first.pair.train->classes(), 0);
  EXPECT_TRUE(first.pair.train->in_memory());
  EXPECT_EQ(first.pair.train_normalization.mean, 0.5);
  EXPECT_EQ(first.pair.test_normalization.stddev, 0.5);
  EXPECT_TRUE(first.note.empty());
  EXPECT_THAT(first.fact, AllOf(HasSubstr(": prepared in "), HasSubstr(" s, kept in "),
                                HasSubstr("12 of 16 photographs are kept: ")));
  EXPECT_EQ(kept(), 2U);
  const LoadedData second = load(lfw());
  EXPECT_THAT(second.fact, HasSubstr("prepared before, taken from the cache "));
  EXPECT_EQ(data_identity(second.pair), data_identity(first.pair));
  EXPECT_EQ(kept(), 2U);
  DataOptions other = lfw();
  other.faces.size = 40;
  EXPECT_THAT(load(other).fact, HasSubstr(": prepared in "));
  EXPECT_EQ(kept(), 4U);
}

TEST_F(FaceSourceTest, OtherPhotographsAreOtherFaces) {
  DataOptions options = lfw();
  options.folder = (root_ / "copy").string();
  fs::copy(home() / "lfw", options.folder, fs::copy_options::recursive);
  load(lfw());
  EXPECT_THAT(load(options).fact, HasSubstr("taken from the cache"));  // the folder does not matter
  fs::rename(root_ / "copy/B/01.png", root_ / "copy/B/x.png");
  EXPECT_THAT(load(options).fact, HasSubstr(": prepared in "));
  std::ofstream(root_ / "copy/B/bad.jpg") << "other bytes";
  EXPECT_THAT(load(options).fact, HasSubstr(": prepared in "));
}

TEST_F(FaceSourceTest, RanksPrepareOnceTogether) {
  const std::string alone = data_identity(load(lfw()).pair);
  for (const int ranks : {2, 3, 5}) {
    DataOptions options = lfw();
    options.cache = (root_ / fmt::format("cache{}", ranks)).string();
    TrainOptions job;
    job.data = options;
    job.model.name = "srgan";
    for (const char* const said : {": prepared in ", "taken from the cache"}) {
      std::vector<std::string> identities(static_cast<std::size_t>(ranks));
      std::vector<std::string> facts(identities.size());
      run_ranks(ranks, [&](comm::Communicator& communicator) {
        const LoadedData loaded = load_data(job, 1, communicator);
        const auto rank = static_cast<std::size_t>(communicator.rank());
        identities[rank] = data_identity(loaded.pair);
        facts[rank] = loaded.fact;
      });
      EXPECT_THAT(identities, testing::Each(alone));
      EXPECT_THAT(facts[0], HasSubstr(said));
    }
    EXPECT_THAT(io::Cache(options.cache).entries(), SizeIs(2));
  }
}

TEST_F(FaceSourceTest, HalfOfAnEntryIsMadeAnew) {
  load(lfw());
  const auto entries = io::Cache(root_ / "cache").entries();
  ASSERT_THAT(entries, SizeIs(2));
  for (const io::Cache::Entry& entry : entries) {
    const std::string bytes = bytes_of(root_ / "cache" / entry.key);
    fs::remove(root_ / "cache" / entry.key);
    EXPECT_THAT(load(lfw()).fact, HasSubstr(": prepared in "));
    EXPECT_EQ(bytes_of(root_ / "cache" / entry.key), bytes);
  }
}

TEST_F(FaceSourceTest, LookedForWhereMnistIs) {
  DataOptions options = lfw();
  options.folder.clear();
  EXPECT_EQ(
      refusal(options),
      "the photographs of faces are not there: a folder of images was looked for as data/lfw. "
      "Put those of Labeled Faces in the Wild (lfw/PERSON/FILE.jpg) into one of them, set "
      "GENTRAIN_DATA or data.folder, or take data.source: faces, which are drawn");
  setenv("GENTRAIN_DATA", home().c_str(), 1);
  EXPECT_EQ(find_photographs(options), home() / "lfw");
  EXPECT_THAT(load(options).fact, StartsWith("faces of " + (home() / "lfw").string() + ": "));
  unsetenv("GENTRAIN_DATA");
  fs::create_directories("data");
  fs::create_directory_symlink(home() / "lfw", "data/lfw");
  EXPECT_EQ(find_photographs(options), "data/lfw");
}

TEST_F(FaceSourceTest, AutoTakesPhotographsForSrganAlone) {
  DataOptions options = lfw();
  options.source = DataOptions::Source::kAuto;
  options.train_count = 3;
  options.test_count = 2;
  EXPECT_THAT(load(options).fact, HasSubstr("12 of 16 photographs"));
  EXPECT_EQ(load(options, "vae").pair.train->description(), "built-in digits, training set");
  options.folder = "nowhere";
  const LoadedData drawn = load(options);
  EXPECT_EQ(drawn.note, "photographs of faces were not found in nowhere: taking drawn faces");
  EXPECT_EQ(drawn.pair.train->size(), 3);
  EXPECT_EQ(drawn.pair.train->sample_shape(), Shape({96, 96, 3}));
  options.source = DataOptions::Source::kFaces;
  EXPECT_EQ(load(options).note, "");
}

TEST_F(FaceSourceTest, WhatIsKeptIsFoundWithoutPreparing) {
  EXPECT_FALSE(find_kept_faces(lfw(), 1));
  EXPECT_FALSE(fs::exists(root_ / "cache"));
  load(lfw());
  const auto found = find_kept_faces(lfw(), 2);
  ASSERT_TRUE(found);
  EXPECT_TRUE(fs::exists(found->train));
  EXPECT_NE(found->train, found->test);
}

TEST_F(FaceSourceTest, PhotographsThatGiveNoSetsAreRefused) {
  DataOptions options = lfw();
  options.folder = (root_ / "walls").string();
  fs::create_directories(root_ / "walls");
  EXPECT_THAT(refusal(options), StartsWith(options.folder + ": the folder holds no images"));
  image::write_png(root_ / "walls/a.png", image::empty_frame(99, 99));
  image::write_png(root_ / "walls/b.png", image::empty_frame(10, 99));
  std::ofstream(root_ / "walls/c.png") << "no image";
  EXPECT_EQ(refusal(options),
            options.folder +
                ": no face could be prepared: 0 of 3 photographs are kept: 0 for training, 0 for "
                "testing; 1 show no frontal face, 0 several, 0 one that is cut off, 1 are too "
                "small, 1 unreadable");
  EXPECT_EQ(kept(), 0U);
  options = lfw();
  options.faces.test_share = 1e-6;
  EXPECT_EQ(refusal(options),
            options.folder +
                ": there are too few faces for two sets, which their names divide with "
                "data.faces.test_share 1e-06: 12 of 16 photographs are kept: 12 for training, 0 "
                "for testing; 1 show no frontal face, 1 several, 0 one that is cut off, 1 are too "
                "small, 1 unreadable");
}

TEST_F(FaceSourceTest, PlacesThatCannotBeWrittenAreNamed) {
  std::ofstream(root_ / "file") << "no folder";
  DataOptions options = lfw();
  options.cache = (root_ / "file/cache").string();
  EXPECT_EQ(refusal(options),
            fmt::format("data.cache: prepared faces cannot be kept: {}: the cache's folder cannot "
                        "be made: Not a directory",
                        options.cache));
  EXPECT_EQ(message_of<IoError>(
                [&] { run_face_preparation(lfw(), root_ / "file/out", 1, *comm::make_single()); }),
            fmt::format("output: the folder {} cannot be made: Not a directory",
                        (root_ / "file/out").string()));
  fs::create_directories(root_ / "closed");
  fs::permissions(root_ / "closed", fs::perms::owner_read | fs::perms::owner_exec |
                                        fs::perms::others_read | fs::perms::others_exec);
  fs::permissions(root_, fs::perms::all);
  const test::AsNobody nobody;
  EXPECT_THAT(message_of<IoError>(
                  [&] { run_face_preparation(lfw(), root_ / "closed", 1, *comm::make_single()); }),
              AllOf(HasSubstr("cannot write " + (root_ / "closed/report.json").string()),
                    HasSubstr("Permission denied")));
}

TEST_F(FaceSourceTest, ADamagedPackOfTheCacheIsNamed) {
  load(lfw());
  const fs::path train = find_kept_faces(lfw(), 1)->train;
  std::string bytes = bytes_of(train);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  std::ofstream(train, std::ios::binary) << bytes;
  EXPECT_THAT(refusal(lfw()),
              AllOf(HasSubstr(train.string()),
                    HasSubstr("without this file of the cache the next run prepares the faces "
                              "anew")));
}

TEST_F(FaceSourceTest, APackThatIsNoneOfFacesHasNoSummary) {
  EXPECT_THAT(message_of<IoError>([] { face_summary(nlohmann::json::object()); }),
              StartsWith("no pack of prepared faces: header: "));
}

}  // namespace
}  // namespace gentrain::trainers
