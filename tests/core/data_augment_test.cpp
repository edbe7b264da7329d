// Augmentation: Keras's matrices, images resampled along them, and random numbers that depend on
// seed, epoch and sample alone.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "core/data/augment.h"
#include "core/data/loader.h"
#include "core/data/memory_dataset.h"
#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::data {
namespace {

using test::message_of;

// What keras_preprocessing's formulas say, by plain products of 3 x 3 matrices.
using Matrix = std::array<std::array<double, 3>, 3>;

Matrix dot(const Matrix& a, const Matrix& b) {
  Matrix result{};
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      for (std::size_t k = 0; k < 3; ++k) {
        result[i][j] += a[i][k] * b[k][j];
      }
    }
  }
  return result;
}

Matrix keras_matrix(const AffineParameters& p) {
  const double theta = p.rotation * M_PI / 180;
  const double shear = p.shear * M_PI / 180;
  const Matrix rotation = {
      {{std::cos(theta), -std::sin(theta), 0}, {std::sin(theta), std::cos(theta), 0}, {0, 0, 1}}};
  const Matrix shift = {{{1, 0, p.shift_y}, {0, 1, p.shift_x}, {0, 0, 1}}};
  const Matrix sheared = {{{1, -std::sin(shear), 0}, {0, std::cos(shear), 0}, {0, 0, 1}}};
  const Matrix zoom = {{{p.zoom_y, 0, 0}, {0, p.zoom_x, 0}, {0, 0, 1}}};
  return dot(dot(dot(rotation, shift), sheared), zoom);
}

Matrix offset_center(const Matrix& matrix, double row, double column) {
  const Matrix offset = {{{1, 0, row}, {0, 1, column}, {0, 0, 1}}};
  const Matrix reset = {{{1, 0, -row}, {0, 1, -column}, {0, 0, 1}}};
  return dot(dot(offset, matrix), reset);
}

void expect_matrix(const Affine& actual, const Matrix& expected) {
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(actual[i], expected[i / 3][i % 3], 1e-12) << "number " << i;
  }
}

// Numbers of apply_affine_transform(theta=30, tx=12, ty=-20, shear=15, zx=0.8, zy=1.25) on an image
// of 100 x 200 pixels, worked out from the published formulas with ten digits.
constexpr AffineParameters kAll = {
    .rotation = 30, .shift_y = 12, .shift_x = -20, .shear = 15, .zoom_y = 0.8, .zoom_x = 1.25};

TEST(Affine, IsKerassMatrix) {
  const Affine matrix = affine_about_origin(kAll);
  // cos 30 = 0.8660254038, sin 15 = 0.2588190451, cos 15 = 0.9659258263
  const double expected[6] = {0.6928203230, -0.8838834765, 20.3923048454,
                              0.4,          0.8838834765,  -11.3205080757};
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(matrix[i], expected[i], 1e-9) << "number " << i;
  }
  expect_matrix(matrix, keras_matrix(kAll));
}

TEST(Affine, TurnsAboutTheMiddleOrWhereKerasOnceDid) {
  expect_matrix(affine_about_middle(kAll, 100, 200), offset_center(keras_matrix(kAll), 49.5, 99.5));
  expect_matrix(affine_about(affine_about_origin(kAll), 50.5, 100.5),
                offset_center(keras_matrix(kAll), 50.5, 100.5));
  const Affine middle = affine_about_middle(kAll, 100, 200);
  EXPECT_NEAR(middle[2], 49.5 - 0.6928203230 * 49.5 + 0.8838834765 * 99.5 + 20.3923048454, 1e-7);
  EXPECT_NEAR(middle[5], 99.5 - 0.4 * 49.5 - 0.8838834765 * 99.5 - 11.3205080757, 1e-7);
}

TEST(Affine, EveryPartAlone) {
  for (const AffineParameters& one :
       {AffineParameters{.rotation = -17}, AffineParameters{.shift_y = 3.5},
        AffineParameters{.shift_x = -4}, AffineParameters{.shear = 40},
        AffineParameters{.zoom_y = 0.5}, AffineParameters{.zoom_x = 2}, AffineParameters{}}) {
    expect_matrix(affine_about_middle(one, 9, 14), offset_center(keras_matrix(one), 4, 6.5));
  }
}

TEST(Affine, FlipsTheResultAsKerasDoes) {
  AffineParameters flipped = kAll;
  flipped.flip_horizontal = true;
  const Affine plain = affine_about_middle(kAll, 100, 200);
  const Affine matrix = affine_about_middle(flipped, 100, 200);
  for (const double row : {0.0, 40.0}) {
    for (const double column : {0.0, 33.0}) {  // what was in column 199 - c is in column c
      EXPECT_NEAR(matrix[0] * row + matrix[1] * column + matrix[2],
                  plain[0] * row + plain[1] * (199 - column) + plain[2], 1e-9);
      EXPECT_NEAR(matrix[3] * row + matrix[4] * column + matrix[5],
                  plain[3] * row + plain[4] * (199 - column) + plain[5], 1e-9);
    }
  }
}

using Bytes = std::vector<std::uint8_t>;

Bytes warped(const Bytes& source, const PixelExtents& extents, const Affine& matrix,
             const WarpOptions& options = {}) {
  Bytes result(source.size(), 77);
  warp(extents, source, matrix, options, result);
  return result;
}

Bytes counted(std::int64_t count) {
  Bytes bytes(static_cast<std::size_t>(count));
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{1});
  return bytes;
}

TEST(Warp, NothingMovesNothing) {
  for (const std::int64_t channels : {1, 2, 3, 5}) {
    const PixelExtents extents{4, 5, channels};
    const Bytes source = counted(20 * channels);
    for (const Resampling resampling : {Resampling::kBilinear, Resampling::kNearest}) {
      EXPECT_EQ(warped(source, extents, affine_about_middle({}, 4, 5), {.resampling = resampling}),
                source);
    }
  }
}

TEST(Warp, FlipsAreExact) {
  const Bytes source = {1, 2, 3, 4, 5, 6};
  EXPECT_EQ(warped(source, {2, 3, 1}, affine_about_middle({.flip_horizontal = true}, 2, 3)),
            (Bytes{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(warped(source, {2, 3, 1}, affine_about_middle({.flip_vertical = true}, 2, 3)),
            (Bytes{4, 5, 6, 1, 2, 3}));
  EXPECT_EQ(warped(source, {1, 2, 3}, affine_about_middle({.flip_horizontal = true}, 1, 2)),
            (Bytes{4, 5, 6, 1, 2, 3}));
}

TEST(Warp, FillModes) {
  const Bytes source = {10, 20, 30, 40};
  const Affine left = {1, 0, 0, 0, 1, -6};  // pixel x shows what is at x - 6
  const Affine right = {1, 0, 0, 0, 1, 3};
  const auto filled = [&](FillMode fill, const Affine& matrix) {
    const Bytes bilinear = warped(source, {1, 4, 1}, matrix, {fill, 9, Resampling::kBilinear});
    EXPECT_EQ(warped(source, {1, 4, 1}, matrix, {fill, 9, Resampling::kNearest}), bilinear);
    return bilinear;
  };
  EXPECT_EQ(filled(FillMode::kNearest, left), (Bytes{10, 10, 10, 10}));
  EXPECT_EQ(filled(FillMode::kNearest, right), (Bytes{40, 40, 40, 40}));
  EXPECT_EQ(filled(FillMode::kConstant, left), (Bytes{9, 9, 9, 9}));
  EXPECT_EQ(filled(FillMode::kConstant, right), (Bytes{40, 9, 9, 9}));
  EXPECT_EQ(filled(FillMode::kReflect, left), (Bytes{30, 40, 40, 30}));  // ...2 3 3 2 1 0 | 0 1 2 3
  EXPECT_EQ(filled(FillMode::kReflect, right), (Bytes{40, 40, 30, 20}));
  EXPECT_EQ(filled(FillMode::kWrap, left), (Bytes{30, 40, 10, 20}));
  EXPECT_EQ(filled(FillMode::kWrap, right), (Bytes{40, 10, 20, 30}));
  const Affine far = {1, 0, 0, 0, 1, -8e6};  // a whole number of images
  EXPECT_EQ(filled(FillMode::kWrap, far), source);
  EXPECT_EQ(filled(FillMode::kReflect, far), source);
}

TEST(Warp, RoundsBetweenPixels) {
  const Bytes source = {0, 100, 200, 255};
  EXPECT_EQ(warped(source, {2, 2, 1}, {1, 0, 0.5, 0, 1, 0.5}),
            (Bytes{139, 178, 228, 255}));  // 138.75; 177.5; 227.5; the corner
  EXPECT_EQ(warped(source, {2, 2, 1}, {1, 0, 0.5, 0, 1, 0.5}, {.resampling = Resampling::kNearest}),
            (Bytes{255, 255, 255, 255}));
  // Half of a pixel lies outside, where 40 stands.
  EXPECT_EQ(warped({100, 200}, {1, 2, 1}, {1, 0, 0, 0, 1, 0.5}, {FillMode::kConstant, 40}),
            (Bytes{150, 120}));
}

TEST(Warp, AgreesWithADirectSumInDoublePrecision) {
  const PixelExtents extents{23, 31, 3};
  Bytes source(static_cast<std::size_t>(extents.h * extents.w * extents.c));
  for (std::size_t i = 0; i < source.size(); ++i) {
    source[i] = static_cast<std::uint8_t>(i * i % 251);
  }
  const Affine m = affine_about_middle({.rotation = 20, .shear = 10, .zoom_y = 0.7}, 23, 31);
  const Bytes result = warped(source, extents, m);
  const auto pixel = [&](double row, double column, std::int64_t c) {
    const auto y = static_cast<std::int64_t>(std::clamp(row, 0.0, 22.0));
    const auto x = static_cast<std::int64_t>(std::clamp(column, 0.0, 30.0));
    return static_cast<double>(source[static_cast<std::size_t>((y * 31 + x) * 3 + c)]);
  };
  for (std::int64_t y = 0; y < 23; ++y) {
    for (std::int64_t x = 0; x < 31; ++x) {
      const auto at_y = static_cast<double>(y);
      const auto at_x = static_cast<double>(x);
      const double row = m[0] * at_y + m[1] * at_x + m[2];
      const double column = m[3] * at_y + m[4] * at_x + m[5];
      const double top = std::floor(row);
      const double left = std::floor(column);
      for (std::int64_t c = 0; c < 3; ++c) {
        const double upper = std::lerp(pixel(top, left, c), pixel(top, left + 1, c), column - left);
        const double lower =
            std::lerp(pixel(top + 1, left, c), pixel(top + 1, left + 1, c), column - left);
        EXPECT_NEAR(result[static_cast<std::size_t>((y * 31 + x) * 3 + c)],
                    std::lerp(upper, lower, row - top), 0.5001);
      }
    }
  }
}

TEST(Warp, RefusesWhatDoesNotFit) {
  Bytes six(6);
  Bytes five(5);
  EXPECT_EQ(message_of<ShapeError>([&] {
              warp({2, 3, 1}, five, {1, 0, 0, 0, 1, 0}, {}, six);
            }),
            "warp: an image of 2 x 3 x 1 from 5 bytes into 6");
  EXPECT_EQ(message_of<ShapeError>([&] {
              warp({0, 3, 1}, {}, {1, 0, 0, 0, 1, 0}, {}, {});
            }),
            "warp: an image of 0 x 3 x 1 from 0 bytes into 0");
  EXPECT_EQ(message_of<ShapeError>([&] {
              warped(six, {2, 3, 1}, {1, 0, 0, 0, 1, NAN});
            }),
            "warp: the matrix (1 0 0; 0 1 nan) leads out of all bounds");
  EXPECT_EQ(message_of<ShapeError>([&] {
              warped(six, {2, 3, 1}, {1, 0, 1e13, 0, 1, 0});
            }),
            "warp: the matrix (1 0 10000000000000; 0 1 0) leads out of all bounds");
}

constexpr AugmentOptions kEverything = {.rotation = 30,
                                        .width_shift = 0.2,
                                        .height_shift = 0.1,
                                        .shear = 5,
                                        .zoom_low = 0.8,
                                        .zoom_high = 1.5,
                                        .horizontal_flip = true,
                                        .vertical_flip = true};

TEST(Augment, DrawsAreAFunctionOfSeedEpochAndSample) {
  const AffineParameters drawn = draw_parameters(kEverything, {3, 4, 5}, 10, 20);
  EXPECT_EQ(drawn, draw_parameters(kEverything, {3, 4, 5}, 10, 20));
  for (const SampleKey& other : {SampleKey{4, 4, 5}, SampleKey{3, 5, 5}, SampleKey{3, 4, 6}}) {
    EXPECT_NE(drawn.rotation, draw_parameters(kEverything, other, 10, 20).rotation);
  }
}

TEST(Augment, EachValueHasARandomNumberOfItsOwn) {
  const AffineParameters all = draw_parameters(kEverything, {3, 4, 5}, 10, 20);
  const AffineParameters sheared = draw_parameters({.shear = 5}, {3, 4, 5}, 10, 20);
  EXPECT_EQ(sheared, AffineParameters{.shear = all.shear});
  EXPECT_EQ(draw_parameters({}, {3, 4, 5}, 10, 20), AffineParameters{});
}

TEST(Augment, DrawsFillTheirRanges) {
  double sum[6] = {};
  double largest[6] = {};
  int flips[2] = {};
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const AffineParameters p = draw_parameters(kEverything, {1, i % 7, i}, 10, 20);
    const double values[6] = {p.rotation / 30, p.shift_y,       p.shift_x / 4,
                              p.shear / 5,     p.zoom_y - 1.15, p.zoom_x - 1.15};
    for (std::size_t k = 0; k < 6; ++k) {
      sum[k] += values[k];
      largest[k] = std::max(largest[k], std::abs(values[k]));
    }
    flips[0] += p.flip_horizontal ? 1 : 0;
    flips[1] += p.flip_vertical ? 1 : 0;
  }
  for (std::size_t k = 0; k < 6; ++k) {
    const double half = k < 4 ? 1 : 0.35;
    EXPECT_NEAR(sum[k] / kDraws, 0, 0.05) << k;
    EXPECT_LE(largest[k], half + 1e-12) << k;
    EXPECT_GT(largest[k], 0.99 * half) << k;
  }
  EXPECT_NEAR(flips[0], kDraws / 2, 150);
  EXPECT_NEAR(flips[1], kDraws / 2, 150);
}

TEST(Augment, MakesTheImageOfItsParameters) {
  const Bytes source = counted(5 * 6 * 3);
  Bytes result(source.size());
  const AugmentOptions options = {.rotation = 90,
                                  .fill_mode = FillMode::kConstant,
                                  .fill_value = 7,
                                  .interpolation = Resampling::kNearest};
  augment(options, {1, 2, 4}, {5, 6, 3}, source, result);
  const AffineParameters drawn = draw_parameters(options, {1, 2, 4}, 5, 6);
  EXPECT_EQ(result, warped(source, {5, 6, 3}, affine_about_middle(drawn, 5, 6),
                           {FillMode::kConstant, 7, Resampling::kNearest}));
  EXPECT_NE(result, source);
  EXPECT_EQ(message_of<ShapeError>([&] { augment(options, {}, {90}, source, result); }),
            "augment: images [h, w, c] needed, not [90]");
}

TEST(Augment, ValuesOutOfRangeAreNamed) {
  EXPECT_FALSE(augments({}));
  EXPECT_TRUE(augments({.zoom_high = 1.1}));
  EXPECT_TRUE(augments({.vertical_flip = true}));
  EXPECT_NO_THROW(check_augmentation(kEverything));
  const auto said = [](const AugmentOptions& options) {
    return message_of<JobError>([&] { check_augmentation(options); });
  };
  EXPECT_EQ(said({.rotation = 181}), "data.augment.rotation is 181: 0 to 180 needed");
  EXPECT_EQ(said({.width_shift = 1}), "data.augment.width_shift is 1: 0 to below 1 needed");
  EXPECT_EQ(said({.height_shift = -0.1}), "data.augment.height_shift is -0.1: 0 to below 1 needed");
  EXPECT_EQ(said({.shear = NAN}), "data.augment.shear is nan: 0 to below 90 needed");
  EXPECT_EQ(said({.fill_value = 256}), "data.augment.fill_value is 256: 0 to 255 needed");
  EXPECT_EQ(said({.zoom_low = 1.2, .zoom_high = 1.1}),
            "data.augment.zoom is from 1.2 to 1.1: above 0, at most 100, and the lower first "
            "needed");
  EXPECT_EQ(said({.zoom_low = 0}),
            "data.augment.zoom is from 0 to 1: above 0, at most 100, and the lower first needed");
}

// What a loader gives in an epoch: three batches of eight of 24 digits.
std::vector<ShardBatch> loaded(Loader& loader, std::int64_t epoch, bool announced) {
  std::vector<BatchRequest> requests;
  for (std::int64_t first = 0; first < 24; first += 8) {
    requests.push_back({epoch, first, first + 8});
  }
  if (announced) {
    loader.announce(requests);
  }
  std::vector<ShardBatch> batches;
  for (const BatchRequest& request : requests) {
    loader.load(request, batches.emplace_back());
  }
  return batches;
}

TEST(AugmentingLoader, GivesEachEpochItsImagesForAnyThreads) {
  const auto digits = make_digits(1, 24, 1).train;
  ASSERT_TRUE(digits->in_memory());
  for (const int threads : {1, 3}) {
    const auto loader = make_loader(digits, 5, true, threads, kEverything);
    for (const std::int64_t epoch : {0, 1}) {
      const std::vector<std::int64_t> order = sample_order(5, epoch, 24);
      for (const bool announced : {true, false}) {
        const std::vector<ShardBatch> batches = loaded(*loader, epoch, announced);
        for (std::size_t i = 0; i < 24; ++i) {
          Bytes source(784);
          Bytes expected(784);
          digits->read(order[i], source.data());
          augment(kEverything, {5, epoch, order[i]}, {28, 28, 1}, source, expected);
          const ShardBatch& batch = batches[i / 8];
          const auto* at = batch.pixels.data() + i % 8 * 784;
          EXPECT_TRUE(std::equal(expected.begin(), expected.end(), at)) << i << " of " << epoch;
          EXPECT_EQ(batch.labels[i % 8], digits->label(order[i]));
        }
      }
    }
  }
}

TEST(AugmentingLoader, EpochsDifferInStoredOrderToo) {
  const auto digits = make_digits(1, 24, 1).train;
  const auto loader = make_loader(digits, 5, false, 1, kEverything);
  EXPECT_NE(loaded(*loader, 0, true)[0].pixels, loaded(*loader, 1, true)[0].pixels);
  const auto plain = make_loader(digits, 5, false);
  EXPECT_EQ(loaded(*plain, 0, true)[0].pixels, loaded(*plain, 1, true)[0].pixels);
}

TEST(AugmentingLoader, RefusesWhatCannotBeAugmented) {
  const auto digits = make_digits(1, 2, 1).train;
  EXPECT_EQ(message_of<JobError>([&] { make_loader(digits, 1, true, 1, {.rotation = 200}); }),
            "data.augment.rotation is 200: 0 to 180 needed");
  const auto rows =
      std::make_shared<MemoryDataset>(io::Bytes{std::make_unique<std::uint8_t[]>(4), 4}, Shape{4},
                                      std::vector<std::int32_t>{0}, 1, "a row");
  EXPECT_EQ(message_of<ShapeError>([&] { make_loader(rows, 1, true, 1, {.rotation = 20}); }),
            "augmentation: a row has samples [4], images [h, w, c] needed");
}

}  // namespace
}  // namespace gentrain::data
