// Images of dreams: in and out of a network's space, other sizes, noise, the terms of the image.
#include "trainers/dream_image.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain::trainers {
namespace {

using test::message_of;

image::Image gradual(std::int64_t h, std::int64_t w) {
  image::Image image{h, w, 3, {}};
  for (std::int64_t i = 0; i < h * w * 3; ++i) {
    image.pixels.push_back(static_cast<std::uint8_t>(7 * i % 256));
  }
  return image;
}

TEST(InputSpaces, AreWhatNetworksWereTrainedOn) {
  const image::Image pixel{1, 1, 3, {10, 20, 255}};
  const auto values = [&](DreamPreprocess rule) {
    return into_space(pixel, input_space(rule)).values;
  };
  const auto caffe = values(DreamPreprocess::kCaffe);
  EXPECT_DOUBLE_EQ(caffe[0], 255 - 103.939);
  EXPECT_DOUBLE_EQ(caffe[1], 20 - 116.779);
  EXPECT_DOUBLE_EQ(caffe[2], 10 - 123.68);
  const auto inception = values(DreamPreprocess::kInception);
  EXPECT_DOUBLE_EQ(inception[0], 10 / 127.5 - 1);
  EXPECT_DOUBLE_EQ(inception[2], 1);
  EXPECT_NEAR(values(DreamPreprocess::kTorch)[1], (20 / 255.0 - 0.456) / 0.224, 1e-12);
  EXPECT_EQ(values(DreamPreprocess::kNone), (std::vector<double>{10, 20, 255}));
  EXPECT_EQ(preprocess_of("vgg16"), DreamPreprocess::kCaffe);
  EXPECT_EQ(preprocess_of("squeezenet"), DreamPreprocess::kCaffe);
  EXPECT_EQ(preprocess_of("inception_v3"), DreamPreprocess::kInception);
}

TEST(InputSpaces, LeadBackToTheSamePixels) {
  const image::Image image = gradual(5, 4);
  for (const auto rule : {DreamPreprocess::kCaffe, DreamPreprocess::kInception,
                          DreamPreprocess::kTorch, DreamPreprocess::kNone}) {
    const InputSpace space = input_space(rule);
    EXPECT_EQ(out_of_space(into_space(image, space), space).pixels, image.pixels);
  }
  const InputSpace none = input_space(DreamPreprocess::kNone);
  EXPECT_EQ(out_of_space({1, 1, {-3, 254.6, 300}}, none).pixels,
            (std::vector<std::uint8_t>{0, 255, 255}));
}

TEST(InputSpaces, AreOfColours) {
  EXPECT_EQ(message_of<ShapeError>([] {
              into_space({1, 1, 1, {5}}, input_space(DreamPreprocess::kNone));
            }),
            "dreams begin with RGB images, got 1 channel(s)");
}

TEST(DreamImages, KeepALineUnderAnotherSize) {
  DreamImage line{1, 4, {}};
  for (const double x : {0.0, 1.0, 2.0, 3.0}) {
    line.values.insert(line.values.end(), {x, 10 * x, -x});
  }
  const DreamImage larger = resized(line, 2, 8);
  ASSERT_EQ(larger.values.size(), 2U * 8 * 3);
  EXPECT_DOUBLE_EQ(larger.values[0], 0);  // before the first middle
  EXPECT_DOUBLE_EQ(larger.values[3], 0.25);
  EXPECT_DOUBLE_EQ(larger.values[3 * 3 + 1], 12.5);
  EXPECT_DOUBLE_EQ(larger.values[8 * 3 + 3 * 3 + 2], -1.25);
  EXPECT_EQ(resized(line, 1, 4).values, line.values);
  EXPECT_EQ(message_of<ShapeError>([&] { resized(line, 0, 4); }),
            "a dream of 0 x 4 pixels was wanted: at least 1 x 1");
}

TEST(DreamImages, AreEnlargedAboutTheirMiddle) {
  DreamImage image{3, 3, std::vector<double>(27, 0.0)};
  image.values[13] = 8;  // the middle pixel's second channel
  const DreamImage twice = zoomed(image, 2);
  EXPECT_DOUBLE_EQ(twice.values[13], 8);
  EXPECT_DOUBLE_EQ(twice.values[10], 4);  // half a pixel to the left
  EXPECT_DOUBLE_EQ(twice.values[1], 2);
  EXPECT_EQ(zoomed(image, 1).values, image.values);
}

TEST(Jitter, IsAFunctionOfItsKeyWithinItsBounds) {
  const auto noise = jitter(RngKey(3), 5, 10001);
  EXPECT_EQ(noise, jitter(RngKey(3), 5, 10001));
  EXPECT_NE(noise, jitter(RngKey(4), 5, 10001));
  EXPECT_GE(*std::ranges::min_element(noise), -5);
  EXPECT_LT(*std::ranges::max_element(noise), 5);
  double sum = 0;
  for (const double one : noise) {
    sum += one;
  }
  EXPECT_NEAR(sum / 10001, 0, 0.15);
  EXPECT_EQ(jitter(RngKey(3), 0, 2), (std::vector<double>{0, 0}));
}

TEST(ImageTerms, AreTheirFormulas) {
  // One channel has steps: 3 to the right and 4 below the first pixel.
  std::vector<double> x(12, 0.0);
  x[0] = 5;
  x[3] = 2;
  x[6] = 1;
  std::vector<double> gradient(12, 0.0);
  EXPECT_DOUBLE_EQ(add_continuity(x, 2, 2, 0.6, gradient), 0.6 * std::pow(25, 1.25) / 12);
  EXPECT_DOUBLE_EQ(add_l2(x, 0.6, gradient), 0.6 * 30 / 12);
}

TEST(ImageTerms, HaveTheirGradients) {
  const std::int64_t h = 4;
  const std::int64_t w = 5;
  std::vector<double> x = test::random_values(h * w * 3, RngKey(1));
  std::vector<double> gradient(x.size(), 0.0);
  std::vector<double> unused(x.size());
  add_continuity(x, h, w, 0.3, gradient);
  add_l2(x, 0.2, gradient);
  const auto value = [&] { return add_continuity(x, h, w, 0.3, unused) + add_l2(x, 0.2, unused); };
  constexpr double kStep = 1e-5;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double before = x[i];
    x[i] = before + kStep;
    const double above = value();
    x[i] = before - kStep;
    const double below = value();
    x[i] = before;
    ASSERT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-9) << i;
  }
}

}  // namespace
}  // namespace gentrain::trainers
