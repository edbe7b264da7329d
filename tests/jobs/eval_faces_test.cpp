// gentrain eval of a model that makes faces: drawn ones, and those of photographs.
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/image/face_preparation.h"
#include "core/image/image.h"
#include "tests/core/portraits.h"
#include "tests/jobs/verbs_fixture.h"

namespace gentrain::jobs {
namespace {

using testing::HasSubstr;

/// An environment variable with another value, for as long as it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name); old != nullptr) {
      old_ = old;
    }
    setenv(name, value.c_str(), 1);
  }
  ~Environment() {
    if (old_) {
      setenv(name_, old_->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

class EvalFaces : public Verbs {
 protected:
  static void SetUpTestSuite() {
    Verbs::SetUpTestSuite();
    train_srgan(", ema: 0.5");
  }

  /// Portraits of which one is for training and two are for testing.
  static void write_photographs() {
    fs::create_directories(path("home/lfw"));
    std::vector<std::string> names;
    std::size_t testing = 0;
    for (int i = 0; names.size() < 3; ++i) {
      std::string name = fmt::format("{}.png", i);
      const bool tests = image::is_test_face(name, image::FaceOptions().test_share);
      if (tests ? testing < 2 : names.size() == testing) {
        testing += tests ? 1 : 0;
        names.push_back(std::move(name));
      }
    }
    const std::vector<image::Image> faces = image::drawn_portraits(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      image::write_png(path("home/lfw") / names[i], image::portrait(faces.at(i)));
    }
  }
};

TEST_F(EvalFaces, TakesDrawnOnes) {
  const Environment home("GENTRAIN_DATA", path("nowhere").string());
  const Outcome named = gentrain({"eval", srgan(), "faces", "--threads", "1"});
  ASSERT_EQ(named.code, kSuccess) << named.err;
  EXPECT_THAT(named.out, HasSubstr("data: the built-in faces\n"
                                   "weights: averages of the generator's (model.ema 0.5)\n"
                                   "loss "));
  EXPECT_EQ(named.last_line().at("samples"), 256);
  EXPECT_GT(named.last_line().at("psnr_bicubic"), 15);
  const Outcome chosen = gentrain({"eval", srgan()});
  ASSERT_EQ(chosen.code, kSuccess) << chosen.err;
  EXPECT_THAT(chosen.out, HasSubstr("data: photographs of faces were not found in " +
                                    path("nowhere/lfw").string() +
                                    ", data/lfw; taking the "
                                    "built-in faces\n"));
  EXPECT_EQ(chosen.last_line(), named.last_line());
  const Outcome digits = gentrain({"eval", model(), "faces"});
  EXPECT_EQ(digits.code, kUsage);
  EXPECT_THAT(digits.err,
              HasSubstr(model() + " takes images of [28, 28, 1] but built-in faces, test set"));
}

TEST_F(EvalFaces, TakesThoseOfPhotographs) {
  write_photographs();
  const Environment home("GENTRAIN_DATA", path("home").string());
  const Environment cache("XDG_CACHE_HOME", path("cache").string());
  const Outcome named = gentrain({"eval", srgan(), "lfw"});
  ASSERT_EQ(named.code, kSuccess) << named.err;
  EXPECT_THAT(named.out,
              HasSubstr("data: faces of the photographs in " + path("home/lfw").string() + "\n"));
  EXPECT_EQ(named.last_line().at("samples"), 2);
  EXPECT_TRUE(fs::exists(path("cache/gentrain"))) << "they are kept, as a training job keeps them";
  const Outcome chosen = gentrain({"eval", srgan()});
  ASSERT_EQ(chosen.code, kSuccess) << chosen.err;
  EXPECT_EQ(chosen.last_line(), named.last_line());
  const Outcome digits = gentrain({"eval", model(), "lfw"});
  EXPECT_EQ(digits.code, kUsage);
  EXPECT_THAT(digits.err, HasSubstr(model() + " takes images of [28, 28, 1], but faces are square "
                                              "colour images"));
}

TEST_F(EvalFaces, SaysWhereThereAreNoPhotographs) {
  const Environment home("GENTRAIN_DATA", path("nowhere").string());
  const Outcome missing = gentrain({"eval", srgan(), "lfw"});
  EXPECT_EQ(missing.code, kBadFile);
  EXPECT_THAT(missing.err, HasSubstr("the photographs of faces are not there"));
  const Outcome unknown = gentrain({"eval", srgan(), "lwf"});
  EXPECT_EQ(unknown.code, kBadFile);
  EXPECT_THAT(unknown.err, HasSubstr("lwf is not there: a folder of images or of MNIST's files, an "
                                     "image, an idx file of images, an .h5 file, 'digits', 'faces' "
                                     "or, to evaluate, 'lfw' was expected"));
}

}  // namespace
}  // namespace gentrain::jobs
