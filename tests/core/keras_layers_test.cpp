// Layers of Keras by type: their nodes and arrays, the names that attributes have had, and what is
// refused.
#include <cmath>

#include "core/keras/activations.h"
#include "core/keras/layers.h"
#include "core/keras/rows.h"
#include "tests/core/keras_models.h"

namespace gentrain::keras {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class KerasLayers : public KerasModels {
 protected:
  /// A model of one layer "l" behind an input "x".
  ImportedModel one(const std::string& type, const json& attributes, const std::vector<int>& sample,
                    const std::vector<test::KerasFileArray>& arrays = {},
                    const std::string& version = "2.13.1") {
    return import(sequential({input("x", sample), layer(type, "l", attributes)}), {{"l", arrays}},
                  version);
  }
  std::string refused(const std::string& type, const json& attributes,
                      const std::vector<int>& sample = {4, 4, 2}) {
    const std::string place = ": layer l (" + type + "): ";
    const std::string said =
        refusal(sequential({input("x", sample), layer(type, "l", attributes)}));
    return said.starts_with(place) ? said.substr(place.size()) : said;
  }
  /// A layer "l" of the inputs a, b and c.
  ImportedModel several(const std::string& type, const json& attributes,
                        const std::vector<std::vector<int>>& samples,
                        const std::string& version = "2.13.1") {
    return import(of_several(type, attributes, samples), {}, version);
  }
  static json of_several(const std::string& type, const json& attributes,
                         const std::vector<std::vector<int>>& samples) {
    std::vector<json> layers;
    std::vector<std::string> names;
    std::vector<std::pair<std::string, int>> taken;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      names.emplace_back(1, static_cast<char>('a' + i));
      layers.push_back(called(input(names.back(), samples[i]), {}));
      taken.emplace_back(names.back(), 0);
    }
    layers.push_back(called(layer(type, "l", attributes), {of(taken)}));
    return functional(layers, names, {{"l", 0}});
  }
};

json conv_of(int filters, int kernel) {
  return {{"filters", filters}, {"kernel_size", {kernel, kernel}}};
}

TEST_F(KerasLayers, Convolutions) {
  json attributes = conv_of(2, 1);
  attributes.update({{"kernel_size", {1, 2}},
                     {"strides", {2, 1}},
                     {"padding", "same"},
                     {"dilation_rate", 1},
                     {"groups", 2},
                     {"activation", "tanh"}});
  const ImportedModel model =
      one("Conv2D", attributes, {5, 5, 4},
          {counting("l/kernel:0", {1, 2, 2, 2}), counting("l/bias:0", {2})});
  const auto conv = kind_of<graph::Convolution>(model, "l");
  EXPECT_EQ(node_of(model, "l").shape, Shape({3, 5, 2}));
  EXPECT_EQ(conv.groups, 2);
  EXPECT_EQ(conv.stride.h, 2);
  EXPECT_TRUE(conv.padding.same);
  EXPECT_EQ(conv.activation, Activation::kTanh);
  EXPECT_EQ(array_of(model, "l/weight").shape, Shape({2, 1, 2, 2}));
  EXPECT_THAT(array_of(model, "l/weight").values, ElementsAre(0, 1, 2, 3, 0.5, 1.5, 2.5, 3.5));
}

TEST_F(KerasLayers, ConvolutionsOfKerasOne) {
  const json attributes = {{"nb_filter", 1},      {"nb_row", 2},   {"nb_col", 3},
                           {"subsample", {1, 1}}, {"bias", false}, {"border_mode", "valid"},
                           {"dim_ordering", "th"}};
  const ImportedModel model =
      one("Convolution2D", attributes, {1, 4, 4}, {counting("l_W:0", {1, 1, 2, 3})}, "1.2.2");
  EXPECT_THAT(names_of(model.graph), ElementsAre("x", "l/channels_last", "l/linear", "l"));
  EXPECT_EQ(node_of(model, "l").shape, Shape({1, 3, 2}));
  EXPECT_THAT(kind_of<graph::Permute>(model, "l").axes, ElementsAre(2, 0, 1));
  EXPECT_EQ(array_of(model, "l/weight").shape, Shape({1, 2, 3, 1}));
  EXPECT_THAT(array_of(model, "l/weight").values, ElementsAre(0, 0.5, 1, 1.5, 2, 2.5));
}

TEST_F(KerasLayers, DepthwiseAndSeparableConvolutions) {
  const json depthwise = {{"kernel_size", 1}, {"depth_multiplier", 2}, {"use_bias", false}};
  for (const char* name : {"l/depthwise_kernel:0", "l/kernel"}) {
    const ImportedModel model =
        one("DepthwiseConv2D", depthwise, {3, 3, 2}, {counting(name, {1, 1, 2, 2})});
    EXPECT_EQ(kind_of<graph::Convolution>(model, "l").groups, 2);
    EXPECT_EQ(kind_of<graph::Convolution>(model, "l").out, 4);
    EXPECT_EQ(array_of(model, "l/weight").shape, Shape({4, 1, 1, 1}));
    EXPECT_THAT(array_of(model, "l/weight").values, ElementsAre(0, 0.5, 1, 1.5));
  }
  json separable = conv_of(3, 2);
  separable["activation"] = "elu";
  const ImportedModel model =
      one("SeparableConv2D", separable, {3, 3, 2},
          {counting("l/depthwise_kernel:0", {2, 2, 2, 1}),
           counting("l/pointwise_kernel:0", {1, 1, 2, 3}), counting("l/bias:0", {3})});
  EXPECT_THAT(names_of(model.graph), ElementsAre("x", "l/depthwise", "l/linear", "l"));
  EXPECT_EQ(array_of(model, "l/depthwise/weight").shape, Shape({2, 2, 2, 1}));
  EXPECT_THAT(array_of(model, "l/depthwise/weight").values,
              ElementsAre(0, 1, 2, 3, 0.5, 1.5, 2.5, 3.5));
  EXPECT_EQ(array_of(model, "l/weight").shape, Shape({3, 1, 1, 2}));
}

struct TransposedCase {
  const char* padding;
  int kernel, stride;
  json more;
  std::int64_t to, before, behind;
};

TEST_F(KerasLayers, TransposedConvolutions) {
  for (const TransposedCase& c : {TransposedCase{"same", 3, 2, nullptr, 10, 0, 1},
                                  {"same", 4, 2, nullptr, 10, 1, 1},
                                  {"same", 3, 1, nullptr, 5, 1, 1},
                                  {"valid", 2, 3, nullptr, 15, 0, 0},
                                  {"valid", 3, 2, nullptr, 11, 0, 0},
                                  {"same", 3, 2, 0, 9, 1, 1},
                                  {"valid", 3, 2, 1, 12, 0, 0}}) {
    json attributes = conv_of(2, c.kernel);
    attributes.update({{"strides", c.stride}, {"padding", c.padding}, {"output_padding", c.more}});
    const ImportedModel model =
        one("Conv2DTranspose", attributes, {5, 5, 3},
            {counting("l/kernel:0", {c.kernel, c.kernel, 2, 3}), counting("l/bias:0", {2})});
    const auto conv = kind_of<graph::TransposedConvolution>(model, "l");
    EXPECT_EQ(conv.to_h, c.to) << c.padding << " " << c.kernel << " " << c.stride;
    EXPECT_EQ(conv.padding.top, c.before);
    EXPECT_EQ(conv.padding.bottom, c.behind);
    EXPECT_EQ(array_of(model, "l/weight").shape, Shape({3, c.kernel, c.kernel, 2}));
  }
}

TEST_F(KerasLayers, BatchNormalizationAlongAnyAxis) {
  const std::vector<test::KerasFileArray> arrays = {counting("l/moving_mean:0", {2}),
                                                    counting("l/moving_variance:0", {2}, 1)};
  const json plain = {{"axis", 1}, {"scale", false}, {"center", false}, {"momentum", 1}};
  const ImportedModel model = one("BatchNormalization", plain, {2, 4, 3}, arrays);
  EXPECT_THAT(names_of(model.graph), ElementsAre("x", "l/channels_last", "l/norm", "l"));
  EXPECT_THAT(kind_of<graph::Permute>(model, "l/channels_last").axes, ElementsAre(1, 2, 0));
  EXPECT_THAT(kind_of<graph::Permute>(model, "l").axes, ElementsAre(2, 0, 1));
  const auto norm = kind_of<graph::BatchNormalization>(model, "l/norm");
  EXPECT_FALSE(norm.gamma);
  EXPECT_FALSE(norm.beta);
  EXPECT_LT(norm.decay, 1);
  EXPECT_EQ(model.arrays.size(), 2);
  json last = plain;
  last["axis"] = {3};
  EXPECT_THAT(names_of(one("BatchNormalization", last, {4, 3, 2}, arrays).graph),
              ElementsAre("x", "l"));
  const ImportedModel old =
      one("BatchNormalization", {{"axis", -1}, {"mode", 0}}, {2},
          {counting("l_gamma:0", {2}), counting("l_beta:0", {2}),
           counting("l_running_mean:0", {2}, 3), counting("l_running_std:0", {2}, 5)},
          "1.2.2");
  EXPECT_THAT(array_of(old, "l/running_var").values, ElementsAre(5, 5.5));
}

TEST_F(KerasLayers, Pooling) {
  const ImportedModel model =
      one("AveragePooling2D", {{"pool_size", {3, 2}}, {"strides", nullptr}, {"padding", "same"}},
          {7, 6, 2});
  const auto pooling = kind_of<graph::Pooling>(model, "l");
  EXPECT_EQ(pooling.pooling, graph::PoolingKind::kAverage);
  EXPECT_EQ(pooling.stride.h, 3);
  EXPECT_EQ(node_of(model, "l").shape, Shape({3, 3, 2}));
  const ImportedModel first =
      one("GlobalMaxPooling2D", {{"data_format", "channels_first"}, {"keepdims", true}}, {2, 5, 4});
  EXPECT_THAT(names_of(first.graph), ElementsAre("x", "l/channels_last", "l/pool", "l"));
  EXPECT_EQ(node_of(first, "l").shape, Shape({2, 1, 1}));
}

TEST_F(KerasLayers, PaddingCroppingEnlarging) {
  const ImportedModel padded_model =
      one("ZeroPadding2D", {{"padding", {{1, 2}, {0, 3}}}}, {4, 5, 2});
  EXPECT_THAT(names_of(padded_model.graph), ElementsAre("x", "l/rows", "l"));
  EXPECT_EQ(node_of(padded_model, "l").shape, Shape({7, 8, 2}));
  EXPECT_EQ(node_of(one("ZeroPadding2D", {{"padding", {1, 2}}}, {4, 5, 2}), "l").shape,
            Shape({6, 9, 2}));
  EXPECT_EQ(
      node_of(one("ZeroPadding2D", {{"padding", {{"top_pad", 1}, {"right_pad", 2}}}}, {4, 5, 2}),
              "l")
          .shape,
      Shape({5, 7, 2}));
  EXPECT_EQ(node_of(one("ZeroPadding2D", {{"padding", {1, 0, 0, 2}}}, {4, 5, 2}), "l").shape,
            Shape({5, 7, 2}));
  EXPECT_EQ(
      node_of(one("Cropping2D", {{"cropping", {{1, 2}, {3, 0}}}, {"data_format", "channels_first"}},
                  {2, 4, 5}),
              "l")
          .shape,
      Shape({2, 1, 2}));
  EXPECT_THAT(names_of(one("Cropping2D", {{"cropping", 0}}, {4, 5, 2}).graph),
              ElementsAre("x", "l"));
  EXPECT_EQ(
      node_of(one("UpSampling2D", {{"size", {2, 3}}, {"interpolation", "bilinear"}}, {2, 2, 1}),
              "l")
          .shape,
      Shape({4, 6, 1}));
  EXPECT_THAT(refused("Cropping2D", {{"cropping", 2}}),
              HasSubstr("4 rows or columns become 0: 1 to 1048576 are supported"));
  EXPECT_THAT(refused("ZeroPadding2D", {{"padding", 2000000000}}), HasSubstr("are supported"));
  save(sequential({input("x", {2, 2, 1}),
                   layer("UpSampling2D", "l", {{"size", 2}, {"interpolation", "bilinear"}})}),
       {}, "2.2.4");
  EXPECT_THAT(refusal(), HasSubstr("interpolation is bilinear, which Keras 2.2.4 left to its"));
}

TEST_F(KerasLayers, MapsTogetherHaveALimit) {
  std::vector<json> layers = {input("x", {1, 1, 1})};
  for (int i = 0; i < 9; ++i) {
    layers.push_back(layer("UpSampling2D", "up_" + std::to_string(i), {{"size", {1 << 20, 1}}}));
    layers.push_back(layer("Cropping2D", "crop_" + std::to_string(i),
                           {{"cropping", {{(1 << 20) - 1, 0}, {0, 0}}}}));
  }
  save(sequential(layers));
  EXPECT_THAT(refusal(), HasSubstr("of more than 16777216 values together are not supported"));
}

TEST(KerasRows, TermsOfEachPosition) {
  const Rows pad = padded(2, 1, 2);
  EXPECT_EQ(pad->from, 2);
  EXPECT_THAT(pad->begins, ElementsAre(0, 0, 1, 2, 2, 2));
  EXPECT_THAT(pad->sources, ElementsAre(0, 1));
  const Rows crop = padded(4, -1, -2);
  EXPECT_THAT(crop->begins, ElementsAre(0, 1));
  EXPECT_THAT(crop->sources, ElementsAre(1));
  EXPECT_THAT(repeated(2, 2)->sources, ElementsAre(0, 0, 1, 1));
  const Rows linear = interpolated(2, 2);
  EXPECT_THAT(linear->begins, ElementsAre(0, 1, 3, 5, 6));
  EXPECT_THAT(linear->sources, ElementsAre(0, 0, 1, 0, 1, 1));
  EXPECT_THAT(linear->weights, ElementsAre(1, 0.75, 0.25, 0.25, 0.75, 1));
  EXPECT_THAT(interpolated(3, 3)->begins, ElementsAre(0, 1, 2, 4, 6, 7, 9, 11, 12, 13));
}

TEST_F(KerasLayers, Shapes) {
  EXPECT_EQ(node_of(one("Reshape", {{"target_shape", {2, -1}}}, {4, 3, 1}), "l").shape,
            Shape({2, 6}));
  EXPECT_THAT(kind_of<graph::Permute>(one("Permute", {{"dims", {3, 1, 2}}}, {4, 3, 2}), "l").axes,
              ElementsAre(2, 0, 1));
  EXPECT_EQ(node_of(one("RepeatVector", {{"n", 3}}, {2}), "l").shape, Shape({3, 2}));
  EXPECT_THAT(names_of(one("Flatten", {{"data_format", "channels_first"}}, {2, 3, 4}).graph),
              ElementsAre("x", "l/channels_last", "l"));
  EXPECT_THAT(refused("Reshape", {{"target_shape", {-1, -1}}}),
              HasSubstr("target_shape is [-1,-1], which 32 values cannot have"));
  EXPECT_THAT(refused("Reshape", {{"target_shape", {5}}}),
              HasSubstr("target_shape is [5], but there are 32 values"));
  EXPECT_THAT(refused("Reshape", {}), HasSubstr("target_shape is missing"));
  EXPECT_THAT(refused("Permute", {{"dims", {1, 1, 2}}}),
              HasSubstr("dims is [1,1,2]: the numbers 1 to 3, each once, are needed"));
  EXPECT_THAT(refused("RepeatVector", {{"n", 2}}), HasSubstr("a row is needed"));
}

TEST_F(KerasLayers, Merging) {
  const ImportedModel sum = several("Add", {}, {{3}, {3}, {3}});
  EXPECT_THAT(node_of(sum, "l").inputs, ElementsAre(0, 1, 2));
  EXPECT_THAT(names_of(several("Add", {}, {{2, 2, 3}, {3}, {3}}).graph),
              ElementsAre("a", "b", "c", "l/1", "l"));
  const ImportedModel mean = several("Average", {}, {{3}, {3}});
  EXPECT_EQ(kind_of<graph::Pointwise>(mean, "l").rule.a, 0.5);
  EXPECT_EQ(kind_of<graph::Binary>(several("Subtract", {}, {{3}, {3}}), "l").function,
            BinaryFunction::kSubtract);
  EXPECT_EQ(kind_of<graph::Binary>(several("Minimum", {}, {{3}, {3}}), "l").function,
            BinaryFunction::kMinimum);
  EXPECT_EQ(
      kind_of<graph::Concatenation>(several("Concatenate", {{"axis", 1}}, {{3, 2}, {4, 2}}), "l")
          .axis,
      0);
  EXPECT_EQ(kind_of<graph::Concatenation>(several("Concatenate", {}, {{3, 2}, {3, 5}}), "l").axis,
            -1);
  const json old = {{"mode", "concat"},
                    {"concat_axis", 3},
                    {"dot_axes", -1},
                    {"mode_type", "raw"},
                    {"arguments", json::object()},
                    {"output_shape", nullptr}};
  EXPECT_EQ(node_of(several("Merge", old, {{2, 2, 1}, {2, 2, 3}}, "1.2.2"), "l").shape,
            Shape({2, 2, 4}));
  EXPECT_EQ(kind_of<graph::Binary>(several("Merge", {{"mode", "max"}}, {{3}, {3}}, "1.2.2"), "l")
                .function,
            BinaryFunction::kMaximum);
  EXPECT_THAT(refusal(of_several("Merge", {{"mode", "cos"}}, {{3}, {3}})),
              HasSubstr("mode is 'cos': sum, mul, ave, max and concat are supported"));
  EXPECT_THAT(refusal(of_several("Merge", {{"mode_type", "lambda"}}, {{3}, {3}})),
              HasSubstr("mode_type is \"lambda\", which is not supported"));
  EXPECT_THAT(refusal(of_several("Subtract", {}, {{3}, {3}, {3}})),
              HasSubstr("it takes 3 inputs: two are needed"));
  EXPECT_THAT(refusal(of_several("Add", {}, {{3}})),
              HasSubstr("it takes 1 inputs: two or more are needed"));
  EXPECT_THAT(refusal(of_several("Flatten", {}, {{3}, {3}})),
              HasSubstr("it takes 2 inputs: one is needed"));
  EXPECT_THAT(refusal(of_several("Concatenate", {{"axis", 0}}, {{3}, {3}})),
              HasSubstr("axis 0 is none of the 1 axes behind the samples'"));
  EXPECT_THAT(refusal(of_several("Add", {}, {{3}, {2}})), HasSubstr("layer l (Add): "));
}

TEST_F(KerasLayers, ActivationsAsLayers) {
  const auto relu = kind_of<graph::Pointwise>(
      one("ReLU", {{"max_value", 5}, {"negative_slope", 0.1}, {"threshold", 0.2}}, {3}), "l");
  EXPECT_EQ(relu.rule, (PointwiseRule{PointwiseFunction::kRelu, 0.1, 0.2, 5}));
  EXPECT_EQ(kind_of<graph::Activate>(one("ReLU", {{"max_value", nullptr}}, {3}), "l").slope, 0);
  EXPECT_EQ(kind_of<graph::Activate>(one("LeakyReLU", {}, {3}), "l").slope, 0.3);
  EXPECT_EQ(kind_of<graph::Activate>(
                one("LeakyReLU", {{"alpha", {{"type", "ndarray"}, {"value", 0.25}}}}, {3}), "l")
                .slope,
            0.25);
  EXPECT_EQ(kind_of<graph::Pointwise>(one("LeakyReLU", {{"negative_slope", -1}}, {3}), "l").rule.a,
            -1);
  EXPECT_EQ(kind_of<graph::Pointwise>(one("ThresholdedReLU", {{"theta", 2}}, {3}), "l").rule,
            (PointwiseRule{PointwiseFunction::kThreshold, 2, 0}));
  EXPECT_EQ(kind_of<graph::Softmax>(one("Softmax", {{"axis", {1}}}, {3, 2}), "l").axis, 0);
  const ImportedModel prelu =
      one("PReLU", {{"shared_axes", {1, 2}}}, {3, 4, 2}, {counting("l_alphas:0", {1, 1, 2})});
  EXPECT_EQ(kind_of<graph::Prelu>(prelu, "l").alpha, Shape({1, 1, 2}));
  EXPECT_THAT(array_of(prelu, "l/alpha").values, ElementsAre(0, 0.5));
  EXPECT_THAT(refused("PReLU", {{"shared_axes", 1}}), HasSubstr("a list is needed"));
}

TEST(KerasActivations, ByNameAndAsObjects) {
  const Version two = parse_version("2.13.1");
  const Version three = parse_version("3.0.0");
  const auto rule = [](const json& value, const Version& version) {
    const auto kind = read_activation(value, version);
    const auto* pointwise = kind ? std::get_if<graph::Pointwise>(&*kind) : nullptr;
    return pointwise == nullptr ? PointwiseRule{} : pointwise->rule;
  };
  EXPECT_FALSE(read_activation("linear", two).has_value());
  EXPECT_FALSE(read_activation(nullptr, two).has_value());
  EXPECT_EQ(rule("hard_sigmoid", two), (PointwiseRule{PointwiseFunction::kHardSigmoid, 0.2, 0.5}));
  EXPECT_EQ(rule("hard_sigmoid", three),
            (PointwiseRule{PointwiseFunction::kHardSigmoid, 1.0 / 6, 0.5}));
  EXPECT_EQ(rule("relu6", three).c, 6);
  EXPECT_EQ(rule("mish", three).function, PointwiseFunction::kMish);
  EXPECT_NEAR(rule("selu", two).a * rule("selu", two).b, 1.7580993408473766, 1e-12);
  EXPECT_EQ(std::get<graph::Activate>(read_activation("leaky_relu", three).value()).slope, 0.2);
  EXPECT_TRUE(std::get<graph::Softmax>(read_activation("log_softmax", three).value()).log);
  EXPECT_EQ(rule({{"class_name", "function"}, {"config", "gelu"}}, three).function,
            PointwiseFunction::kGelu);
  EXPECT_EQ(rule({{"class_name", "ELU"}, {"config", {{"name", "e"}, {"alpha", 2}}}}, two).a, 2);
  EXPECT_EQ(rule({{"class_name", "Activation"}, {"config", {{"activation", "elu"}}}}, two).function,
            PointwiseFunction::kElu);
  const auto said = [&](const json& value) {
    return test::message_of<IoError>([&] { static_cast<void>(read_activation(value, three)); });
  };
  EXPECT_EQ(said("frobnicate"), "its activation 'frobnicate' is not known");
  EXPECT_EQ(said(7), "its activation 7 is not known");
  EXPECT_EQ(said({{"class_name", "Mine"}, {"config", json::object()}}),
            "its activation Mine is not known");
  EXPECT_THAT(said({{"class_name", "function"}, {"config", "relu"}, {"module", "builtins"}}),
              HasSubstr("is a custom one"));
}

TEST_F(KerasLayers, RescalingAndNormalization) {
  EXPECT_EQ(
      kind_of<graph::Pointwise>(one("Rescaling", {{"scale", 0.5}, {"offset", 0.1}}, {3}), "l").rule,
      (PointwiseRule{PointwiseFunction::kAffine, 0.5, 0.1}));
  const ImportedModel lists = one("Rescaling", {{"scale", {1, 2}}, {"offset", 3}}, {4, 2});
  EXPECT_THAT(names_of(lists.graph), ElementsAre("x", "l/scale", "l/offset", "l/scaled", "l"));
  EXPECT_THAT(*kind_of<graph::Constant>(lists, "l/scale").values, ElementsAre(1, 2));
  EXPECT_THAT(refused("Rescaling", {{"scale", {1, 2, 3}}}),
              HasSubstr("scale has 3 values, but there are 2 channels"));
  const ImportedModel stored =
      one("Normalization", {{"axis", {-1}}, {"mean", nullptr}, {"variance", nullptr}}, {2},
          {counting("l/mean:0", {2}, 3), counting("l/variance:0", {2}), counting("l/count:0", {})});
  EXPECT_THAT(*kind_of<graph::Constant>(stored, "l/mean").values, ElementsAre(3, 3.5));
  EXPECT_THAT(*kind_of<graph::Constant>(stored, "l/deviation").values,
              ElementsAre(1e-7F, std::sqrt(0.5F)));
  EXPECT_THAT(stored.arrays, IsEmpty());
  const ImportedModel given =
      one("Normalization", {{"axis", nullptr}, {"mean", 2}, {"variance", {4}}}, {3});
  EXPECT_THAT(*kind_of<graph::Constant>(given, "l/deviation").values, ElementsAre(2));
  EXPECT_THAT(refused("Normalization", {{"axis", 1}}),
              HasSubstr("axis is 1: only the last one is supported"));
  EXPECT_THAT(refused("Normalization", {{"axis", -1}, {"mean", 1}}),
              HasSubstr("it has a mean but no variance"));
}

TEST_F(KerasLayers, Dropout) {
  EXPECT_EQ(kind_of<graph::Dropout>(one("Dropout", {{"p", 0.5}}, {3}, {}, "1.2.2"), "l").rate, 0.5);
  EXPECT_THAT(one("Dropout", {{"rate", 0.5}, {"noise_shape", {1}}}, {3}).training_only,
              ElementsAre("l"));
  EXPECT_THAT(one("SpatialDropout2D", {{"rate", 0.5}}, {3, 3, 1}).training_only, ElementsAre("l"));
  EXPECT_THAT(refused("Dropout", {{"rate", 2}}), HasSubstr("rate is 2: 0 to 1 is needed"));
}

TEST_F(KerasLayers, AttributesThatAreNotKnown) {
  const auto conv = [&](const json& changes) {
    json attributes = conv_of(2, 3);
    attributes.update(changes);
    return refused("Conv2D", attributes);
  };
  EXPECT_EQ(conv({{"speed", 3}}), "its attribute speed = 3 is not known");
  EXPECT_EQ(conv({{"filters", "three"}}),
            "filters is \"three\": an integer, at least 1, is needed");
  EXPECT_EQ(conv({{"filters", 5000000000}}), "filters is 5000000000: more than can be");
  EXPECT_EQ(conv({{"nb_filter", 2}}), "it has both filters and nb_filter, which mean the same");
  EXPECT_EQ(conv({{"strides", {-1, 0}}}), "strides is -1: an integer, at least 1, is needed");
  EXPECT_EQ(conv({{"strides", {1, 1, 1}}}), "strides is [1,1,1]: two integers are needed");
  EXPECT_EQ(conv({{"padding", "causal"}}), "padding is 'causal': valid or same is needed");
  EXPECT_EQ(conv({{"padding", 1}}), "padding is 1: a text is needed");
  EXPECT_EQ(conv({{"data_format", "rows"}}),
            "data_format is 'rows': channels_last or channels_first is needed");
  EXPECT_EQ(conv({{"use_bias", 1}}), "use_bias is 1: true or false is needed");
  EXPECT_THAT(conv({{"kernel_size", {13, 3}}}), HasSubstr("13"));
  EXPECT_EQ(refused("Conv2D", {{"kernel_size", 3}}), "it has no attribute filters or nb_filter");
  EXPECT_EQ(refused("LSTM", {{"units", 3}}), "layers of the type LSTM are not supported");
  EXPECT_EQ(refused("ELU", {{"alpha", "a"}}), "alpha is \"a\": a finite number is needed");
  EXPECT_EQ(refused("Activation", {}), "it has no attribute activation");
  EXPECT_EQ(refused("Cropping2D", {}), "it has no attribute cropping");
  EXPECT_EQ(refused("BatchNormalization", {{"renorm", true}}),
            "renorm is true, which is not supported");
  EXPECT_THAT(refused("BatchNormalization", {{"epsilon", -1}}), HasSubstr("epsilon is -1"));
  EXPECT_EQ(refused("UpSampling2D", {{"interpolation", "area"}}),
            "interpolation is 'area': nearest and bilinear are supported");
  EXPECT_THAT(refused("Flatten", {{"dtype", "float16"}}),
              HasSubstr("its dtype is \"float16\"; only float32 is supported"));
  EXPECT_THAT(refused("MaxPooling2D", {}, {3}), HasSubstr("an image is needed"));
}

TEST_F(KerasLayers, TwoCallsOfDifferentInputs) {
  const json model =
      functional({called(input("x", {2}), {}), called(input("y", {3}), {}),
                  called(layer("Dense", "l", {{"units", 1}}), {of({{"x", 0}}), of({{"y", 0}})})},
                 {"x", "y"}, {{"l", 1}});
  EXPECT_THAT(refusal(model, {{"l", {counting("l/kernel:0", {2, 1}), counting("l/bias:0", {1})}}}),
              HasSubstr("layer l (Dense): "));
}

}  // namespace
}  // namespace gentrain::keras
