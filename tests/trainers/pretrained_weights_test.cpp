// Which weights a pretrained network begins with: the file, what may be missing or left over, what
// is said of it, and statistics that are estimated anew.
#include "trainers/pretrained_weights.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/keras_file.h"
#include "tests/trainers/finetune_runs.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A convolution with a bias, every weight 0.5 but for the first `zeros`.
test::KerasFileLayer conv(const std::string& name, const Shape& kernel, std::size_t zeros = 0,
                          bool bias = true) {
  std::vector<double> values(static_cast<std::size_t>(kernel.elements()), 0.5);
  std::fill_n(values.begin(), zeros, 0.0);
  test::KerasFileLayer layer{name, {{"kernel:0", kernel, values}}};
  if (bias) {
    layer.arrays.push_back(
        {"bias:0", {kernel[3]}, std::vector<double>(static_cast<std::size_t>(kernel[3]), 0.25)});
  }
  return layer;
}

class PretrainedWeightsTest : public FinetuneRuns {
 protected:
  PretrainedWeightsTest() {
    if (const char* value = std::getenv("GENTRAIN_DATA"); value != nullptr) {
      saved_ = value;
    }
    setenv("GENTRAIN_DATA", root_.c_str(), 1);
    fs::create_directories(root_ / "weights");
  }
  ~PretrainedWeightsTest() override {
    if (saved_) {
      setenv("GENTRAIN_DATA", saved_->c_str(), 1);
    } else {
      unsetenv("GENTRAIN_DATA");
    }
  }
  PretrainedWeightsTest(const PretrainedWeightsTest&) = delete;
  PretrainedWeightsTest& operator=(const PretrainedWeightsTest&) = delete;

  [[nodiscard]] std::string file(const std::string& name) const {
    return (root_ / "weights" / name).string();
  }
  /// SqueezeNet with a file of which only what is there is taken.
  [[nodiscard]] TrainOptions squeezenet(const std::string& name) const {
    TrainOptions options = job("squeezenet", 40);
    options.weights.file = name.empty() ? "" : file(name);
    options.weights.allow_missing = {{"fire*", ""}};
    return options;
  }
  static std::vector<std::string> notes(const TrainOptions& options) {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    run.prepare();
    return run.objective().notes();
  }
  template <class E>
  static std::string error_of(const TrainOptions& options) {
    return message_of<E>([&] { notes(options); });
  }

  std::optional<std::string> saved_;
};

TEST_F(PretrainedWeightsTest, AreReadByLayerNameAndNoted) {
  test::write_keras_file(file("a.h5"), {conv("conv1", {3, 3, 3, 64})});
  const auto single = comm::make_single();
  TrainingRun run(squeezenet("a.h5"), *single);
  run.prepare();
  const auto values = [&](const char* name) {
    return copy_to_host<float>(run.device(), run.runner().queue(),
                               run.parameters()[run.parameters().find(name)]);
  };
  EXPECT_THAT(values("conv1/weight"), ::testing::Each(0.5F));
  EXPECT_THAT(values("conv1/bias"), ::testing::Each(0.25F));
  const std::vector<std::string> said = run.objective().notes();
  ASSERT_EQ(said.size(), 1);
  const std::string hash = run.objective().identity().substr(std::string("weights ").size());
  EXPECT_EQ(hash.size(), 64);
  EXPECT_THAT(said[0],
              StartsWith("weights: " + file("a.h5") + " (" + hash +
                         "): 2 of 54 parameters read; 52 initialised: fire2/squeeze1x1/weight, "));
  EXPECT_THAT(said[0], EndsWith(", ..."));
}

TEST_F(PretrainedWeightsTest, TheOriginalTopIsLeftInTheFile) {
  test::write_keras_file(file("a.h5"),
                         {conv("conv1", {3, 3, 3, 64}), conv("conv10", {1, 1, 512, 10})});
  EXPECT_THAT(notes(squeezenet("a.h5")), ElementsAre(EndsWith("; left in the file: conv10")));
  TrainOptions original = squeezenet("a.h5");
  original.model.pretrained.top = PretrainedOptions::Top::kOriginal;
  EXPECT_THAT(error_of<IoError>(original), HasSubstr("layer conv10: "))
      << "of ten classes, not two";
  original.weights.reinit = {{"conv10", ""}};
  EXPECT_THAT(notes(original), ElementsAre(HasSubstr("2 of 52 parameters read; 50 initialised")));
}

TEST_F(PretrainedWeightsTest, ZerosAndWhatIsNamedAreInitialised) {
  test::write_keras_file(file("a.h5"), {conv("conv1", {3, 3, 3, 64}, 700)});
  TrainOptions options = squeezenet("a.h5");
  options.weights.reinit_zeros = {{"conv1/weight", ""}};
  options.weights.reinit = {{"conv1/bias", ""}};
  EXPECT_THAT(notes(options),
              ElementsAre(AllOf(HasSubstr("1 of 54 parameters read; 53 initialised: conv1/bias, "),
                                EndsWith("; zeros initialised in conv1/weight (700 values)"))));
}

TEST_F(PretrainedWeightsTest, RandomOnesAndThoseOfAModelNeedNoFile) {
  TrainOptions options = job("squeezenet", 40);
  EXPECT_THAT(notes(options), ElementsAre("weights: drawn at random"));
  options.weights.use = WeightsOptions::Use::kNothing;
  EXPECT_THAT(notes(options), ::testing::IsEmpty());
}

TEST_F(PretrainedWeightsTest, TheFirstFileThatIsNamedAfterTheNetwork) {
  EXPECT_EQ(error_of<IoError>(squeezenet("")),
            "the weights of squeezenet are not there: squeezenet*.h5 was looked for in " +
                (root_ / "weights").string() +
                ", data/weights. Put the file of Keras Applications into one of them, set "
                "GENTRAIN_DATA or weights.file, or take weights: random, which have learned "
                "nothing");
  test::write_keras_file(file("squeezenet_b.h5"), {conv("conv1", {3, 3, 3, 64})});
  test::write_keras_file(file("old_squeezenet.h5"), {conv("conv1", {3, 3, 3, 64})});
  EXPECT_THAT(notes(squeezenet("")),
              ElementsAre(StartsWith("weights: " + file("squeezenet_b.h5") + " (")));
  std::ofstream(file("squeezenet_a.h5")) << "half a file";
  EXPECT_THAT(error_of<IoError>(squeezenet("")), StartsWith(file("squeezenet_a.h5") + ": "));
}

TEST_F(PretrainedWeightsTest, AFileThatDoesNotFitIsRefused) {
  test::write_keras_file(file("a.h5"), {conv("conv1", {3, 3, 3, 32})});
  EXPECT_THAT(error_of<IoError>(squeezenet("a.h5")),
              AllOf(StartsWith(file("a.h5") + ": layer conv1: "), HasSubstr("32")));
  test::write_keras_file(
      file("vgg.h5"), {conv("block1_conv1", {3, 3, 3, 64}), conv("block1_conv2", {3, 3, 64, 64})});
  const std::string other = error_of<IoError>(squeezenet("vgg.h5"));
  EXPECT_EQ(other, file("vgg.h5") +
                       ": layer conv1: it is missing; layer block1_conv1: the network has no such "
                       "layer; layer block1_conv2: the network has no such layer");
  TrainOptions options = squeezenet("vgg.h5");
  options.weights.allow_extra = {{"block1_*", ""}};
  options.weights.allow_missing = {{"*", ""}};
  EXPECT_THAT(notes(options), ElementsAre(HasSubstr("left in the file: block1_conv1, block1")));
  EXPECT_THAT(error_of<IoError>(squeezenet("gone.h5")), HasSubstr(file("gone.h5")));
}

TEST_F(PretrainedWeightsTest, APatternThatMatchesNothingIsNamed) {
  test::write_keras_file(file("a.h5"), {conv("conv1", {3, 3, 3, 64})});
  const auto error_with = [&](std::vector<Pattern> WeightsOptions::*key, const char* pattern) {
    TrainOptions options = squeezenet("a.h5");
    (options.weights.*key).push_back({pattern, "job.yaml:5:9"});
    return error_of<JobError>(options);
  };
  for (const auto& [key, name] : {std::pair{&WeightsOptions::allow_missing, "allow_missing"},
                                  std::pair{&WeightsOptions::reinit, "reinit"},
                                  std::pair{&WeightsOptions::reinit_zeros, "reinit_zeros"}}) {
    EXPECT_THAT(error_with(key, "conv11/*"),
                StartsWith(std::string("job.yaml:5:9: weights.") + name +
                           ": 'conv11/*' matches no parameter and no layer with parameters of the "
                           "network (there are conv1/weight, conv1/bias, conv1, "));
  }
  EXPECT_EQ(error_with(&WeightsOptions::allow_extra, "fc?"),
            "job.yaml:5:9: weights.allow_extra: 'fc?' matches no layer of " + file("a.h5") +
                " (there are conv1)");
}

TEST_F(PretrainedWeightsTest, RanksMustHaveTheSameFile) {
  test::write_keras_file(file("a.h5"), {conv("conv1", {3, 3, 3, 64})});
  test::write_keras_file(file("b.h5"), {conv("conv1", {3, 3, 3, 64}, 1)});
  run_ranks(2, [&](comm::Communicator& communicator) {
    TrainingRun run(squeezenet(communicator.rank() == 0 ? "a.h5" : "b.h5"), communicator);
    EXPECT_THAT(message_of<CommError>([&] { run.prepare(); }), HasSubstr("weights.file"));
  });
}

/// Mean and variance of a convolution's output over all images, channel by channel.
void expect_statistics(TrainingRun& run, const GraphNetwork& network, const char* number) {
  Context context{run.device(), run.runner().queue(), nullptr, false, {}};
  const int conv = network.executor().graph().index_of(std::string("conv2d_") + number);
  std::vector<double> values;
  for (std::int64_t i = 0; i < run.data().train->size(); ++i) {
    const Tensor x =
        read_images(context, *run.data().train, run.data().train_normalization, {&i, 1});
    const std::vector<double> more = values_of(context, network.compute(context, x, {&conv, 1})[0]);
    values.insert(values.end(), more.begin(), more.end());
  }
  const auto parameter = [&](const char* name) {
    const int index = run.parameters().find(fmt::format("batch_normalization_{}/{}", number, name));
    return values_of(context, run.parameters()[index]);
  };
  const std::vector<double> means = parameter("running_mean");
  const std::vector<double> variances = parameter("running_var");
  const std::size_t channels = means.size();
  const double count = static_cast<double>(values.size() / channels);
  for (std::size_t c = 0; c < channels; ++c) {
    double mean = 0;
    for (std::size_t i = c; i < values.size(); i += channels) {
      mean += values[i] / count;
    }
    double variance = 0;
    for (std::size_t i = c; i < values.size(); i += channels) {
      variance += (values[i] - mean) * (values[i] - mean) / count;
    }
    ASSERT_NEAR(means[c], mean, 1e-5 * (1 + std::abs(mean))) << number << " channel " << c;
    ASSERT_NEAR(variances[c], variance, 1e-4 * variance + 1e-6) << number << " channel " << c;
  }
}

/// Behind kernels of which something is drawn, one after the other: the last one agrees with what
/// the new statistics of all before it make of the images.
TEST_F(PretrainedWeightsTest, StatisticsBehindDrawnKernelsAreThoseOfTheImages) {
  test::write_keras_file(file("a.h5"), {conv("conv2d_1", {3, 3, 3, 32}, 100, false)});
  TrainOptions options = job("inception_v3", 75);
  options.weights.file = file("a.h5");
  options.weights.allow_missing = {{"*", ""}};
  options.weights.reinit_zeros = {{"conv2d_1", ""}};
  std::vector<std::string> hashes;
  for (const int ranks : {1, 2}) {
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      TrainingRun run(options, communicator);
      run.prepare();
      if (communicator.rank() > 0) {
        return;
      }
      hashes.push_back(weights_sha256(run.device(), run.runner().queue(), run.parameters()));
      if (ranks > 1) {
        return;
      }
      const std::vector<std::string> said = run.objective().notes();
      ASSERT_EQ(said.size(), 2);
      EXPECT_THAT(said[1], StartsWith("weights: statistics estimated anew over 10 training images: "
                                      "batch_normalization_1, batch_normalization_2, "));
      const auto* network = dynamic_cast<const GraphNetwork*>(run.objective().classifier());
      ASSERT_NE(network, nullptr);
      for (const char* number : {"1", "2", "94"}) {
        expect_statistics(run, *network, number);
      }
    });
  }
  EXPECT_EQ(hashes[1], hashes[0]);
}

TEST_F(PretrainedWeightsTest, StatisticsAreNotEstimatedWhereTheyComeOutOfACheckpoint) {
  test::write_keras_file(file("a.h5"), {conv("conv2d_1", {3, 3, 3, 32}, 0, false)});
  TrainOptions options = job("inception_v3", 75);
  options.weights.file = file("a.h5");
  options.weights.allow_missing = {{"*", ""}};
  options.weights.use = WeightsOptions::Use::kWithoutEstimates;
  EXPECT_THAT(notes(options), ElementsAre(HasSubstr("1 of 380 parameters read")));
}

}  // namespace
}  // namespace gentrain::trainers
