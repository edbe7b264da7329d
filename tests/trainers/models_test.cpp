// Networks: shapes and counts, what does not fit and where that stands, fusion against the ops one
// by one, and the JSON form.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/named_model.h"
#include "tests/trainers/small_runs.h"
#include "trainers/bench.h"
#include "trainers/models/network.h"

namespace gentrain::trainers {
namespace {

using test::message_of;
using ::testing::ElementsAre;

const Shape kImage{28, 28, 1};

ModelOptions sequential(std::vector<LayerSpec> layers) {
  ModelOptions model;
  model.layers = std::move(layers);
  return model;
}
/// The message of a network that cannot be built; `bad` says which layer is marked with a place.
std::string error_of(std::vector<LayerSpec> layers, std::size_t bad, const Shape& image = kImage,
                     std::int64_t outputs = 10) {
  layers[bad].where = "job.yaml:9:7";
  ParameterSet parameters;
  return message_of<JobError>(
      [&] { build_network(sequential(layers), {}, image, outputs, parameters); });
}

TEST(Networks, LenetHasItsParameters) {
  for (const ModelOptions& model : {named("lenet"), sequential(lenet_layers())}) {
    ParameterSet parameters;
    const auto network = build_network(model, {}, kImage, 10, parameters);
    EXPECT_EQ(parameters.count(), 22278);
    std::int64_t listed = 0;
    std::int64_t products = 0;
    for (const LayerInfo& layer : network->layers()) {
      listed += layer.parameters;
      products += layer.products;
    }
    EXPECT_EQ(listed, 22278);
    EXPECT_EQ(products, 86400 + 115200 + 19200 + 1000);
    std::vector<std::string> names;
    for (const LayerInfo& layer : network->layers()) {
      EXPECT_EQ(layer.names.empty(), layer.parameters == 0) << layer.name;
      names.insert(names.end(), layer.names.begin(), layer.names.end());
    }
    EXPECT_EQ(names.size(), static_cast<std::size_t>(parameters.size()));
    EXPECT_THAT(network->layers()[0].names, ElementsAre("conv1/weight", "conv1/bias"));
    EXPECT_EQ(network->layers().back().output, Shape{10});
    EXPECT_EQ(forward_flops_per_image(network->layers()), 2.0 * 221800);
    std::vector<bool> trainable(static_cast<std::size_t>(parameters.size()), true);
    EXPECT_EQ(training_flops_per_image(network->layers(), parameters, trainable),
              6.0 * 221800 - 2.0 * 86400);
    trainable[0] = trainable[1] = false;  // then no gradients of the second convolution's inputs
    EXPECT_EQ(training_flops_per_image(network->layers(), parameters, trainable),
              6.0 * 221800 - 4.0 * 86400 - 2.0 * 115200);
  }
}

TEST(Networks, NamesFollowTheirKindAndNumber) {
  ParameterSet parameters;
  build_network(sequential(lenet_layers()), {}, kImage, 10, parameters);
  std::vector<std::string> names;
  for (int i = 0; i < parameters.size(); ++i) {
    names.push_back(parameters.info(i).name);
  }
  EXPECT_THAT(names,
              ElementsAre("conv1/weight", "conv1/bias", "conv2/weight", "conv2/bias",
                          "linear1/weight", "linear1/bias", "linear2/weight", "linear2/bias"));
}

TEST(Networks, ShapesAreInferred) {
  LayerSpec strided = conv_layer(3, 3);
  strided.stride_h = 2;
  strided.pad_w = 1;
  strided.bias = false;
  LayerSpec same = conv_layer(5, 4);
  same.same = true;
  same.stride_w = 3;
  LayerSpec ragged = pool_layer(LayerKind::kAveragePool, 2);
  ragged.stride_h = 1;
  const Shape image{9, 11, 2};
  const auto device = make_cpu_device();  // outlives what stands in its memory
  ParameterSet parameters;
  const auto network = build_network(
      sequential({strided, same, ragged, layer_of(LayerKind::kFlatten), linear_layer(4)}), {},
      image, 4, parameters);
  std::vector<Shape> shapes;
  for (const LayerInfo& layer : network->layers()) {
    shapes.push_back(layer.output);
  }
  EXPECT_THAT(shapes,
              ElementsAre(Shape{4, 11, 3}, Shape{4, 4, 5}, Shape{3, 2, 5}, Shape{30}, Shape{4}));
  EXPECT_EQ(parameters.count(), 3 * 3 * 2 * 3 + (4 * 4 * 3 + 1) * 5 + 31 * 4);
  const auto queue = device->make_queue();
  parameters.allocate(*device, *queue);
  Context context{*device, *queue, nullptr, false, {}};
  EXPECT_EQ(network->forward(context, Tensor::empty(*device, {2, 9, 11, 2})).shape(),
            (Shape{2, 4}));
}

TEST(NetworkErrors, NameLayerAndPlace) {
  const LayerSpec flatten = layer_of(LayerKind::kFlatten);
  EXPECT_EQ(error_of({flatten, conv_layer(6, 5)}, 1),
            "job.yaml:9:7: layer 2 (conv): needs images [h, w, c] but gets [784] per sample");
  EXPECT_EQ(error_of({flatten, pool_layer(LayerKind::kMaxPool, 2)}, 1),
            "job.yaml:9:7: layer 2 (max_pool): needs images [h, w, c] but gets [784] per sample");
  EXPECT_EQ(error_of({conv_layer(6, 5), conv_layer(6, 25)}, 1),
            "job.yaml:9:7: layer 2 (conv): its 25x25 kernel does not fit into [24, 24, 6]");
  EXPECT_EQ(error_of({conv_layer(6, 29)}, 0),
            "job.yaml:9:7: layer 1 (conv): its 29x29 kernel does not fit into [28, 28, 1]");
  EXPECT_EQ(error_of({pool_layer(LayerKind::kAveragePool, 29)}, 0),
            "job.yaml:9:7: layer 1 (average_pool): its 29x29 window does not fit into [28, 28, 1]");
  EXPECT_EQ(error_of({linear_layer(10)}, 0),
            "job.yaml:9:7: layer 1 (linear): needs a row of numbers per sample but gets [28, 28, "
            "1]; put `flatten` before it");
  EXPECT_EQ(
      error_of({flatten, linear_layer(9)}, 1),
      "job.yaml:9:7: layer 2 (linear): the last layer gives [9] per sample but the data needs "
      "[10]");
  EXPECT_EQ(error_of({conv_layer(10, 3), layer_of(LayerKind::kTanh)}, 1),
            "job.yaml:9:7: layer 2 (tanh): the last layer gives [26, 26, 10] per sample but the "
            "data needs [10]");
}

TEST(NetworkErrors, PoolsThatNoKernelTakes) {
  LayerSpec padded = pool_layer(LayerKind::kMaxPool, 2);
  padded.pad_h = 1;
  padded.pad_w = 2;
  EXPECT_EQ(
      error_of({conv_layer(6, 5), padded}, 1),
      "job.yaml:9:7: layer 2 (max_pool): its padding [1, 2] is not smaller than its 2x2 window");
  EXPECT_EQ(
      error_of({pool_layer(LayerKind::kAveragePool, 16)}, 0),
      "job.yaml:9:7: layer 1 (average_pool): its 16x16 window has 256 pixels, at most 255 are "
      "supported");
}

TEST(NetworkErrors, CountsThatWouldOverflow) {
  const LayerSpec flatten = layer_of(LayerKind::kFlatten);
  EXPECT_EQ(
      error_of({flatten, linear_layer(10'000'000), linear_layer(10'000'000)}, 2),
      "job.yaml:9:7: layer 3 (linear): 10000000 x 10000000 weights are too many, at most 1e+11 "
      "are supported");
  LayerSpec wide = conv_layer(10'000'000, 100'000);
  wide.pad_h = wide.pad_w = 100'000;
  EXPECT_EQ(error_of({wide}, 0),
            "job.yaml:9:7: layer 1 (conv): 10000000 x 100000 x 100000 x 1 weights are too many, at "
            "most 1e+11 are supported");
  LayerSpec large = conv_layer(6, 1);
  large.pad_h = large.pad_w = 100'000;
  EXPECT_EQ(error_of({large}, 0),
            "job.yaml:9:7: layer 1 (conv): 200028 x 200028 x 6 results are too many, at most 1e+11 "
            "are supported");
  large.pad_h = large.pad_w = 60'000;
  large.out = 1;
  EXPECT_EQ(
      error_of({large, conv_layer(6, 100)}, 1),
      "job.yaml:9:7: layer 2 (conv): 86297790246 x 10000 products are too many, at most 1e+14 "
      "are supported");
}

TEST(NetworkErrors, WithoutAPlaceTheLayerIsNamedAlone) {
  ParameterSet parameters;
  EXPECT_EQ(message_of<JobError>(
                [&] { build_network(sequential({linear_layer(10)}), {}, kImage, 10, parameters); }),
            "layer 1 (linear): needs a row of numbers per sample but gets [28, 28, 1]; put "
            "`flatten` before it");
}

TEST(NetworkErrors, NoLayersUnknownNameSmallImages) {
  ParameterSet parameters;
  EXPECT_EQ(message_of<JobError>([&] { make_sequential({}, {}, kImage, 10, parameters); }),
            "model: there are no layers");
  EXPECT_EQ(
      message_of<JobError>([&] { build_network(named("lennet"), {}, kImage, 10, parameters); }),
      "model: there is no 'lennet' (known: lenet, vae, vae_conv, srgan, inception_v3, vgg16, "
      "vgg19, "
      "squeezenet)");
  EXPECT_EQ(message_of<JobError>([&] {
              build_network(named("lenet"), {}, {15, 28, 1}, 10, parameters);
            }),
            "lenet takes images [h, w, c] of at least 16x16 pixels but the data has [15, 28, 1]");
  EXPECT_NO_THROW(build_network(named("lenet"), {}, {16, 17, 3}, 2, parameters));
}

/// A network and the same layers as single ops, on the same parameters.
class Fusion : public ::testing::Test {
 protected:
  void expect_like(const std::vector<LayerSpec>& layers,
                   const std::function<Tensor(Context&, const ParameterSet&, Tensor)>& unfused) {
    ParameterSet parameters;
    const auto network = build_network(sequential(layers), {}, {12, 14, 3}, 10, parameters);
    parameters.allocate(*device_, *queue_);
    parameters.initialize(*device_, *queue_, RngKey(3));
    std::vector<float> pixels(std::size_t{5} * 12 * 14 * 3);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = uniform_float(RngKey(4).block(i)[0]) - 0.5F;
    }
    const Tensor x = Tensor::empty(*device_, {5, 12, 14, 3});
    copy_from_host<float>(*device_, *queue_, pixels, x);
    Context context{*device_, *queue_, nullptr, false, {}};
    const Tensor fused = network->forward(context, x);
    const Tensor single = unfused(context, parameters, x);
    ASSERT_EQ(fused.shape(), single.shape());
    const auto a = copy_to_host<float>(*device_, *queue_, fused);
    const auto b = copy_to_host<float>(*device_, *queue_, single);
    EXPECT_TRUE(test::within(1e-5, fused.shape(), std::vector<double>(a.begin(), a.end()),
                             std::vector<double>(b.begin(), b.end())));
  }

  static Tensor flat(Context& context, const Tensor& x) {
    return ops::reshape(context, x, {x.shape()[0], x.elements() / x.shape()[0]});
  }

  std::unique_ptr<Device> device_ = make_cpu_device();
  std::unique_ptr<Queue> queue_ = device_->make_queue();
};

TEST_F(Fusion, ConvolutionPoolingAndActivationsInAnyOrder) {
  const LayerSpec tanh = layer_of(LayerKind::kTanh);
  const LayerSpec relu = layer_of(LayerKind::kRelu);
  const LayerSpec pool = pool_layer(LayerKind::kMaxPool, 2);
  const LayerSpec flatten = layer_of(LayerKind::kFlatten);
  const auto network = [](std::vector<Activation> before, std::vector<Activation> behind) {
    return [before = std::move(before), behind = std::move(behind)](
               Context& context, const ParameterSet& p, const Tensor& x) {
      Tensor y = ops::conv2d(context, x, p[0], p[1]);
      for (const Activation activation : before) {
        y = ops::activate(context, y, activation);
      }
      y = ops::max_pool2d(context, y, {2, 2}, {2, 2});
      for (const Activation activation : behind) {
        y = ops::activate(context, y, activation);
      }
      return ops::linear(context, flat(context, y), p[2], p[3]);
    };
  };
  const LayerSpec conv = conv_layer(4, 3);
  const LayerSpec out = linear_layer(10);
  using A = Activation;
  expect_like({conv, pool, flatten, out}, network({}, {}));
  expect_like({conv, tanh, pool, flatten, out}, network({A::kTanh}, {}));
  expect_like({conv, pool, relu, flatten, out}, network({}, {A::kRelu}));
  expect_like({conv, relu, pool, tanh, flatten, out}, network({A::kRelu}, {A::kTanh}));
  expect_like({conv, tanh, relu, pool, tanh, flatten, out},
              network({A::kTanh, A::kRelu}, {A::kTanh}));
}

TEST_F(Fusion, WhatTheRuleLeavesAlone) {
  LayerSpec overlapping = pool_layer(LayerKind::kMaxPool, 2);
  overlapping.stride_h = overlapping.stride_w = 1;
  const auto unfused = [](Context& context, const ParameterSet& p, const Tensor& x) {
    Tensor y = ops::conv2d(context, x, p[0], p[1], {.activation = Activation::kSigmoid});
    y = ops::max_pool2d(context, y, {2, 2}, {1, 1});
    y = ops::linear(context, flat(context, y), p[2], p[3], Activation::kTanh);
    y = ops::activate(context, y, Activation::kRelu);
    return ops::linear(context, y, p[4], p[5]);
  };
  expect_like(
      {conv_layer(4, 3), layer_of(LayerKind::kSigmoid), overlapping, layer_of(LayerKind::kFlatten),
       linear_layer(20), layer_of(LayerKind::kTanh), layer_of(LayerKind::kRelu), linear_layer(10)},
      unfused);
}

/// Odd extents: pooling with `same` pads, which the fused op does not.
TEST_F(Fusion, SamePoolingOfOddExtents) {
  LayerSpec same = pool_layer(LayerKind::kMaxPool, 2);
  same.same = true;
  const auto unfused = [](Context& context, const ParameterSet& p, const Tensor& x) {
    Tensor y = ops::conv2d(context, x, p[0], p[1]);  // [5, 9, 11, 4]
    y = ops::max_pool2d(context, y, {2, 2}, {2, 2}, {0, 1, 0, 1});
    return ops::linear(context, flat(context, y), p[2], p[3]);
  };
  expect_like({conv_layer(4, 4), same, layer_of(LayerKind::kFlatten), linear_layer(10)}, unfused);
}

TEST(NetworkJson, RoundTrip) {
  LayerSpec odd = conv_layer(7, 3);
  odd.kernel_w = 5;
  odd.stride_h = 2;
  odd.pad_w = 2;
  odd.bias = false;
  LayerSpec same = pool_layer(LayerKind::kAveragePool, 3);
  same.same = true;
  std::vector<LayerSpec> layers = lenet_layers();
  layers.insert(layers.begin(), {odd, same, layer_of(LayerKind::kRelu),
                                 layer_of(LayerKind::kSigmoid), dropout_layer(0.25)});
  for (const ModelOptions& model : {named("lenet"), sequential(layers)}) {
    EXPECT_EQ(model_from_json(nlohmann::json::parse(to_json(model).dump())), model);
  }
}

TEST(NetworkJson, WhatItDoesNotKnow) {
  EXPECT_EQ(message_of<JobError>([] {
              model_from_json({{"layers", {{{"kind", "attention"}, {"out", 3}}}}});
            }),
            "the model has a layer 'attention' that this version does not know");
  EXPECT_THAT(message_of<JobError>([] {
                model_from_json({{"layers", {{{"kind", "conv"}}}}});
              }),
              ::testing::StartsWith("the model's description cannot be read: "));
  EXPECT_THAT(message_of<JobError>([] { model_from_json(nlohmann::json::object()); }),
              ::testing::StartsWith("the model's description cannot be read: "));
}

}  // namespace
}  // namespace gentrain::trainers
