// InceptionV3, VGG and SqueezeNet: names, extents and counts, the published files layer by layer,
// and a graph as a classifier's network.
#include "trainers/models/pretrained.h"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/graph/keras_import.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/gradients.h"
#include "tests/support/workbench.h"
#include "trainers/models/graph_network.h"
#include "trainers/models/vgg.h"

namespace gentrain::trainers {
namespace {

using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Top = PretrainedOptions::Top;

const Shape kInception{299, 299, 3};
const Shape kVggImage{224, 224, 3};
const Shape kSqueeze{227, 227, 3};

ModelOptions headed(const std::string& name, Top top = Top::kHead) {
  ModelOptions model;
  model.name = name;
  model.pretrained.top = top;
  return model;
}

/// Values of all parameters, running statistics included.
std::int64_t count(const graph::Graph& graph) {
  ParameterSet parameters;
  graph::register_parameters(graph, parameters, {});
  std::int64_t values = 0;
  for (int i = 0; i < parameters.size(); ++i) {
    values += parameters.info(i).shape.elements();
  }
  return values;
}

std::int64_t count(const std::string& name, Top top, const Shape& image, std::int64_t classes) {
  return count(make_graph(headed(name, top), image, classes));
}

TEST(Pretrained, HaveTheParametersOfThePublishedNetworks) {
  EXPECT_EQ(count("inception_v3", Top::kNone, kInception, 0), 21802784);
  EXPECT_EQ(count("inception_v3", Top::kHead, kInception, 4), 23905060);
  EXPECT_EQ(count("inception_v3", Top::kOriginal, kInception, 1000), 23851784);
  EXPECT_EQ(count("vgg16", Top::kNone, kVggImage, 0), 14714688);
  EXPECT_EQ(count("vgg16", Top::kOriginal, kVggImage, 1000), 138357544);
  EXPECT_EQ(count("vgg19", Top::kNone, kVggImage, 0), 20024384);
  EXPECT_EQ(count("vgg19", Top::kOriginal, kVggImage, 1000), 143667240);
  EXPECT_EQ(count("squeezenet", Top::kNone, kSqueeze, 0), 722496);
  EXPECT_EQ(count("squeezenet", Top::kOriginal, kSqueeze, 1000), 1235496);
  EXPECT_EQ(count(inception_v3(kInception)), 21802784);
  EXPECT_EQ(count(vgg16(kVggImage)), 14714688);
  EXPECT_EQ(count(vgg19(kVggImage)), 20024384);
  EXPECT_EQ(count(squeezenet(kSqueeze)), 722496);
}

TEST(Pretrained, ExtentsOfTheirBlocks) {
  const auto shape_of = [](const graph::Graph& graph, const char* name) {
    return graph.node(graph.index_of(name)).shape;
  };
  const graph::Graph inception = inception_v3(kInception);
  EXPECT_EQ(shape_of(inception, "activation_5"), Shape({71, 71, 192}));
  EXPECT_EQ(shape_of(inception, "mixed0"), Shape({35, 35, 256}));
  EXPECT_EQ(shape_of(inception, "mixed2"), Shape({35, 35, 288}));
  EXPECT_EQ(shape_of(inception, "mixed3"), Shape({17, 17, 768}));
  EXPECT_EQ(shape_of(inception, "mixed7"), Shape({17, 17, 768}));
  EXPECT_EQ(shape_of(inception, "mixed8"), Shape({8, 8, 1280}));
  EXPECT_EQ(shape_of(inception, "mixed9_1"), Shape({8, 8, 768}));
  EXPECT_EQ(shape_of(inception, "mixed10"), Shape({8, 8, 2048}));
  EXPECT_EQ(inception.outputs(), std::vector<int>{inception.index_of("mixed10")});
  EXPECT_EQ(inception.find("conv2d_95"), -1);
  EXPECT_GE(inception.find("conv2d_94"), 0);
  EXPECT_EQ(shape_of(vgg16(kVggImage), "block5_pool"), Shape({7, 7, 512}));
  EXPECT_EQ(shape_of(squeezenet(kSqueeze), "pool1"), Shape({56, 56, 64}));
  EXPECT_EQ(shape_of(squeezenet(kSqueeze), "fire9/concat"), Shape({13, 13, 512}));
}

TEST(Pretrained, FreezingThroughMixed8LeavesMixed9Mixed10AndTheHead) {
  ParameterSet parameters;
  const auto network = make_pretrained(headed("inception_v3"), {}, kInception, 4, parameters);
  std::vector<std::string> frozen = network->executor().parameters_through("mixed8");
  std::ranges::sort(frozen);
  std::int64_t trained = 0;
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    if (info.role == ParameterRole::kTrained && !std::ranges::binary_search(frozen, info.name)) {
      trained += info.shape.elements();
    }
  }
  EXPECT_EQ(trained, 13217156);
  EXPECT_TRUE(std::ranges::binary_search(frozen, "conv2d_76/weight"));
  EXPECT_FALSE(std::ranges::binary_search(frozen, "conv2d_77/weight"));
}

TEST(Pretrained, LayersForSummaries) {
  ParameterSet parameters;
  const auto network = build_network(headed("inception_v3"), {}, kInception, 4, parameters);
  const LayerInfo& last = network->layers().back();
  EXPECT_EQ(last.name, "head_logits");
  EXPECT_EQ(last.output, Shape{4});
  EXPECT_EQ(last.parameters, 1024 * 4 + 4);
  EXPECT_EQ(last.products, 1024 * 4);
  EXPECT_THAT(last.names, ElementsAre("head_logits/weight", "head_logits/bias"));
  const LayerInfo& norm = network->layers()[2];
  EXPECT_EQ(norm.name, "batch_normalization_1");
  EXPECT_EQ(norm.parameters, 32) << "of the running statistics none is trained";
  EXPECT_EQ(norm.names.size(), 3);
  EXPECT_NEAR(forward_flops_per_image(network->layers()), 11.4e9, 0.1e9);
  std::int64_t trained = 0;
  for (const LayerInfo& layer : network->layers()) {
    trained += layer.parameters;
  }
  EXPECT_EQ(trained, parameters.count());
}

TEST(PretrainedErrors, NameModelAndLayer) {
  ParameterSet parameters;
  EXPECT_EQ(message_of<JobError>([&] {
              build_network(headed("vgg16"), {}, {31, 40, 3}, 4, parameters);
            }),
            "model vgg16 does not take images [31, 40, 3]: block5_pool (max pooling): its window "
            "of 2 x 2 does not fit into [1, 2, 512] with padding [0, 0, 0, 0]");
  EXPECT_THAT(message_of<JobError>([&] {
                build_network(headed("inception_v3"), {}, {74, 75, 3}, 4, parameters);
              }),
              HasSubstr("model inception_v3 does not take images [74, 75, 3]: "));
  EXPECT_NO_THROW(inception_v3({75, 75, 3}));
  EXPECT_EQ(message_of<JobError>([&] {
              build_network(headed("squeezenet", Top::kNone), {}, kSqueeze, 4, parameters);
            }),
            "model: its last layer fire9/concat gives [13, 13, 512] per sample but the data needs "
            "[4]");
  EXPECT_EQ(message_of<JobError>([] { make_graph(headed("vgg11"), kVggImage, 4); }),
            "model: there is no pretrained network 'vgg11' (known: inception_v3, vgg16, vgg19, "
            "squeezenet)");
}

TEST(PretrainedErrors, GreyImages) {
  ParameterSet parameters;
  EXPECT_EQ(message_of<JobError>([&] {
              build_network(headed("vgg19"), {}, {64, 64, 1}, 4, parameters);
            }),
            "model vgg19 takes colour images, [h, w, 3], but the data has [64, 64, 1]");
}

TEST(Pretrained, AGraphOfSeveralOutputsIsNoClassifier) {
  graph::Graph graph = squeezenet(kSqueeze);
  graph.set_outputs({1, 2});
  ParameterSet parameters;
  EXPECT_EQ(message_of<JobError>([&] { GraphNetwork(graph, {}, {}, 4, parameters); }),
            "model: its graph has 1 inputs and 2 outputs, a classifier one of each");
}

TEST(Pretrained, DescriptionsOfModelsComeBack) {
  for (const Top top : {Top::kHead, Top::kOriginal, Top::kNone}) {
    ModelOptions model = headed("squeezenet", top);
    model.pretrained.hidden = 12;
    model.pretrained.batch_statistics = true;
    EXPECT_EQ(model_from_json(to_json(model)), model);
  }
  nlohmann::json json = to_json(headed("vgg16"));
  json["top"] = "tail";
  EXPECT_EQ(message_of<JobError>([&] { model_from_json(json); }),
            "the model has a top 'tail' that this version does not know");
}

class PretrainedOnCpu : public ::testing::Test {
 protected:
  test::Workbench bench_{test::cpu_device()};
  ParameterSet parameters_;

  std::unique_ptr<GraphNetwork> make(const ModelOptions& model, const Shape& image,
                                     std::int64_t outputs) {
    auto network =
        make_pretrained(model, {Initializer::Kind::kKaimingNormal, 0}, image, outputs, parameters_);
    parameters_.allocate(bench_.device(), bench_.queue());
    parameters_.initialize(bench_.device(), bench_.queue(), RngKey(1));
    return network;
  }
  [[nodiscard]] Context context(Tape* tape = nullptr) const {
    return {bench_.device(), bench_.queue(), tape, tape != nullptr, RngKey(1)};
  }
};

TEST_F(PretrainedOnCpu, LogitsComeBeforeTheSoftmax) {
  const auto network = make(headed("squeezenet", Top::kOriginal), {64, 64, 3}, 10);
  Context evaluation = context();
  const Tensor x = bench_.random({2, 64, 64, 3}, RngKey(1), DType::kF32);
  const Tensor logits = network->forward(evaluation, x);
  EXPECT_EQ(logits.shape(), Shape({2, 10}));
  const graph::Graph& graph = network->executor().graph();
  const std::vector<int> nodes = {graph.index_of("probabilities"), graph.index_of("fire5/concat")};
  const std::vector<Tensor> maps = network->compute(evaluation, x, nodes);
  EXPECT_EQ(bench_.values(maps[0]), bench_.values(ops::softmax(evaluation, logits)));
  EXPECT_EQ(maps[1].shape(), Shape({2, 7, 7, 256}));
}

TEST_F(PretrainedOnCpu, AHeadTrainsBehindFrozenFeatures) {
  const auto network = make(headed("squeezenet"), {48, 48, 3}, 3);
  std::set<int> frozen;
  for (const std::string& name : network->executor().parameters_through("fire9/concat")) {
    frozen.insert(parameters_.find(name));
  }
  EXPECT_EQ(static_cast<std::size_t>(parameters_.size()), frozen.size() + 4);
  test::GradientStore store(bench_, parameters_, frozen);
  Tape tape(bench_.device(), bench_.queue());
  ParameterGradients* const sets[] = {&store};
  tape.begin(sets);
  Context training = context(&tape);
  const Tensor x = bench_.random({2, 48, 48, 3}, RngKey(1), DType::kF32);
  const Tensor logits = network->forward(training, x);
  EXPECT_EQ(tape.size(), 2) << "two dense layers";
  tape.backward(ops::squared_error(training, logits, 0.0, 1).loss);
  EXPECT_EQ(store.completed().size(), 4);
}

/// Images in -1..1 become what the published weights take.
TEST_F(PretrainedOnCpu, MapsAreThoseOfVggFeatures) {
  const auto network = make(headed("vgg16"), {40, 40, 3}, 2);
  VggFeatures features(VggNet::kVgg16, std::vector<VggMap>{{"block3_conv3"}, {"block2_pool"}},
                       VggInput::kCaffe);
  features.initialize(bench_.device(), bench_.queue(), RngKey(1));
  const Tensor x = bench_.random({1, 40, 40, 3}, RngKey(2), DType::kF32);
  Context evaluation = context();
  const std::vector<VggMap> maps = {{"block3_conv3"}, {"block2_pool"}};
  const graph::Graph& graph = network->executor().graph();
  const std::vector<int> nodes = {graph.index_of("block3_conv3"), graph.index_of("block2_pool")};
  const std::vector<Tensor> expected = features.forward(evaluation, x, maps);
  const std::vector<Tensor> actual = network->compute(evaluation, x, nodes);
  for (std::size_t i = 0; i < maps.size(); ++i) {
    EXPECT_TRUE(test::within(1e-6, expected[i].shape(), bench_.values(actual[i]),
                             bench_.values(expected[i])));
  }
}

/// A file below GENTRAIN_DATA/weights and the network that it is of.
struct RealFile {
  const char* file;
  const char* model;
  graph::KerasRules rules;
  std::size_t read;         // parameters
  std::size_t initialized;  // those of the head among them
};

class PretrainedRealFiles : public testing::TestWithParam<RealFile> {};

TEST_P(PretrainedRealFiles, AreReadLayerByLayer) {
  const char* const root = std::getenv("GENTRAIN_DATA");
  const std::filesystem::path path =
      std::filesystem::path(root == nullptr ? "" : root) / "weights" / GetParam().file;
  if (root == nullptr || !std::filesystem::exists(path)) {
    GTEST_SKIP() << "GENTRAIN_DATA names no folder that holds weights/" << GetParam().file;
  }
  const test::Workbench bench(test::cpu_device());
  ParameterSet parameters;
  const auto network = make_pretrained(headed(GetParam().model), {}, {96, 96, 3}, 4, parameters);
  parameters.allocate(bench.device(), bench.queue());
  parameters.initialize(bench.device(), bench.queue(), RngKey(1));
  const graph::KerasReport report =
      graph::read_keras_weights(network->executor().graph(), io::KerasWeights(path),
                                GetParam().rules, parameters, bench.device(), bench.queue());
  EXPECT_EQ(report.read.size(), GetParam().read);
  EXPECT_EQ(report.initialized.size(), GetParam().initialized);
  EXPECT_EQ(report.left.size(), 0);
  const bool inception = std::string_view(GetParam().model) == "inception_v3";
  ASSERT_EQ(report.refilled.size(), inception ? 2 : 0);
  for (const graph::KerasReport::Refill& refill : report.refilled) {
    EXPECT_GE(refill.values, 1048576) << refill.parameter;
    EXPECT_LT(refill.values, 1048576 + 100) << refill.parameter;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, PretrainedRealFiles,
    testing::Values(RealFile{"inception_v3_imagenet_notop_partial.h5",
                             "inception_v3",
                             {.allow_missing = {"head_*"},
                              .allow_extra = {},
                              .reinit = {},
                              .reinit_zeros = {"conv2d_82", "conv2d_91/weight"}},
                             94 * 4,
                             4},
                    RealFile{
                        "vgg16_imagenet_notop.h5", "vgg16", {.allow_missing = {"head_*"}}, 26, 4},
                    RealFile{"vgg19_imagenet_block1-3.h5",
                             "vgg19",
                             {.allow_missing = {"head_*", "block4_*", "block5_*"}},
                             16,
                             20},
                    RealFile{"squeezenet_v1.1_imagenet_notop.h5",
                             "squeezenet",
                             {.allow_missing = {"head_*"}},
                             50,
                             4}),
    [](const auto& info) { return std::string(info.param.model); });

}  // namespace
}  // namespace gentrain::trainers
