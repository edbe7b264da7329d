// Regressions on features through the program: a folder of pictures in, a model out that other
// verbs take; what check and bench make of such a job.
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "tests/jobs/verbs_fixture.h"
#include "tests/trainers/finetune_runs.h"

namespace gentrain::jobs {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class FeaturesVerbs : public testing::Test {
 protected:
  FeaturesVerbs() { trainers::write_classes(root_ / "set", 6); }
  ~FeaturesVerbs() override { fs::remove_all(root_); }
  FeaturesVerbs(const FeaturesVerbs&) = delete;
  FeaturesVerbs& operator=(const FeaturesVerbs&) = delete;

  [[nodiscard]] Outcome run(std::vector<std::string> words,
                            const std::vector<std::string>& more = {}) const {
    words.push_back((fs::path(GENTRAIN_SOURCE_DIR) / "jobs/tiny/regression.yaml").string());
    std::vector<std::string> settings = {"data.path=" + (root_ / "set").string(),
                                         "data.cache=" + (root_ / "cache").string(),
                                         "output=" + (root_ / "run").string(), "threads=1"};
    settings.insert(settings.end(), more.begin(), more.end());
    for (const std::string& setting : settings) {
      words.insert(words.end(), {"--set", setting});
    }
    return gentrain(words);
  }
  [[nodiscard]] std::string model() const { return (root_ / "run/model.h5").string(); }

  fs::path root_ =
      fs::temp_directory_path() / ("gentrain_features_verbs_" + std::to_string(getpid()));
};

TEST_F(FeaturesVerbs, AModelComesOutThatOtherVerbsTake) {
  const Outcome fitted = run({});
  ASSERT_EQ(fitted.code, kSuccess) << fitted.err;
  EXPECT_THAT(fitted.out,
              AllOf(HasSubstr("12 computed in "), HasSubstr("iteration    1"),
                    HasSubstr("Test set accuracy "), HasSubstr(" of 256 weights are not zero")));
  const Outcome evaluated = gentrain({"eval", model(), (root_ / "set").string()});
  EXPECT_EQ(evaluated.code, kSuccess) << evaluated.err;
  EXPECT_EQ(evaluated.last_line().at("samples"), 12);
  const Outcome predicted =
      gentrain({"predict", model(), (root_ / "set").string(), "--format", "jsonl"});
  EXPECT_EQ(predicted.code, kSuccess) << predicted.err;
  EXPECT_THAT(predicted.out, AllOf(HasSubstr("\"cats\""), HasSubstr("\"truth\":1")));
  EXPECT_THAT(run({}).out, HasSubstr("finished: there is nothing to do"));
  fs::remove_all(root_ / "run");
  const Outcome again = run({});
  EXPECT_THAT(again.out, HasSubstr("0 computed in "));
  for (const char* file : {"model.h5", "checkpoints/step-000000008.h5"}) {
    EXPECT_EQ(gentrain({"verify", (root_ / "run" / file).string()}).code, kSuccess) << file;
  }
}

TEST_F(FeaturesVerbs, GoesOnWhereIterationsAreRaised) {
  ASSERT_EQ(run({}, {"regression.max_iterations=2"}).code, kSuccess);
  const Outcome more = run({});
  EXPECT_EQ(more.code, kSuccess) << more.err;
  EXPECT_THAT(more.out, AllOf(HasSubstr("going on from "), HasSubstr("iteration    3"),
                              Not(HasSubstr("iteration    2"))));
  const Outcome other = run({}, {"regression.reg_param=0.1"});
  EXPECT_EQ(other.code, kUsage);
  EXPECT_THAT(other.err, HasSubstr("another job (regression.reg_param: 0.001 there, 0.1 here)"));
}

TEST_F(FeaturesVerbs, CheckTellsWhatItTakes) {
  const Outcome there = run({"check"});
  EXPECT_EQ(there.code, kSuccess) << there.err;
  EXPECT_THAT(there.out, AllOf(HasSubstr("kind: feature_regression\n"), HasSubstr("regression"),
                               HasSubstr("7 images to fit to, 5 to test with"),
                               HasSubstr("256 numbers an image"), HasSubstr("cats, dogs"),
                               HasSubstr("missing            nothing\n")));
  EXPECT_FALSE(fs::exists(root_ / "cache"));
  const Outcome missing = run({"check"}, {"data.path=" + (root_ / "nowhere").string()});
  EXPECT_EQ(missing.code, kBadFile);
  EXPECT_THAT(missing.out, HasSubstr("nowhere"));
  const Outcome weights = run({"check"}, {"weights=" + (root_ / "gone.h5").string()});
  EXPECT_EQ(weights.code, kBadFile);
  EXPECT_THAT(weights.out, HasSubstr("gone.h5"));
  const Outcome layer = run({"check"}, {"model.layer=fire99"});
  EXPECT_EQ(layer.code, kUsage);
  EXPECT_THAT(layer.err, HasSubstr("the network has no layer 'fire99'"));
}

TEST_F(FeaturesVerbs, SummaryTellsItsNetwork) {
  const Outcome outcome = run({"summary"});
  EXPECT_EQ(outcome.code, kSuccess) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("regression "), HasSubstr(" frozen\n"), HasSubstr("parameters  ")));
  EXPECT_FALSE(fs::exists(root_ / "run")) << "nothing is computed";
}

TEST_F(FeaturesVerbs, BenchRefusesIt) {
  const Outcome bench = run({"bench"});
  EXPECT_EQ(bench.code, kUsage);
  EXPECT_THAT(bench.err, HasSubstr("is of the kind feature_regression, which takes no steps"));
}

TEST_F(FeaturesVerbs, PatternsThatMatchNothingOrTwice) {
  const Outcome nothing = run({}, {"data.classes={a: \"cats/*\", b: \"birds/*\"}"});
  EXPECT_EQ(nothing.code, kUsage);
  EXPECT_THAT(nothing.err, HasSubstr("data.classes.b: 'birds/*' matches none of the 12 images"));
  const Outcome twice = run({}, {"data.classes={a: \"cats/*\", b: \"*/1.png\"}"});
  EXPECT_EQ(twice.code, kUsage);
  EXPECT_THAT(twice.err, HasSubstr("cats/1.png is of two classes"));
}

}  // namespace
}  // namespace gentrain::jobs
