// Keras weights files: every layout gives the same layers and values, and arrays are found by role.
#include <array>
#include <cstdlib>

#include <gmock/gmock.h>

#include "core/io/keras_weights.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "tests/core/keras_fixture.h"

namespace gentrain::io {
namespace {

using testing::ElementsAre;

TEST(KerasNames, TellRoles) {
  EXPECT_EQ(keras_role("block1_conv1_W_1:0"), KerasRole::kKernel);
  EXPECT_EQ(keras_role("conv2d_1/kernel:0"), KerasRole::kKernel);
  EXPECT_EQ(keras_role("sequential/dense/kernel"), KerasRole::kKernel);
  EXPECT_EQ(keras_role("conv1_b"), KerasRole::kBias);
  EXPECT_EQ(keras_role("dense/bias_12:0"), KerasRole::kBias);
  EXPECT_EQ(keras_role("bn_gamma:0"), KerasRole::kGamma);
  EXPECT_EQ(keras_role("batch_normalization_1/beta:0"), KerasRole::kBeta);
  EXPECT_EQ(keras_role("bn/moving_mean:0"), KerasRole::kMovingMean);
  EXPECT_EQ(keras_role("bn_running_mean:0"), KerasRole::kMovingMean);
  EXPECT_EQ(keras_role("bn/moving_variance:0"), KerasRole::kMovingVariance);
  EXPECT_EQ(keras_role("bn_running_std:0"), KerasRole::kMovingVariance);
  for (const char* name : {"uniform1", "web", "kernels", "W/x", "", "_1", ":0", "12"}) {
    EXPECT_EQ(keras_role(name), std::nullopt) << name;
  }
}

TEST(KerasNames, KernelsGetTheirLastAxisFirst) {
  const std::vector<float> values{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  EXPECT_THAT(last_axis_first(values, {2, 1, 3, 2}),
              ElementsAre(0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11));
  EXPECT_THAT(last_axis_first(values, {3, 4}), ElementsAre(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11));
}

TEST_F(KerasFiles, EveryLayoutGivesTheSame) {
  std::vector<test::KerasFileLayout> layouts = {{}};
  for (const char* group : {"", "model_weights"}) {
    for (const bool variable : {false, true}) {
      layouts.push_back({.group = group, .variable_texts = variable, .backend = "tensorflow"});
    }
  }
  layouts.push_back({.group = "model_weights", .names_at_once = 1});
  layouts.push_back({.names_at_once = 3});
  layouts.push_back({.bits = 16});
  layouts.push_back({.bits = 64});
  for (const test::KerasFileLayout& layout : layouts) {
    write(small_network(), layout);
    const KerasWeights weights(path_);
    ASSERT_EQ(weights.layers().size(), 4);
    EXPECT_EQ(weights.layers()[0].name, "input_1");
    EXPECT_TRUE(weights.layers()[0].arrays.empty());
    EXPECT_EQ(weights.layer("fire2/squeeze").arrays[0].name, "uniform2");
    EXPECT_EQ(weights.layer("fire2/squeeze").arrays[1].shape, Shape({3}));
    EXPECT_TRUE(weights.has("dense"));
    EXPECT_FALSE(weights.has("dense_2"));
    EXPECT_THAT(weights.read("conv", "conv_b_1:0"), ElementsAre(7, 7.5));
    const auto conv = weights.read_layer("conv", std::array{kConvKernel, kConvBias});
    EXPECT_THAT(conv[0], ElementsAre(0, 1, 2, 3, 4, 5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5));
    EXPECT_THAT(conv[1], ElementsAre(7, 7.5));
    const auto dense = weights.read_layer(
        "dense",
        std::array{KerasNeed{KerasRole::kBias, {2}}, KerasNeed{KerasRole::kKernel, {2, 3}}});
    EXPECT_THAT(dense[0], ElementsAre(0, 0.5));
    EXPECT_THAT(dense[1], ElementsAre(0, 1, 2, 0.5, 1.5, 2.5));
  }
}

TEST_F(KerasFiles, LongNames) {
  const std::string name(3000, 'x');
  write({{name, {counting(name + "/kernel:0", {2, 2})}}}, {.group = "model_weights"});
  EXPECT_THAT(KerasWeights(path_).read(name, name + "/kernel:0"), ElementsAre(0, 0.5, 1, 1.5));
  write({{std::string(20000, 'x'), {}}});
  EXPECT_THAT(opening(), testing::EndsWith(": a name of 20000 bytes"));
}

TEST_F(KerasFiles, AnArrayWhoseNameTellsNothingIsTheOneThatIsLeft) {
  write(small_network());
  const auto squeeze = KerasWeights(path_).read_layer(
      "fire2/squeeze",
      std::array{KerasNeed{KerasRole::kBias, {3}}, KerasNeed{KerasRole::kKernel, {3, 1, 1, 2}}});
  EXPECT_THAT(squeeze[0], ElementsAre(0, 0.5, 1));
  EXPECT_THAT(squeeze[1], ElementsAre(0, 1.5, 0.5, 2, 1, 2.5));
  EXPECT_EQ(taking("fire2/squeeze", {{KerasRole::kBias, {3}}}),
            ": layer fire2/squeeze: its array uniform2 [1, 1, 2, 3] is not needed; needed: bias "
            "[3]");
  EXPECT_EQ(taking("fire2/squeeze", {{KerasRole::kBias, {3}}, {KerasRole::kKernel, {3, 2}}}),
            ": layer fire2/squeeze: array uniform2: it has 4 extents, [1, 1, 2, 3], but 2, [2, 3], "
            "are needed");
}

TEST_F(KerasFiles, BatchNormWithoutGamma) {
  write({{"bn",
          {counting("bn/beta:0", {2}), counting("bn/moving_mean:0", {2}, 10),
           counting("bn/moving_variance:0", {2}, 20)}}});
  const auto arrays = KerasWeights(path_).read_layer(
      "bn", std::array{KerasNeed{KerasRole::kMovingVariance, {2}},
                       KerasNeed{KerasRole::kMovingMean, {2}}, KerasNeed{KerasRole::kBeta, {2}}});
  EXPECT_THAT(arrays[0], ElementsAre(20, 20.5));
  EXPECT_THAT(arrays[1], ElementsAre(10, 10.5));
  EXPECT_THAT(arrays[2], ElementsAre(0, 0.5));
}

TEST_F(KerasFiles, TheHashIsThatOfTheFile) {
  write(small_network());
  const Bytes bytes = read_file(path_);
  EXPECT_EQ(KerasWeights(path_).sha256(),
            sha256(std::as_bytes(std::span(bytes.data.get(), bytes.size))));
}

/// Layers with weights and values of a file below GENTRAIN_DATA/weights.
struct RealFile {
  const char* name;
  std::size_t layers;
  std::int64_t values;
};

class KerasRealFiles : public testing::TestWithParam<RealFile> {};

TEST_P(KerasRealFiles, AreListedWhole) {
  const char* const root = std::getenv("GENTRAIN_DATA");
  const std::filesystem::path path =
      std::filesystem::path(root == nullptr ? "" : root) / "weights" / GetParam().name;
  if (root == nullptr || !std::filesystem::exists(path)) {
    GTEST_SKIP() << "GENTRAIN_DATA names no folder that holds weights/" << GetParam().name;
  }
  const KerasWeights weights(path);
  EXPECT_EQ(weights.layers().size(), GetParam().layers);
  std::int64_t values = 0;
  for (const KerasLayer& layer : weights.layers()) {
    for (const KerasArray& array : layer.arrays) {
      values += array.shape.elements();
    }
  }
  EXPECT_EQ(values, GetParam().values);
}

INSTANTIATE_TEST_SUITE_P(All, KerasRealFiles,
                         testing::Values(RealFile{"vgg16_imagenet_notop.h5", 19, 14714688},
                                         RealFile{"vgg19_imagenet_block1-3.h5", 12, 2325568},
                                         RealFile{"squeezenet_v1.1_imagenet_notop.h5", 63, 722496},
                                         RealFile{"inception_v3_imagenet_notop_partial.h5", 311,
                                                  21802784}),
                         [](const auto& info) {
                           const std::string name = info.param.name;
                           return name.substr(0, name.find('_'));
                         });

}  // namespace
}  // namespace gentrain::io
