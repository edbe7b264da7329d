// What verbs do with a variational autoencoder.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/image/image.h"
#include "tests/jobs/verbs_fixture.h"

namespace gentrain::jobs {
namespace {

using testing::HasSubstr;
using testing::Not;

class AutoencoderVerbs : public Verbs {
 protected:
  /// A small job NAME.yaml with the output NAME, and pictures every so often.
  std::string vae_job(const std::string& name, const std::string& pictures) {
    write(path(name + ".yaml").string(), R"(
batch: {global: 32, shards: 16}
data: {source: digits, train_count: 80, test_count: 16, normalize: {train: {mean: 0, std: 1}}}
model: {name: vae, latent: 4, hidden: 8}
threads: 1
stop: {steps: 2}
samples: {every: )" + pictures +
                                             "}\noutput: " + path(name).string() + "\n");
    return path(name + ".yaml").string();
  }
};

/// What an autoencoder has instead of right labels.
TEST_F(AutoencoderVerbs, IsEvaluatedAndPredictsNothing) {
  const Outcome trained = gentrain({vae_job("vae", "1")});
  ASSERT_EQ(trained.code, kSuccess) << trained.err;
  EXPECT_THAT(trained.out, testing::ContainsRegex("evaluation: loss [0-9.]+, reconstruction "
                                                  "[0-9.]+, divergence [0-9.]+\n"));
  EXPECT_THAT(trained.out, Not(HasSubstr("top-1")));
  EXPECT_TRUE(fs::exists(path("vae/samples/line-000000002.png")));
  const std::string vae = path("vae/model.h5").string();
  const Outcome eval = gentrain({"eval", vae, data()});
  ASSERT_EQ(eval.code, kSuccess) << eval.err;
  const nlohmann::json json = eval.last_line();
  EXPECT_EQ(json.size(), 4U) << json;
  EXPECT_EQ(json.at("samples"), 20);
  EXPECT_NEAR(json.at("loss").get<double>(),
              json.at("reconstruction").get<double>() + json.at("divergence").get<double>(), 1e-9);
  EXPECT_THAT(eval.out, testing::ContainsRegex("\nloss [0-9.]+, reconstruction [0-9.]+, "
                                               "divergence [0-9.]+\n"));
  EXPECT_EQ(gentrain({"eval", vae, images()}).last_line().at("loss"), json.at("loss"))
      << "it needs no labels";
  const nlohmann::json likelihood =
      gentrain({"eval", vae, data(), "--importance-samples", "3"}).last_line();
  EXPECT_GT(likelihood.at("log_likelihood").get<double>(), -1000);
  EXPECT_LT(likelihood.at("log_likelihood").get<double>(), 0);
  EXPECT_EQ(likelihood.at("loss"), json.at("loss"));
  EXPECT_THAT(gentrain({"eval", vae, data(), "--importance-samples", "0"}).err,
              HasSubstr("--importance-samples 0: must be at least 1 and at most 1000000"));
  const Outcome classifier = gentrain({"eval", model(), data(), "--importance-samples", "3"});
  EXPECT_EQ(classifier.code, kUsage);
  EXPECT_THAT(classifier.err,
              HasSubstr(model() + ": the model gives images no probability: it is no autoencoder"));
  const Outcome predicted = gentrain({"predict", vae, data()});
  EXPECT_EQ(predicted.code, kUsage);
  EXPECT_THAT(predicted.err, HasSubstr(vae + " holds a vae, which predicts no classes"));
  EXPECT_EQ(gentrain({"bench", path("vae.yaml").string(), "--steps", "2", "--forward"}).code,
            kSuccess);
}

TEST_F(AutoencoderVerbs, SamplesAreAFunctionOfTheSeed) {
  ASSERT_EQ(gentrain({vae_job("noise", "never")}).code, kSuccess);
  EXPECT_FALSE(fs::exists(path("noise/samples")));
  const std::string vae = path("noise/model.h5").string();
  const auto sample = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> words{"sample", vae, path(name).string()};
    words.insert(words.end(), more.begin(), more.end());
    return gentrain(words);
  };
  const Outcome made = sample("a.png", {"-n", "5"});
  ASSERT_EQ(made.code, kSuccess) << made.err;
  EXPECT_EQ(made.out, "5 images in " + path("a.png").string() + "\n");
  const image::Image sheet = image::read_image(path("a.png"), {.channels = 1});
  EXPECT_EQ(sheet.w, 3 * 28 + 2 * 2);
  EXPECT_EQ(sheet.h, 2 * 28 + 2);
  sample("b.png", {"-n", "5", "--seed", "1"});
  sample("c.png", {"-n", "5", "--seed", "2"});
  sample("row.png", {"-n", "5", "--columns", "5"});
  EXPECT_EQ(image::read_image(path("b.png")).pixels, image::read_image(path("a.png")).pixels);
  EXPECT_NE(image::read_image(path("c.png")).pixels, image::read_image(path("a.png")).pixels);
  EXPECT_EQ(image::read_image(path("row.png")).h, 28);
  EXPECT_THAT(sample("d.png", {"-n", "0"}).err,
              HasSubstr("--count 0: must be at least 1 and at most 10000"));
  const Outcome classifier = gentrain({"sample", model(), path("d.png").string()});
  EXPECT_EQ(classifier.code, kUsage);
  EXPECT_THAT(classifier.err,
              HasSubstr(model() + ": the model makes no images of noise: it is no autoencoder"));
  EXPECT_FALSE(fs::exists(path("d.png")));
}

}  // namespace
}  // namespace gentrain::jobs
