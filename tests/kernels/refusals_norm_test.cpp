// What every backend must refuse of batch normalisation, PReLU, shuffled and shrunk pixels, with
// the message.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/norm.h"
#include "kernels/pixel.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::message_of;
using ::testing::HasSubstr;

class ChannelRefusals : public test::OnBothDevices {
 protected:
  [[nodiscard]] Tensor f32(const Shape& shape) const { return bench_.full(shape, 0, DType::kF32); }
  [[nodiscard]] Device& device() const { return bench_.device(); }
  [[nodiscard]] Queue& queue() const { return bench_.queue(); }
};

INSTANTIATE_TEST_SUITE_P(Devices, ChannelRefusals,
                         ::testing::Values(&test::cpu_device, &test::reference_device),
                         test::name_of_device);

TEST_P(ChannelRefusals, Statistics) {
  NormKernels& norm = device().norm();
  const auto refusal = [&](const Tensor& x, const Tensor& mean, const Tensor& variance) {
    return message_of<ShapeError>(
        [&] { norm.statistics(queue(), x.cview(), mean.view(), variance.view()); });
  };
  const Tensor c = f32({3});
  EXPECT_EQ(refusal(f32({0, 3}), c, c),
            "batch statistics: x has shape [0, 3]: rows of channels that are not empty needed");
  EXPECT_THAT(refusal(f32({}), c, c), HasSubstr("x has shape []: rows of channels"));
  EXPECT_THAT(refusal(f32({2, 3}), f32({2}), c), HasSubstr("mean has shape [2]: [3] needed"));
  EXPECT_THAT(refusal(f32({2, 3}), c, f32({1, 3})),
              HasSubstr("variance has shape [1, 3]: [3] needed"));
}

TEST_P(ChannelRefusals, Normalization) {
  NormKernels& norm = device().norm();
  const Tensor x = f32({2, 3});
  const Tensor c = f32({3});
  const auto forward = [&](const NormRule& rule, const Tensor& gamma, const Tensor& residual) {
    return message_of<ShapeError>([&] {
      norm.normalize(queue(), rule,
                     {x.cview(), c.cview(), c.cview(), gamma.cview(), c.cview(), residual.cview()},
                     x.view());
    });
  };
  EXPECT_EQ(forward({.epsilon = 0}, c, x), "normalize: epsilon is 0: above 0 needed");
  EXPECT_EQ(forward({.slope = -1}, c, x), "normalize: slope is -1: from 0 to 1 needed");
  EXPECT_EQ(forward({.slope = 1.5}, c, x), "normalize: slope is 1.5: from 0 to 1 needed");
  EXPECT_THAT(forward({}, f32({2}), x), HasSubstr("gamma has shape [2]: [3] needed"));
  EXPECT_THAT(forward({}, c, c), HasSubstr("residual has shape [3]: [2, 3] needed"));
  const auto backward = [&](const NormRule& rule, ConstView y, const NormGradients& results) {
    return message_of<ShapeError>([&] {
      norm.normalize_backward(queue(), rule, {x.cview(), y, x.cview(), c.cview(), c.cview(), {}},
                              results);
    });
  };
  EXPECT_EQ(backward({.slope = 2}, {}, {}), "normalize backward: slope is 2: from 0 to 1 needed");
  EXPECT_EQ(backward({.slope = 0}, {}, {}), "normalize backward: y is missing");
  EXPECT_THAT(backward({}, {}, {.dx = c.view(), .dgamma = {}, .dbeta = {}, .dresidual = {}}),
              HasSubstr("dx has shape [3]: [2, 3] needed"));
  EXPECT_THAT(backward({}, {}, {.dx = {}, .dgamma = x.view(), .dbeta = {}, .dresidual = {}}),
              HasSubstr("dgamma has shape [2, 3]: [3] needed"));
}

TEST_P(ChannelRefusals, Prelu) {
  NormKernels& norm = device().norm();
  const Tensor x = f32({2, 3});
  EXPECT_THAT(
      message_of<ShapeError>([&] { norm.prelu(queue(), x.cview(), f32({2}).cview(), x.view()); }),
      HasSubstr("alpha has shape [2]: [3] needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                norm.prelu_backward(queue(), x.cview(), f32({3}).cview(), x.cview(), {}, x.view());
              }),
              HasSubstr("dalpha has shape [2, 3]: [3] needed"));
}

TEST_P(ChannelRefusals, PixelShuffle) {
  PixelKernels& pixel = device().pixel();
  const Tensor narrow = f32({1, 2, 3, 8});
  const Tensor wide = f32({1, 4, 6, 2});
  const auto forward = [&](std::int64_t r, double slope, const Tensor& x, const Tensor& y) {
    return message_of<ShapeError>([&] { pixel.shuffle(queue(), r, slope, x.cview(), y.view()); });
  };
  EXPECT_EQ(forward(2, -0.5, narrow, wide), "pixel shuffle: slope is -0.5: from 0 to 1 needed");
  EXPECT_EQ(forward(0, 1, narrow, wide),
            "pixel shuffle: y has shape [1, 4, 6, 2]: [n, h r, w r, c] that is not empty needed, "
            "r = 0 at least 1");
  EXPECT_THAT(forward(4, 1, narrow, wide), HasSubstr("r = 4"));
  EXPECT_THAT(forward(2, 1, f32({1, 2, 3, 4}), wide),
              HasSubstr("x has shape [1, 2, 3, 4]: [1, 2, 3, 8] needed"));
  EXPECT_EQ(message_of<ShapeError>(
                [&] { pixel.shuffle_backward(queue(), 2, 0, {}, wide.cview(), narrow.view()); }),
            "pixel shuffle backward: y is missing");
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { pixel.shuffle_backward(queue(), 2, 1, {}, wide.cview(), wide.view()); }),
              HasSubstr("dx has shape [1, 4, 6, 2]: [1, 2, 3, 8] needed"));
}

TEST_P(ChannelRefusals, GaussianShrink) {
  const auto error = [&](const Shape& x, const Shape& y, std::int64_t r, double sigma) {
    return message_of<ShapeError>([&] {
      device().pixel().gaussian_shrink(queue(), r, sigma, f32(x).cview(), f32(y).view());
    });
  };
  const std::string needed =
      ": [a, l / r, b] that is not empty, r from 1 to 64 and sigma from 0.1 to 64 needed";
  EXPECT_EQ(error({2, 8, 3}, {2, 2}, 4, 1),
            "gaussian shrink: y has shape [2, 2], r = 4, sigma = 1" + needed);
  EXPECT_EQ(error({2, 8, 3}, {2, 2, 3}, 0, 1),
            "gaussian shrink: y has shape [2, 2, 3], r = 0, sigma = 1" + needed);
  EXPECT_THAT(error({1, 65, 1}, {1, 1, 1}, 65, 1), HasSubstr("r = 65"));
  EXPECT_THAT(error({2, 8, 3}, {2, 2, 3}, 4, 0.09), HasSubstr("sigma = 0.09:"));
  EXPECT_THAT(error({2, 8, 3}, {2, 2, 3}, 4, 65), HasSubstr("sigma = 65:"));
  EXPECT_THAT(error({2, 8, 3}, {2, 2, 3}, 4, std::nan("")), HasSubstr("sigma = nan:"));
  EXPECT_THAT(error({2, 7, 3}, {2, 2, 3}, 4, 1),
              HasSubstr("x has shape [2, 7, 3]: [2, 8, 3] needed"));
}

TEST_P(ChannelRefusals, RangesOfChannels) {
  const auto put = [&](std::int64_t first, const Shape& few, const Shape& many) {
    return message_of<ShapeError>(
        [&] { device().pixel().put_channels(queue(), first, f32(few).cview(), f32(many).view()); });
  };
  const auto take = [&](std::int64_t first, const Shape& few, const Shape& many) {
    return message_of<ShapeError>([&] {
      device().pixel().take_channels(queue(), first, f32(many).cview(), f32(few).view());
    });
  };
  EXPECT_EQ(put(3, {2, 2}, {2, 4}),
            "put channels: [2, 2] is no range of [2, 4]'s channels from 3 on, or it is empty");
  EXPECT_EQ(take(-1, {2, 2}, {2, 4}),
            "take channels: [2, 2] is no range of [2, 4]'s channels from -1 on, or it is empty");
  EXPECT_THAT(put(0, {2, 5}, {2, 4}), HasSubstr("[2, 5] is no range"));
  EXPECT_THAT(put(0, {3, 2}, {2, 4}), HasSubstr("[3, 2] is no range"));
  EXPECT_THAT(take(0, {2, 1, 2}, {2, 4}), HasSubstr("[2, 1, 2] is no range"));
  EXPECT_THAT(take(0, {2, 0}, {2, 4}), HasSubstr("[2, 0] is no range"));
  EXPECT_EQ(message_of<ShapeError>([&] {
              device().pixel().put_channels(queue(), 0, {}, f32({2, 4}).view());
            }),
            "put channels: x is missing");
  EXPECT_EQ(message_of<ShapeError>([&] {
              device().pixel().take_channels(queue(), 0, f32({2, 4}).cview(), {});
            }),
            "take channels: y is missing");
}

}  // namespace
}  // namespace gentrain
