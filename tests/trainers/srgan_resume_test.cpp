// SRGAN that goes on: with other weights of the content loss it is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/keras_file.h"
#include "tests/trainers/resume_runs.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::HasSubstr;

class SrganResume : public ResumeTest {
 protected:
  SrganResume() {
    fs::create_directories(base_);
    options_ = small_srgan_job();
    options_.checkpoint = {{CheckpointOptions::Unit::kSteps, 1}, 100};
  }

  /// A VGG19 down to its first convolution, whose weights are all `value`; and its hash.
  std::pair<fs::path, std::string> vgg(const std::string& name, double value) const {
    const fs::path path = base_ / name;
    test::write_keras_file(path, {{"block1_conv1",
                                   {{"kernel:0", {3, 3, 3, 64}, std::vector(9 * 3 * 64, value)},
                                    {"bias:0", {64}, std::vector(64, 1.0)}}}});
    const io::Bytes bytes = io::read_file(path);
    return {path, io::sha256({reinterpret_cast<const std::byte*>(bytes.data.get()), bytes.size})};
  }

  /// Trains one step of the stage gan with some weights, and goes on with others.
  std::string refusal(const std::string& first, const std::string& then) {
    fs::remove_all(base_ / "run");
    options_.content.weights = first;
    options_.stages[1].stop.steps = 1;
    train(setting("run"));
    options_.content.weights = then;
    options_.stages[1].stop.steps = 2;
    return message_of<JobError>([&] { train_alone(setting("run")); });
  }
};

TEST_F(SrganResume, OtherContentWeightsAreRefused) {
  const auto [a, hash_of_a] = vgg("a.h5", 0.01);
  const auto [b, hash_of_b] = vgg("b.h5", 0.02);
  const std::string checkpoint = (base_ / "run/checkpoints/step-000000002.h5").string();
  EXPECT_EQ(refusal(a.string(), b.string()),
            checkpoint + ": the run was trained with content weights " + hash_of_a +
                ", but now there is content weights " + hash_of_b);
  EXPECT_EQ(refusal("random", a.string()),
            checkpoint +
                ": the run was trained with content weights drawn at random, but now "
                "there is content weights " +
                hash_of_a);
  EXPECT_EQ(refusal(a.string(), a.string()), "nothing was thrown")
      << "with the same ones it goes on";
}

TEST_F(SrganResume, ContentByPixelsIsNoneByANetwork) {
  options_.content.network = ContentOptions::Network::kPixels;
  options_.stages[1].stop.steps = 1;
  train(setting("run"));
  options_.content = small_srgan_job().content;
  options_.stages[1].stop.steps = 2;
  EXPECT_THAT(message_of<JobError>([&] { train_alone(setting("run")); }),
              HasSubstr(": the run was trained with no such weights, but now there is content "
                        "weights drawn at random"));
}

}  // namespace
}  // namespace gentrain::trainers
