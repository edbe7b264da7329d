// VGG as an extractor of features: its parameters, its maps against plain loops over a Keras file's
// own order and against NumPy on the published weights, its gradient, what it does not compute.
#include "trainers/models/vgg.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/io/keras_weights.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/counting_device.h"
#include "tests/support/gradients.h"
#include "tests/support/keras_file.h"
#include "tests/support/workbench.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Maps = std::vector<VggMap>;

Context context_of(const test::Workbench& bench, Tape* tape = nullptr) {
  return {bench.device(), bench.queue(), tape, false, {}};
}

TEST(Vgg, HasTheParametersOfThePublishedNetworks) {
  const auto count = [](VggNet net, const char* deepest) {
    return VggFeatures(net, Maps{{deepest}}).parameters().count();
  };
  EXPECT_EQ(count(VggNet::kVgg16, "block5_conv3"), 14714688);
  EXPECT_EQ(count(VggNet::kVgg16, "block5_pool"), 14714688);
  EXPECT_EQ(count(VggNet::kVgg19, "block5_conv4"), 20024384);
  EXPECT_EQ(count(VggNet::kVgg19, "block3_conv4"), 2325568);
  EXPECT_EQ(count(VggNet::kVgg19, "block1_conv1"), 1792);
  const VggFeatures vgg(VggNet::kVgg19, Maps{{"block1_pool"}, {"block1_conv1"}}, VggInput::kCaffe);
  EXPECT_EQ(vgg.parameters().count(), 38720) << "what an image goes through before is none";
  EXPECT_EQ(vgg.parameters().info(2).name, "block1_conv2/weight");
  EXPECT_EQ(vgg.parameters().info(2).shape, Shape({64, 3, 3, 64}));
}

TEST(Vgg, NamesOfLayersAreThoseOfKeras) {
  EXPECT_THAT(
      VggFeatures::layer_names(VggNet::kVgg16),
      ElementsAre("block1_conv1", "block1_conv2", "block1_pool", "block2_conv1", "block2_conv2",
                  "block2_pool", "block3_conv1", "block3_conv2", "block3_conv3", "block3_pool",
                  "block4_conv1", "block4_conv2", "block4_conv3", "block4_pool", "block5_conv1",
                  "block5_conv2", "block5_conv3", "block5_pool"));
  EXPECT_EQ(VggFeatures::layer_names(VggNet::kVgg19).size(), 21);
}

TEST(Vgg, MapsThatThereAreNot) {
  const auto error_of = [](const Maps& maps) {
    return message_of<JobError>([&] { VggFeatures(VggNet::kVgg16, maps); });
  };
  EXPECT_EQ(error_of({}), "VGG16: no maps are asked for");
  EXPECT_EQ(error_of({{"block3_conv4"}}),
            "VGG16 has no layer 'block3_conv4' (known: block1_conv1, block1_conv2, block1_pool, "
            "block2_conv1, block2_conv2, block2_pool, block3_conv1, block3_conv2, block3_conv3, "
            "block3_pool, block4_conv1, block4_conv2, block4_conv3, block4_pool, block5_conv1, "
            "block5_conv2, block5_conv3, block5_pool)");
  EXPECT_EQ(error_of({{"block1_pool", true}}),
            "VGG16 has no activation at block1_pool: only convolutions can be taken before it");
}

TEST(Vgg, WhatForwardRefuses) {
  const test::Workbench bench(test::cpu_device());
  VggFeatures vgg(VggNet::kVgg19, Maps{{"block2_pool"}});
  Context context = context_of(bench);
  const auto forward = [&](const Shape& shape, const Maps& maps) {
    static_cast<void>(vgg.forward(context, bench.full(shape, 0.5, DType::kF32), maps));
  };
  EXPECT_EQ(message_of<Error>([&] {
              forward({1, 8, 8, 3}, {{"block2_pool"}});
            }),
            "VGG19 has no weights yet");
  vgg.initialize(bench.device(), bench.queue(), RngKey(1));
  EXPECT_EQ(message_of<Error>([&] {
              forward({1, 8, 8, 3}, {{"block3_conv1"}});
            }),
            "VGG19: block3_conv1 is deeper than block2_pool, the deepest map that it was made for");
  EXPECT_EQ(message_of<JobError>([&] {
              forward({1, 8, 8, 3}, {});
            }),
            "VGG19: no maps are asked for");
  EXPECT_EQ(message_of<ShapeError>([&] {
              forward({1, 8, 8, 1}, {{"block1_conv1"}});
            }),
            "conv2d: weights have 3 input channels but x has 1 (block1_conv1)");
  EXPECT_THAT(message_of<ShapeError>([&] {
                forward({1, 3, 3, 3}, {{"block2_pool"}});
              }),
              HasSubstr("(block2_conv2)"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                forward({1, 3, 3, 3}, {{"block2_conv2"}, {"block2_pool"}});
              }),
              HasSubstr("(block2_pool)"));
}

TEST(Vgg, RandomWeightsAreAFunctionOfTheKey) {
  const test::Workbench bench(test::cpu_device());
  VggFeatures vgg(VggNet::kVgg19, Maps{{"block1_conv2"}});
  const auto weights = [&](std::uint64_t key) {
    vgg.initialize(bench.device(), bench.queue(), RngKey(key));
    return bench.values(vgg.parameters()[2]);
  };
  const std::vector<double> first = weights(1);
  EXPECT_NE(weights(2), first);
  EXPECT_EQ(weights(1), first);
  const double squares = std::inner_product(first.begin(), first.end(), first.begin(), 0.0);
  EXPECT_NEAR(squares / static_cast<double>(first.size()), 2.0 / (9 * 64), 1e-4);
  for (const double bias : bench.values(vgg.parameters()[3])) {
    EXPECT_EQ(bias, 0);
  }
  EXPECT_EQ(vgg.file_sha256(), "");
}

/// Images [n, h, w, c] in plain loops: what is compared with.
struct Image {
  std::int64_t n, h, w, c;
  std::vector<double> values;

  Image(std::int64_t images, std::int64_t height, std::int64_t width, std::int64_t channels)
      : n(images),
        h(height),
        w(width),
        c(channels),
        values(static_cast<std::size_t>(images * height * width * channels)) {}
  double& at(std::int64_t i, std::int64_t y, std::int64_t x, std::int64_t k) {
    return values[static_cast<std::size_t>(((i * h + y) * w + x) * c + k)];
  }
  /// Zero outside.
  double padded(std::int64_t i, std::int64_t y, std::int64_t x, std::int64_t k) {
    return y < 0 || y >= h || x < 0 || x >= w ? 0 : at(i, y, x, k);
  }
  template <class Visit>
  void each(const Visit& visit) {
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t y = 0; y < h; ++y) {
        for (std::int64_t x = 0; x < w; ++x) {
          for (std::int64_t k = 0; k < c; ++k) {
            visit(i, y, x, k);
          }
        }
      }
    }
  }
};

/// With a kernel [3, 3, in, out] as the file has it.
Image convolve(Image in, const test::KerasFileLayer& layer) {
  const std::vector<double>& kernel = layer.arrays[0].values;
  const std::vector<double>& bias = layer.arrays[1].values;
  Image out(in.n, in.h, in.w, static_cast<std::int64_t>(bias.size()));
  out.each([&](std::int64_t i, std::int64_t y, std::int64_t x, std::int64_t k) {
    double sum = bias[static_cast<std::size_t>(k)];
    for (std::int64_t tap = 0; tap < 9 * in.c; ++tap) {
      const std::int64_t row = tap / (3 * in.c);
      const std::int64_t column = tap / in.c % 3;
      sum += in.padded(i, y + row - 1, x + column - 1, tap % in.c) *
             kernel[static_cast<std::size_t>(tap * out.c + k)];
    }
    out.at(i, y, x, k) = sum;
  });
  return out;
}

Image rectify(Image image) {
  for (double& value : image.values) {
    value = std::max(value, 0.0);
  }
  return image;
}

Image pool(Image in) {
  Image out(in.n, in.h / 2, in.w / 2, in.c);
  out.each([&](std::int64_t i, std::int64_t y, std::int64_t x, std::int64_t k) {
    out.at(i, y, x, k) =
        std::max({in.at(i, 2 * y, 2 * x, k), in.at(i, 2 * y, 2 * x + 1, k),
                  in.at(i, 2 * y + 1, 2 * x, k), in.at(i, 2 * y + 1, 2 * x + 1, k)});
  });
  return out;
}

/// A file with the first two blocks.
class VggFile : public ::testing::Test {
 protected:
  VggFile() {
    const auto add = [&](const std::string& name, std::int64_t in, std::int64_t out) {
      const RngKey key = RngKey(5).fold(layers_.size());
      const double bound = std::sqrt(6.0 / static_cast<double>(9 * in));
      layers_.push_back({name,
                         {{name + "_W_1:0",
                           {3, 3, in, out},
                           test::random_values(9 * in * out, key, -bound, bound)},
                          {name + "_b_1:0", {out}, test::random_values(out, key.fold(1))}}});
    };
    add("block1_conv1", 3, 64);
    add("block1_conv2", 64, 64);
    layers_.push_back({"block1_pool", {}});
    add("block2_conv1", 64, 128);
    add("block2_conv2", 128, 128);
    layers_.push_back({"block2_pool", {}});
  }
  ~VggFile() override { fs::remove(path_); }
  VggFile(const VggFile&) = delete;
  VggFile& operator=(const VggFile&) = delete;

  [[nodiscard]] std::string loading(const Maps& maps) const {
    VggFeatures vgg(VggNet::kVgg19, maps);
    return message_of<IoError>(
        [&] { vgg.load(bench_.device(), bench_.queue(), io::KerasWeights(path_)); });
  }

  fs::path path_ = fs::temp_directory_path() / ("gentrain-vgg-" + std::to_string(getpid()) + ".h5");
  std::vector<test::KerasFileLayer> layers_;
  test::Workbench bench_{test::cpu_device()};
};

TEST_F(VggFile, MapsAreThoseOfPlainLoops) {
  test::write_keras_file(path_, layers_);
  const Maps maps = {{"block2_conv2"},
                     {"block1_conv2", true},
                     {"block1_conv1"},
                     {"block1_pool"},
                     {"block2_conv2", true}};
  VggFeatures vgg(VggNet::kVgg19, maps);
  vgg.load(bench_.device(), bench_.queue(), io::KerasWeights(path_));
  EXPECT_EQ(vgg.file_sha256().size(), 64);

  Image x(2, 7, 5, 3);
  x.values = test::random_values(2 * 7 * 5 * 3, RngKey(9));
  Context context = context_of(bench_);
  const std::vector<Tensor> found =
      vgg.forward(context, bench_.tensor({2, 7, 5, 3}, x.values, DType::kF32), maps);

  const Image conv1 = rectify(convolve(x, layers_[0]));
  const Image before2 = convolve(conv1, layers_[1]);
  const Image pooled = pool(rectify(before2));
  const Image before4 = convolve(rectify(convolve(pooled, layers_[3])), layers_[4]);
  const Image conv4 = rectify(before4);
  const std::array expected = {&conv4, &before2, &conv1, &pooled, &before4};
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Image& image = *expected[i];
    ASSERT_EQ(found[i].shape(), Shape({image.n, image.h, image.w, image.c})) << maps[i].layer;
    EXPECT_TRUE(test::within(1e-5, found[i].shape(), bench_.values(found[i]), image.values))
        << maps[i].layer;
  }
}

TEST_F(VggFile, AMapDoesNotDependOnTheOthers) {
  test::write_keras_file(path_, layers_);
  VggFeatures vgg(VggNet::kVgg16, Maps{{"block2_pool"}}, VggInput::kCaffe);
  vgg.load(bench_.device(), bench_.queue(), io::KerasWeights(path_));
  const Tensor x = bench_.random({1, 6, 8, 3}, RngKey(2), DType::kF32);
  Context context = context_of(bench_);
  const std::vector<Tensor> alone = vgg.forward(context, x, Maps{{"block2_pool"}});
  const std::vector<Tensor> all = vgg.forward(
      context, x,
      Maps{{"block1_conv2", true}, {"block1_conv2"}, {"block2_conv2"}, {"block2_pool"}});
  EXPECT_EQ(bench_.values(alone[0]), bench_.values(all[3]));
  EXPECT_NE(bench_.values(all[0]), bench_.values(all[1]));
}

TEST_F(VggFile, LayersThatAreMissingOrDoNotFit) {
  EXPECT_THAT(loading({{"block1_conv1"}}), HasSubstr("gentrain-vgg-"));
  test::write_keras_file(path_, layers_);
  EXPECT_EQ(loading({{"block2_pool"}}), "nothing was thrown") << "more layers do not matter";
  EXPECT_EQ(loading({{"block3_conv2"}}),
            path_.string() +
                ": layer block3_conv1: there is no such layer; layers with weights: "
                "block1_conv1, block1_conv2, block2_conv1, block2_conv2");
  layers_[1].arrays[0].shape = {64, 64, 3, 3};
  test::write_keras_file(path_, layers_);
  EXPECT_EQ(loading({{"block1_conv1"}}), "nothing was thrown");
  EXPECT_EQ(loading({{"block1_conv2"}}),
            path_.string() +
                ": layer block1_conv2: array block1_conv2_W_1:0: its extents are [64, 64, 3, 3], "
                "but [3, 3, 64, 64] are needed: they are in the order [out, in, kh, kw] of "
                "channels first instead of [kh, kw, in, out]");
}

TEST_F(VggFile, AFailedLoadLeavesNoWeights) {
  layers_.resize(3);
  test::write_keras_file(path_, layers_);
  VggFeatures vgg(VggNet::kVgg19, Maps{{"block2_conv1"}});
  vgg.initialize(bench_.device(), bench_.queue(), RngKey(1));
  EXPECT_THROW(vgg.load(bench_.device(), bench_.queue(), io::KerasWeights(path_)), IoError);
  Context context = context_of(bench_);
  const Tensor x = bench_.full({1, 2, 2, 3}, 0.5, DType::kF32);
  EXPECT_EQ(message_of<Error>(
                [&] { static_cast<void>(vgg.forward(context, x, Maps{{"block1_conv1"}})); }),
            "VGG19 has no weights yet");
}

TEST(VggInputs, CaffeIsMirroredChannelsWithoutTheirMeans) {
  const test::Workbench bench(test::reference_device());
  // Weights that copy a channel each: the map before the activation is the image that VGG sees.
  const fs::path path =
      fs::temp_directory_path() / ("gentrain-vgg-copy-" + std::to_string(getpid()) + ".h5");
  test::KerasFileLayer copy{"block1_conv1",
                            {{"kernel:0", {3, 3, 3, 64}, std::vector<double>(9 * 3 * 64)},
                             {"bias:0", {64}, std::vector<double>(64)}}};
  for (std::size_t c = 0; c < 3; ++c) {
    copy.arrays[0].values[(4 * 3 + c) * 64 + c] = 1;  // the middle of the window
  }
  test::write_keras_file(path, {copy});
  const Maps maps = {{"block1_conv1", true}};
  VggFeatures vgg(VggNet::kVgg16, maps, VggInput::kCaffe);
  vgg.load(bench.device(), bench.queue(), io::KerasWeights(path));
  fs::remove(path);
  const std::vector<double> x = {-1, -1, -1, 1, 1, 1, 0, 0.5, -0.25};
  Context context = context_of(bench);
  const std::vector<double> y =
      bench.values(vgg.forward(context, bench.tensor({1, 1, 3, 3}, x, DType::kF32), maps)[0]);
  const std::array<double, 3> means = {103.939, 116.779, 123.68};
  for (std::size_t pixel = 0; pixel < 3; ++pixel) {
    for (std::size_t c = 0; c < 3; ++c) {
      EXPECT_NEAR(y[pixel * 64 + c], (x[pixel * 3 + 2 - c] + 1) * 127.5 - means[c], 2e-5);
    }
  }
}

TEST(VggGradient, IsThatOfTheMaps) {
  const test::Workbench bench(test::reference_device());
  for (const VggMap& map : {VggMap{"block1_conv2", true}, VggMap{"block2_conv1", false}}) {
    for (const VggInput input : {VggInput::kAsIs, VggInput::kCaffe}) {
      VggFeatures vgg(VggNet::kVgg19, std::array{map}, input);
      vgg.initialize(bench.device(), bench.queue(), RngKey(3), DType::kF64);
      const Tensor x = bench.random({1, 2, 3, 3}, RngKey(4), DType::kF64);
      EXPECT_TRUE(test::gradients_agree(bench, {x},
                                        [&](Context& context, std::span<const Tensor> in) {
                                          return vgg.forward(context, in[0], std::array{map})[0];
                                        }))
          << map.layer;
    }
  }
}

/// Kernels that a pass over two maps calls.
class VggCosts : public ::testing::Test {
 protected:
  VggCosts() { vgg_.initialize(device_, bench_.queue(), RngKey(1)); }
  /// Forward and back to the images, with weights that want gradients or not.
  void pass(bool train) {
    Tape tape(device_, bench_.queue());
    test::GradientStore store(bench_, vgg_.parameters());
    std::vector<ParameterGradients*> sets;
    if (train) {
      sets.push_back(&store);
    }
    tape.begin(sets);
    Tensor x = bench_.random({2, 4, 4, 3}, RngKey(7), DType::kF32);
    tape.watch(x);
    Context context = context_of(bench_, &tape);
    device_.clear();
    const Maps maps = {{"block1_conv1"}, {"block2_conv1"}};
    const std::vector<Tensor> found = vgg_.forward(context, x, maps);
    tape.backward(ops::add(context, ops::sum(context, found[0]), ops::sum(context, found[1])));
    EXPECT_EQ(tape.gradient(x).shape(), x.shape());
  }

  test::CountingDevice device_{test::cpu_device()};
  test::Workbench bench_{device_};
  VggFeatures vgg_{VggNet::kVgg19, Maps{{"block3_conv4"}}};
};

TEST_F(VggCosts, FrozenWeightsCostNoGradientAndDeeperLayersNothing) {
  pass(false);
  EXPECT_EQ(device_.calls("conv.forward"), 3);
  EXPECT_EQ(device_.calls("conv.backward_data"), 3);
  EXPECT_EQ(device_.calls("conv.backward_weights"), 0);
  pass(true);
  EXPECT_EQ(device_.calls("conv.forward"), 3);
  EXPECT_EQ(device_.calls("conv.backward_weights"), 3) << "the count can tell";
}

/// What a map of the published weights must be, on the images of deterministic_images().
struct Golden {
  const char* layer;
  bool before_activation;
  double norm;  // Euclidean
  double sum;
};

/// x[i] = ((7919 i) mod 1009) / 504 - 1 by row-major number.
std::vector<double> deterministic_images(const Shape& shape) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    values.push_back(static_cast<double>(i * 7919 % 1009) / 504 - 1);
  }
  return values;
}

/// The file's path below GENTRAIN_DATA/weights, or nothing.
fs::path real_file(const char* name) {
  const char* const root = std::getenv("GENTRAIN_DATA");
  const fs::path path = fs::path(root == nullptr ? "" : root) / "weights" / name;
  return root != nullptr && fs::exists(path) ? path : fs::path();
}

// NumPy 1.24 computed the values in f64, from the arrays that h5py 3.7 read: convolutions as nine
// products of shifted images with kernel[i, j], pools by reshape and max.
void expect_golden(VggNet net, const fs::path& file, const Shape& shape,
                   std::span<const Golden> golden) {
  Maps maps;
  for (const Golden& one : golden) {
    maps.push_back({one.layer, one.before_activation});
  }
  const test::Workbench bench(test::cpu_device());
  VggFeatures vgg(net, maps, VggInput::kCaffe);
  vgg.load(bench.device(), bench.queue(), io::KerasWeights(file));
  Context context = context_of(bench);
  const Tensor x = bench.tensor(shape, deterministic_images(shape), DType::kF32);
  const std::vector<Tensor> found = vgg.forward(context, x, maps);
  for (std::size_t i = 0; i < golden.size(); ++i) {
    const std::vector<double> y = bench.values(found[i]);
    const double norm = std::sqrt(std::inner_product(y.begin(), y.end(), y.begin(), 0.0));
    const double sum = std::accumulate(y.begin(), y.end(), 0.0);
    EXPECT_NEAR(norm, golden[i].norm, 1e-5 * golden[i].norm) << golden[i].layer;
    EXPECT_NEAR(sum, golden[i].sum, 1e-5 * std::abs(golden[i].sum)) << golden[i].layer;
  }
}

TEST(VggRealWeights, Vgg19AgreesWithNumPy) {
  const fs::path file = real_file("vgg19_imagenet_block1-3.h5");
  if (file.empty()) {
    GTEST_SKIP() << "GENTRAIN_DATA names no folder that holds weights/vgg19_imagenet_block1-3.h5";
  }
  expect_golden(VggNet::kVgg19, file, {2, 24, 20, 3},
                std::array{Golden{"block1_conv2", false, 38641.10072678999, 5880059.527030435},
                           Golden{"block1_conv2", true, 44645.80402062306, 3749062.570804942},
                           Golden{"block2_conv2", false, 67791.832963313, 4412589.125225866},
                           Golden{"block2_conv2", true, 87891.66366596549, -1595517.7256766586},
                           Golden{"block3_conv4", false, 212207.2249915151, 14926929.099385465},
                           Golden{"block3_conv4", true, 228777.58298286924, 10228682.86492164}});
  const test::Workbench bench(test::cpu_device());
  VggFeatures deeper(VggNet::kVgg19, Maps{{"block5_conv4"}});
  EXPECT_EQ(message_of<IoError>(
                [&] { deeper.load(bench.device(), bench.queue(), io::KerasWeights(file)); }),
            file.string() +
                ": layer block4_conv1: there is no such layer; layers with weights: block1_conv1, "
                "block1_conv2, block2_conv1, block2_conv2, block3_conv1, block3_conv2, "
                "block3_conv3, block3_conv4");
}

TEST(VggRealWeights, Vgg16AgreesWithNumPy) {
  const fs::path file = real_file("vgg16_imagenet_notop.h5");
  if (file.empty()) {
    GTEST_SKIP() << "GENTRAIN_DATA names no folder that holds weights/vgg16_imagenet_notop.h5";
  }
  expect_golden(VggNet::kVgg16, file, {1, 35, 32, 3},
                std::array{Golden{"block4_conv3", false, 7330.493058399817, 183504.39539082546},
                           Golden{"block5_conv3", false, 373.3593715571934, 3699.2758016100906},
                           Golden{"block5_conv3", true, 2111.890098214773, -75616.80718214813}});
}

}  // namespace
}  // namespace gentrain::trainers
