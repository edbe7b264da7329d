// Which weights a pretrained network begins with: the file, what may be missing or left over, what
// is said of it, and statistics that are estimated anew.
#include "trainers/pretrained_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <variant>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/keras_file.h"
#include "tests/trainers/finetune_runs.h"
#include "trainers/estimate.h"
#include "trainers/models/pretrained.h"

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
  PretrainedWeightsTest() { fs::create_directories(root_ / "weights"); }

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

  DataFolder data_{root_};
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

/// Numbers that look drawn, of the variance 2 / fan_in.
std::vector<double> varied(const Shape& kernel) {
  const auto fan_in = static_cast<double>(kernel[0] * kernel[1] * kernel[2]);
  const double scale = std::sqrt(24 / fan_in) / 65536;
  std::vector<double> values(static_cast<std::size_t>(kernel.elements()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto mixed = static_cast<std::uint32_t>(i) * 2654435761U;
    values[i] = (static_cast<double>(mixed >> 16U) - 32767.5) * scale;
  }
  return values;
}

constexpr double kMeanInFile = 0.0625;
constexpr double kVarianceInFile = 1.0625;

/// All layers of a network without biases and gammas, but for some; the first convolution's first
/// 100 weights are 0.
std::vector<test::KerasFileLayer> layers_without(const graph::Graph& graph,
                                                 const std::set<std::string>& missing) {
  std::vector<test::KerasFileLayer> layers;
  for (int i = 0; i < graph.size(); ++i) {
    const graph::Node& node = graph.node(i);
    if (missing.contains(node.name)) {
      continue;
    }
    if (const auto* conv = std::get_if<graph::Convolution>(&node.kind)) {
      const Shape kernel{conv->kernel_h, conv->kernel_w, graph.node(node.inputs[0]).shape[2],
                         conv->out};
      std::vector<double> values = varied(kernel);
      std::fill_n(values.begin(), layers.empty() ? 100 : 0, 0.0);
      layers.push_back({node.name, {{"kernel:0", kernel, std::move(values)}}});
    } else if (std::holds_alternative<graph::BatchNormalization>(node.kind)) {
      const Shape shape{node.shape[2]};
      const auto count = static_cast<std::size_t>(node.shape[2]);
      layers.push_back({node.name,
                        {{"beta:0", shape, std::vector(count, 0.0)},
                         {"moving_mean:0", shape, std::vector(count, kMeanInFile)},
                         {"moving_variance:0", shape, std::vector(count, kVarianceInFile)}}});
    }
  }
  return layers;
}

/// The batch normalisations whose statistics are not the file's.
std::vector<std::string> norms_estimated(TrainingRun& run, const graph::Graph& graph) {
  std::vector<std::string> names;
  for (int i = 0; i < graph.size(); ++i) {
    const std::string& name = graph.node(i).name;
    if (!std::holds_alternative<graph::BatchNormalization>(graph.node(i).kind)) {
      continue;
    }
    const auto is_whole = [&](const char* parameter, double value) {
      const std::vector<float> values =
          copy_to_host<float>(run.device(), run.runner().queue(),
                              run.parameters()[run.parameters().find(name + parameter)]);
      return std::ranges::all_of(values, [&](float v) { return v == static_cast<float>(value); });
    };
    if (!is_whole("/running_mean", kMeanInFile) || !is_whole("/running_var", kVarianceInFile)) {
      names.push_back(name);
    }
  }
  return names;
}

/// Behind kernels of which something is drawn: the last one agrees with what the new statistics of
/// all before it make of the images. 6 and 8 are in branches side by side, so in one pass.
TEST_F(PretrainedWeightsTest, StatisticsBehindDrawnKernelsAreThoseOfTheImages) {
  TrainOptions options = job("inception_v3", 75);
  options.weights.file = file("a.h5");
  options.weights.allow_missing = {{"conv2d_6", ""}, {"conv2d_8", ""}, {"conv2d_94", ""}};
  options.weights.reinit_zeros = {{"conv2d_1", ""}};
  test::write_keras_file(file("a.h5"), layers_without(make_graph(options.model, {75, 75, 3}, 2),
                                                      {"conv2d_6", "conv2d_8", "conv2d_94"}));
  std::vector<std::string> hashes;
  for (const int ranks : {1, 2}) {
    options.threads = ranks;
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
      EXPECT_EQ(said[1],
                "weights: statistics estimated anew over 10 training images: "
                "batch_normalization_1, batch_normalization_6, batch_normalization_8, "
                "batch_normalization_94");
      const auto* network = dynamic_cast<const GraphNetwork*>(run.objective().classifier());
      ASSERT_NE(network, nullptr);
      EXPECT_THAT(norms_estimated(run, network->executor().graph()),
                  ElementsAre("batch_normalization_1", "batch_normalization_6",
                              "batch_normalization_8", "batch_normalization_94"));
      for (const char* number : {"1", "6", "8", "94"}) {
        expect_statistics(run, *network, number);
      }
    });
  }
  EXPECT_EQ(hashes[1], hashes[0]);
}

TEST_F(PretrainedWeightsTest, StatisticsAreNotEstimatedWhereValuesAreOfNoAccount) {
  test::write_keras_file(file("a.h5"), {conv("conv2d_1", {3, 3, 3, 32}, 0, false)});
  TrainOptions options = job("inception_v3", 75);
  options.weights.file = file("a.h5");
  options.weights.allow_missing = {{"*", ""}};
  options.weights.use = WeightsOptions::Use::kWithoutEstimates;
  EXPECT_THAT(notes(options), ElementsAre(HasSubstr("1 of 380 parameters read")));
}

/// What is known without the weights' values does not go with their file.
TEST_F(PretrainedWeightsTest, AnEstimateSaysThatTheFileIsMissing) {
  test::write_keras_file(file("a.h5"), {conv("conv1", {3, 3, 3, 64})});
  const Estimate there = estimate(squeezenet("a.h5"), 1);
  EXPECT_EQ(there.missing, "");
  const Estimate gone = estimate(squeezenet("gone.h5"), 1);
  EXPECT_THAT(gone.missing, StartsWith(file("gone.h5") + ": "));
  EXPECT_EQ(gone.parameters, there.parameters);
  EXPECT_EQ(gone.memory.weights, there.memory.weights);
  EXPECT_EQ(gone.memory.total, there.memory.total);
  EXPECT_THAT(estimate(squeezenet(""), 1).missing,
              StartsWith("the weights of squeezenet are not there: "));
  TrainOptions nothing = squeezenet("gone.h5");
  nothing.data.path = (root_ / "nowhere").string();
  const Estimate unknown = estimate(nothing, 1);
  EXPECT_THAT(unknown.missing, AllOf(HasSubstr(file("gone.h5")), HasSubstr("; "),
                                     HasSubstr((root_ / "nowhere").string())));
  EXPECT_TRUE(unknown.layers.empty());
}

}  // namespace
}  // namespace gentrain::trainers
