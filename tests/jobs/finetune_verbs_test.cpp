// Fine-tuning through the program: a folder of class folders in, a model out that tells the
// classes' names of pictures of any size.
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include "core/image/folder.h"
#include "tests/jobs/verbs_fixture.h"
#include "tests/trainers/finetune_runs.h"

namespace gentrain::jobs {
namespace {

using ::testing::HasSubstr;

class FinetuneVerbs : public testing::Test {
 protected:
  FinetuneVerbs() {
    trainers::write_classes(root_ / "set/train", 5);
    trainers::write_classes(root_ / "set/validation", 1);
  }
  ~FinetuneVerbs() override { fs::remove_all(root_); }
  FinetuneVerbs(const FinetuneVerbs&) = delete;
  FinetuneVerbs& operator=(const FinetuneVerbs&) = delete;

  /// A verb of the same job.
  [[nodiscard]] Outcome verb(const char* name, const std::vector<std::string>& settings,
                             const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {
        name, (fs::path(GENTRAIN_SOURCE_DIR) / "jobs/tiny/finetune.yaml").string()};
    words.insert(words.end(), more.begin(), more.end());
    words.insert(words.end(), {"--set", "data.path=" + (root_ / "set").string()});
    for (const std::string& setting : settings) {
      words.insert(words.end(), {"--set", setting});
    }
    return gentrain(words);
  }
  [[nodiscard]] Outcome train(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {
        (fs::path(GENTRAIN_SOURCE_DIR) / "jobs/tiny/finetune.yaml").string(),
        "--overwrite",
        "--set",
        "data.path=" + (root_ / "set").string(),
        "--set",
        "output=" + (root_ / "run").string(),
        "--set",
        "threads=1"};
    for (const std::string& setting : more) {
      words.insert(words.end(), {"--set", setting});
    }
    return gentrain(words);
  }
  [[nodiscard]] std::string model() const { return (root_ / "run/model.h5").string(); }

  fs::path root_ =
      fs::temp_directory_path() / ("gentrain_finetune_verbs_" + std::to_string(getpid()));
};

TEST_F(FinetuneVerbs, StagesStartFromCachedFeatures) {
  const std::vector<std::string> settings = {"data.augment=none",
                                             "data.cache=" + (root_ / "cache").string()};
  const auto weights = [&] {
    std::ifstream file(root_ / "run/summary.json");
    return nlohmann::json::parse(file).at("weights_sha256").get<std::string>();
  };
  const Outcome checked = verb("check", settings);
  EXPECT_EQ(checked.code, kSuccess) << checked.err;
  EXPECT_THAT(checked.out, HasSubstr("features           stage transfer: starts from features of "
                                     "global_average_pooling, computed once: 512 numbers of each"));
  const Outcome timed = verb("bench", settings, {"--stage", "transfer", "--steps", "2"});
  EXPECT_EQ(timed.last_line().at("cached_features"), "global_average_pooling") << timed.err;
  EXPECT_FALSE(fs::exists(root_ / "cache")) << "nothing is written";
  ASSERT_EQ(train(settings).code, kSuccess);
  const std::string cached = weights();
  EXPECT_TRUE(fs::exists(root_ / "cache"));
  std::ifstream log(root_ / "run/log.txt");
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(log), {}),
              HasSubstr("stage transfer: features of the training set: 10 computed, 0 taken from " +
                        (root_ / "cache").string()));
  ASSERT_EQ(train({settings[0], "data.cache_features=off"}).code, kSuccess);
  EXPECT_EQ(weights(), cached);
}

TEST_F(FinetuneVerbs, APredictionNeedsTheModelAlone) {
  const Outcome trained = train();
  ASSERT_EQ(trained.code, kSuccess) << trained.err;
  std::ifstream file(root_ / "run/environment.json");
  const nlohmann::json notes = nlohmann::json::parse(file).at("notes");
  EXPECT_EQ(notes.at(0), "weights: drawn at random");
  EXPECT_EQ(notes.at(1), "class weights: cats 1, dogs 1");

  image::write_png(root_ / "wide.png", trainers::striped(31, 200, 4));
  const std::string wide = (root_ / "wide.png").string();
  const Outcome table = gentrain({"predict", model(), wide});
  EXPECT_EQ(table.code, kSuccess) << table.err;
  EXPECT_THAT(table.out, testing::AllOf(HasSubstr("cats"), HasSubstr("dogs")));
  const nlohmann::json line = gentrain({"predict", model(), wide, "--format", "jsonl"}).last_line();
  const auto label = line.at("label").get<std::size_t>();
  EXPECT_EQ(line.at("class"), label == 0 ? "cats" : "dogs");
  EXPECT_EQ(line.at("top").size(), 2);
  EXPECT_THAT(gentrain({"predict", model(), wide, "--format", "csv"}).out,
              HasSubstr("image,label1,p1,label2,p2,error\n"));

  // The whole picture counts, as data.fit says: stretched by hand it is the same.
  image::write_png(root_ / "square.png",
                   image::fitted(trainers::striped(31, 200, 4),
                                 {.h = 48, .w = 48, .fit = image::Fit::kStretch}));
  EXPECT_EQ(gentrain({"predict", model(), (root_ / "square.png").string(), "--format", "jsonl"})
                .last_line()
                .at("top"),
            line.at("top"));
}

TEST_F(FinetuneVerbs, EvaluationTakesAFolderOfClasses) {
  ASSERT_EQ(train().code, kSuccess);
  const Outcome evaluated = gentrain({"eval", model(), (root_ / "set/validation").string()});
  EXPECT_EQ(evaluated.code, kSuccess) << evaluated.err;
  fs::create_directories(root_ / "set/validation/birds");
  image::write_png(root_ / "set/validation/birds/1.png", trainers::striped(40, 40, 1));
  const Outcome more = gentrain({"eval", model(), (root_ / "set/validation").string()});
  EXPECT_NE(more.code, kSuccess);
  EXPECT_THAT(more.err, HasSubstr("tells only 2 classes apart"));
  fs::remove_all(root_ / "set/validation/cats");
  EXPECT_THAT(gentrain({"eval", model(), (root_ / "set/validation").string()}).err,
              HasSubstr("has the classes birds, dogs, but " + model() + " tells cats, dogs apart"));
  const std::string lines =
      gentrain({"predict", model(), (root_ / "set/validation").string(), "--format", "jsonl"}).out;
  EXPECT_THAT(lines, HasSubstr("\"truth\":1"));
  EXPECT_THAT(lines, testing::Not(HasSubstr("\"truth\":0"))) << "of birds it knows nothing";
}

/// Their values are of no account there.
TEST_F(FinetuneVerbs, BenchAndCheckNeedNoWeights) {
  const std::string job = (fs::path(GENTRAIN_SOURCE_DIR) / "jobs/tiny/finetune.yaml").string();
  const std::string gone = (root_ / "gone.h5").string();
  const std::vector<std::string> settings = {"--set", "data.path=" + (root_ / "set").string(),
                                             "--set", "weights=" + gone,
                                             "--set", "threads=1"};
  std::vector<std::string> words = {"bench", job, "--steps", "1", "--warmup", "0"};
  words.insert(words.end(), settings.begin(), settings.end());
  const Outcome bench = gentrain(words);
  EXPECT_EQ(bench.code, kSuccess) << bench.err;
  EXPECT_EQ(bench.last_line().at("stage"), "finetune");
  words = {"check", job};
  words.insert(words.end(), settings.begin(), settings.end());
  const Outcome check = gentrain(words);
  EXPECT_EQ(check.code, kBadFile) << check.err;
  EXPECT_THAT(check.out, HasSubstr(gone + ": "));
  EXPECT_THAT(check.out, HasSubstr("resident memory"));
}

TEST_F(FinetuneVerbs, ABlockThatIsNotThereIsNamed) {
  const Outcome wrong = train({"stages.transfer.freeze.through=fire99"});
  EXPECT_EQ(wrong.code, kUsage);
  EXPECT_THAT(wrong.err, HasSubstr("freeze.through 'fire99': the network has no layer 'fire99'"));
}

}  // namespace
}  // namespace gentrain::jobs
