// Which file a job takes the content loss's weights from, and what it says where there is none.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "kernels/error.h"
#include "tests/support/as_nobody.h"
#include "tests/support/compare.h"
#include "tests/support/keras_file.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Tests run in a folder of their own; GENTRAIN_DATA is `root_`/home, which begins without files.
class ContentWeights : public ::testing::Test {
 protected:
  ContentWeights() {
    if (const char* value = std::getenv("GENTRAIN_DATA"); value != nullptr) {
      saved_ = value;
    }
    for (const char* folder : {"home/weights", "here/data/weights"}) {
      fs::create_directories(root_ / folder);
    }
    fs::current_path(root_ / "here");
    setenv("GENTRAIN_DATA", (root_ / "home").c_str(), 1);
  }
  ~ContentWeights() override {
    fs::current_path(before_);
    fs::remove_all(root_);
    if (saved_) {
      setenv("GENTRAIN_DATA", saved_->c_str(), 1);
    } else {
      unsetenv("GENTRAIN_DATA");
    }
  }
  ContentWeights(const ContentWeights&) = delete;
  ContentWeights& operator=(const ContentWeights&) = delete;

  /// A file of the first convolutions, one or two.
  static void write(const fs::path& path, int convolutions) {
    std::vector<test::KerasFileLayer> layers;
    for (int i = 0; i < convolutions; ++i) {
      const std::int64_t in = i == 0 ? 3 : 64;
      layers.push_back(
          {"block1_conv" + std::to_string(i + 1),
           {{"kernel:0", {3, 3, in, 64}, std::vector(static_cast<std::size_t>(9 * in * 64), 0.01)},
            {"bias:0", {64}, std::vector(64, 1.0)}}});
    }
    test::write_keras_file(path, layers);
  }
  static TrainOptions job(const std::string& map) {
    TrainOptions options = small_srgan_job();
    options.content.weights = "";
    options.content.maps = {map};
    options.content.scale = ContentOptions::Scale::kNone;  // which takes time
    return options;
  }
  /// What the run says of its weights.
  static std::vector<std::string> notes(const TrainOptions& options) {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    run.prepare();
    return run.objective().notes();
  }
  static std::string error_of(const TrainOptions& options) {
    return message_of<IoError>([&] { notes(options); });
  }

  fs::path root_ =
      fs::temp_directory_path() / ("gentrain_content_weights_" + std::to_string(getpid()));
  fs::path home_ = root_ / "home/weights";
  fs::path before_ = fs::current_path();
  std::optional<std::string> saved_;
};

TEST_F(ContentWeights, AreThoseOfTheFirstFileThatHasAllLayers) {
  write(home_ / "vgg19_a.h5", 1);
  write(home_ / "vgg19_b.h5", 2);
  write(home_ / "vgg19_c.h5", 2);
  write("data/weights/vgg19.h5", 2);
  const auto taken = [&](const fs::path& file) {
    return ElementsAre(StartsWith("content: weights of " + file.string() + " ("));
  };
  EXPECT_THAT(notes(job("block1_conv1")), taken(home_ / "vgg19_a.h5"));
  EXPECT_THAT(notes(job("block1_conv2")), taken(home_ / "vgg19_b.h5")) << "the first lacks a layer";
  EXPECT_THAT(notes(job("block1_pool")), taken(home_ / "vgg19_b.h5")) << "a pool has no weights";
  std::ofstream(home_ / "vgg19_b.h5") << "half a file";
  EXPECT_THAT(notes(job("block1_conv2")), taken(home_ / "vgg19_c.h5")) << "one cannot be read";
  fs::remove(home_ / "vgg19_c.h5");
  EXPECT_THAT(notes(job("block1_conv2")), taken("data/weights/vgg19.h5")) << "the next folder";
}

TEST_F(ContentWeights, FilesThatLackLayersAreNamed) {
  write(home_ / "vgg19_block1.h5", 2);
  write("data/weights/vgg19_first.h5", 1);
  write(home_ / "vgg16_first.h5", 1);
  const std::string home = home_.string();
  EXPECT_EQ(error_of(job("block2_conv2")),
            "content.weights: no vgg19*.h5 in " + home +
                ", data/weights has all layers that content.maps need: " + home +
                "/vgg19_block1.h5 lacks block2_conv1, block2_conv2; data/weights/vgg19_first.h5 "
                "lacks block1_conv2, block2_conv1, block2_conv2. Put the whole file of Keras "
                "Applications (vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5) into one of "
                "them, name another one, or take maps of earlier layers");
  TrainOptions vgg16 = job("block1_conv2");
  vgg16.content.network = ContentOptions::Network::kVgg16;
  EXPECT_THAT(error_of(vgg16), HasSubstr("vgg16_first.h5 lacks block1_conv2. Put the whole file of "
                                         "Keras Applications (vgg16_weights_tf_dim_ordering_tf_"
                                         "kernels_notop.h5) into"));
  std::ofstream(home_ / "vgg19_block1.h5") << "half a file";
  EXPECT_THAT(error_of(job("block2_conv2")), HasSubstr("need: " + home + "/vgg19_block1.h5: "))
      << "one that cannot be read, and why";
}

TEST_F(ContentWeights, WithoutAFileItIsSaidHowToGetOne) {
  write(home_ / "vgg16.h5", 2);
  write(home_ / "old_vgg19.h5", 2);
  EXPECT_EQ(error_of(job("block1_conv1")),
            "the weights of the content loss are not there: vgg19*.h5 was looked for in " +
                home_.string() +
                ", data/weights. Put the file of Keras Applications (vgg19_weights_tf_dim_"
                "ordering_tf_kernels_notop.h5) into one of them, set GENTRAIN_DATA or "
                "content.weights, or take content.weights: random, which have learned nothing");
  unsetenv("GENTRAIN_DATA");
  EXPECT_THAT(error_of(job("block1_conv1")), HasSubstr("was looked for in data/weights. Put"));
}

TEST_F(ContentWeights, AFolderThatMayNotBeReadIsNamed) {
  write("data/weights/vgg19.h5", 2);
  fs::permissions(root_, fs::perms::all);
  const auto denied = [&](const fs::path& folder) {
    fs::permissions(folder, fs::perms::none);
    std::string error;
    {
      const test::AsNobody nobody;
      error = error_of(job("block1_conv2"));
    }
    fs::permissions(folder, fs::perms::all);
    return error;
  };
  EXPECT_EQ(denied(home_), home_.string() + ": the folder cannot be read: Permission denied");
  EXPECT_EQ(denied(home_.parent_path()),
            home_.string() + ": it cannot be looked for: Permission denied");
}

/// A file that the job names is taken or refused for what it holds, whatever else is there.
TEST_F(ContentWeights, ANamedFileIsTheOne) {
  write(home_ / "vgg19.h5", 2);
  write("mine.h5", 1);
  TrainOptions options = job("block1_conv2");
  options.content.weights = "mine.h5";
  EXPECT_EQ(error_of(options),
            "mine.h5: layer block1_conv2: there is no such layer; layers with weights: "
            "block1_conv1");
  options.content.maps = {"block1_conv1"};
  EXPECT_THAT(notes(options), ElementsAre(StartsWith("content: weights of mine.h5 (")));
}

}  // namespace
}  // namespace gentrain::trainers
