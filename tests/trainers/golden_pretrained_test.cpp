// The published networks against PyTorch: each block of networks of hashed numbers, that a wrong
// layer would be seen, and feature maps of real pictures with the published weights.
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "core/graph/keras_import.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/hdf5_reader.h"
#include "tests/trainers/golden_numbers.h"

namespace gentrain::trainers {
namespace {

constexpr double kBound = 1e-4;

nlohmann::json golden_network(const std::string& name) {
  const nlohmann::json golden = golden_pretrained();
  for (const nlohmann::json& entry : golden.at("networks")) {
    if (entry.at("name") == name) {
      return entry;
    }
  }
  throw Error("no golden network " + name);
}

std::unique_ptr<GraphNetwork> make_network(const std::string& name, const Shape& image,
                                           ParameterSet& parameters) {
  ModelOptions model;
  model.name = name;
  model.pretrained.hidden = 0;
  return make_pretrained(model, {}, image, 4, parameters);
}

class GoldenNetworks : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenNetworks, BlocksAreThoseOfPyTorch) {
  const test::Workbench bench(test::cpu_device());
  const nlohmann::json entry = golden_network(GetParam());
  const Tensor images = hashed_images(bench, entry);
  ParameterSet parameters;
  const auto network = make_network(GetParam(), image_of(images), parameters);
  load_hashed(parameters, bench, entry);
  std::vector<int> nodes;
  for (const auto& [layer, numbers] : entry.at("layers").items()) {
    nodes.push_back(network->executor().graph().index_of(layer));
  }
  Context context{bench.device(), bench.queue(), nullptr, false, RngKey(1)};
  const std::vector<Tensor> maps = network->compute(context, images, nodes);
  std::size_t i = 0;
  for (const auto& [layer, numbers] : entry.at("layers").items()) {
    EXPECT_TRUE(has_numbers(bench.values(maps[i++]), numbers, kBound)) << layer;
  }
  EXPECT_GE(i, 4);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenNetworks,
                         ::testing::Values("inception_v3", "vgg16", "vgg19", "squeezenet"),
                         [](const auto& info) { return std::string(info.param); });

/// The negative twin: InceptionV3 with one thing wrong in a block.
struct Wrong {
  const char* what;
  const char* node;
  const char* before;  // a block that it leaves as it is
  const char* block;   // the one that it is in
  void (*alter)(graph::Node& node);
};

void move_up(graph::Node& node) {
  auto& convolution = std::get<graph::Convolution>(node.kind);
  const std::int64_t all = convolution.kernel_h - 1;
  const std::int64_t side = (convolution.kernel_w - 1) / 2;
  convolution.padding = {false, {all / 2 - 1, all / 2 + 1, side, side}};
}

void move_left(graph::Node& node) {
  auto& convolution = std::get<graph::Convolution>(node.kind);
  const std::int64_t all = convolution.kernel_w - 1;
  const std::int64_t side = (convolution.kernel_h - 1) / 2;
  convolution.padding = {false, {side, side, all / 2 - 1, all / 2 + 1}};
}

void exchange_branches(graph::Node& node) {
  std::swap(node.inputs.at(0), node.inputs.at(1));
}

void forget_epsilon(graph::Node& node) {
  std::get<graph::BatchNormalization>(node.kind).epsilon = 1e-7;
}

void pool_the_largest(graph::Node& node) {
  std::get<graph::Pooling>(node.kind).pooling = graph::PoolingKind::kMax;
}

const Wrong kWrong[] = {
    {"a 5x5 kernel one row off", "conv2d_8", "activation_5", "mixed0", &move_up},
    {"a batch norm without epsilon", "batch_normalization_5", "activation_4", "mixed0",
     &forget_epsilon},
    {"a largest value for a mean", "average_pooling2d_3", "mixed1", "mixed2", &pool_the_largest},
    {"a 3x3 kernel one column off", "conv2d_29", "mixed2", "mixed3", &move_left},
    {"a 1x7 kernel one column off", "conv2d_33", "mixed3", "mixed4", &move_left},
    {"branches exchanged", "mixed5", "mixed4", "mixed5", &exchange_branches},
    {"a 7x1 kernel one row off", "conv2d_54", "mixed5", "mixed6", &move_up},
    {"a 1x3 kernel one column off", "conv2d_79", "mixed8", "mixed9", &move_left},
    {"the ends of a fork exchanged", "mixed9_1", "mixed9", "mixed10", &exchange_branches},
};

class GoldenInception : public ::testing::Test {
 protected:
  GoldenInception() {
    graph::register_parameters(graph_, parameters_, {});
    load_hashed(parameters_, bench_, entry_);
  }
  [[nodiscard]] std::vector<Tensor> maps(const graph::Graph& graph,
                                         const std::vector<std::string>& layers) const {
    Context context{bench_.device(), bench_.queue(), nullptr, false, RngKey(1)};
    return graph::Executor(graph, parameters_).forward(context, images_, layers);
  }
  [[nodiscard]] ::testing::AssertionResult agrees(const Tensor& map, const char* block) const {
    return has_numbers(bench_.values(map), entry_.at("layers").at(block), kBound);
  }

  test::Workbench bench_{test::cpu_device()};
  nlohmann::json entry_ = golden_network("inception_v3");
  Tensor images_ = hashed_images(bench_, entry_);
  graph::Graph graph_ = inception_v3(image_of(images_));
  ParameterSet parameters_;
};

TEST_F(GoldenInception, OneWrongLayerIsSeen) {
  for (const Wrong& wrong : kWrong) {
    int changed = 0;
    const graph::Graph graph = altered(graph_, [&](graph::Node& node) {
      if (node.name == wrong.node) {
        ++changed;
        wrong.alter(node);
      }
    });
    ASSERT_EQ(changed, 1) << wrong.node;
    const std::vector<Tensor> made = maps(graph, {wrong.before, wrong.block});
    if (entry_.at("layers").contains(wrong.before)) {
      EXPECT_TRUE(agrees(made[0], wrong.before)) << wrong.what;
    }
    EXPECT_FALSE(agrees(made[1], wrong.block)) << wrong.what;
  }
}

/// The mean over nine of which some are padding, as torchvision has it.
TEST_F(GoldenInception, CountedPaddingWouldBeSeen) {
  const std::vector<Tensor> made = maps(graph_, {"mixed0"});
  EXPECT_TRUE(agrees(made[0], "mixed0"));
  EXPECT_FALSE(
      has_numbers(bench_.values(made[0]), entry_.at("padding_counted").at("mixed0"), 100 * kBound));
}

TEST(HashedValues, AreThoseOfThePythonScript) {
  const std::vector<double> values = test::hashed_values("conv2d_1/weight", 1, 3);
  EXPECT_EQ(values, (std::vector<double>{8706100 * 0x1p-23 - 1, 13544214 * 0x1p-23 - 1,
                                         531584 * 0x1p-23 - 1}));
}

/// Means over all pixels, [n, c] of [n, h, w, c].
std::vector<double> pooled(const std::vector<double>& maps, const Shape& shape) {
  const std::int64_t pixels = shape[1] * shape[2];
  std::vector<double> means(static_cast<std::size_t>(shape[0] * shape[3]));
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    const std::int64_t image = i / (pixels * shape[3]);
    means[static_cast<std::size_t>(image * shape[3] + i % shape[3])] +=
        maps[static_cast<std::size_t>(i)] / static_cast<double>(pixels);
  }
  return means;
}

struct RealNetwork {
  const char* name;
  const char* weights;
  std::vector<const char*> layers;
};

class GoldenFeatures : public ::testing::TestWithParam<RealNetwork> {};

/// Real pictures and the published weights: a file of some fifty megabytes, made as
/// tests/golden/README.md says.
TEST_P(GoldenFeatures, AreThoseOfPyTorch) {
  const char* const file = std::getenv("GENTRAIN_GOLDEN_FEATURES");
  const char* const root = std::getenv("GENTRAIN_DATA");
  if (file == nullptr || root == nullptr) {
    GTEST_SKIP() << "GENTRAIN_GOLDEN_FEATURES and GENTRAIN_DATA do not name a file of feature maps "
                    "and the folder that it was made of";
  }
  const RealNetwork& real = GetParam();
  const test::Workbench bench(test::cpu_device());
  const test::Hdf5Reader golden(file);
  const test::Hdf5Array input = golden.read(fmt::format("{}/input", real.name));
  const Tensor images = bench.tensor(input.shape, input.values, DType::kF32);
  ParameterSet parameters;
  const auto network = make_network(real.name, image_of(images), parameters);
  parameters.allocate(bench.device(), bench.queue());
  parameters.initialize(bench.device(), bench.queue(), RngKey(1));
  graph::read_keras_weights(
      network->executor().graph(),
      io::KerasWeights(std::filesystem::path(root) / "weights" / real.weights),
      {.allow_missing = {"head_*"}}, parameters, bench.device(), bench.queue());
  std::vector<int> nodes;
  for (const char* layer : real.layers) {
    nodes.push_back(network->executor().graph().index_of(layer));
  }
  Context context{bench.device(), bench.queue(), nullptr, false, RngKey(1)};
  const std::vector<Tensor> maps = network->compute(context, images, nodes);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const test::Hdf5Array expected = golden.read(fmt::format("{}/{}", real.name, real.layers[i]));
    ASSERT_EQ(maps[i].shape(), expected.shape) << real.layers[i];
    const std::vector<double> actual = bench.values(maps[i]);
    const double whole = test::relative_distance(actual, expected.values);
    const double means = test::relative_distance(pooled(actual, expected.shape),
                                                 pooled(expected.values, expected.shape));
    fmt::print("{} {}: maps {:.1e}, pooled {:.1e} from PyTorch's\n", real.name, real.layers[i],
               whole, means);
    EXPECT_LE(whole, kBound) << real.layers[i];
    EXPECT_LE(means, kBound) << real.layers[i];
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, GoldenFeatures,
    ::testing::Values(
        RealNetwork{"inception_v3",
                    "inception_v3_imagenet_notop_partial.h5",
                    {"mixed0", "mixed1", "mixed2", "mixed3", "mixed4", "mixed5", "mixed6", "mixed7",
                     "mixed8", "mixed9", "mixed10"}},
        RealNetwork{"vgg16",
                    "vgg16_imagenet_notop.h5",
                    {"block1_pool", "block2_pool", "block3_pool", "block4_pool", "block5_pool"}},
        RealNetwork{"squeezenet",
                    "squeezenet_v1.1_imagenet_notop.h5",
                    {"fire2/concat", "fire5/concat", "fire8/concat", "fire9/concat"}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace gentrain::trainers
