// PSNR and SSIM against their definitions, written out a second time, and against scikit-image.
#include "trainers/image_quality.h"

#include <cmath>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/philox.h"
#include "tests/support/compare.h"

namespace gentrain::trainers {
namespace {

using test::message_of;

image::Image noise(std::int64_t h, std::int64_t w, std::int64_t c, std::uint64_t seed, int reach) {
  image::Image image{h, w, c, {}};
  for (std::int64_t i = 0; i < h * w * c; ++i) {
    const auto word = RngKey(seed).block(static_cast<std::uint64_t>(i))[0];
    image.pixels.push_back(
        static_cast<std::uint8_t>(128 + static_cast<int>(word % 256) * reach / 256 - reach / 2));
  }
  return image;
}

TEST(Psnr, IsThatOfAConstantDifference) {
  const image::Image grey{2, 3, 1, {10, 20, 30, 40, 50, 60}};
  const image::Image lighter{2, 3, 1, {13, 23, 33, 43, 53, 63}};
  EXPECT_NEAR(psnr(grey, lighter), 20 * std::log10(255.0 / 3), 1e-12);
  EXPECT_EQ(psnr(grey, grey), 100);
}

/// One window after the other, each weight a product of two.
double plain_ssim(const image::Image& a, const image::Image& b) {
  double sum = 0;
  std::int64_t count = 0;
  for (std::int64_t c = 0; c < a.c; ++c) {
    for (std::int64_t top = 0; top + 11 <= a.h; ++top) {
      for (std::int64_t left = 0; left + 11 <= a.w; ++left) {
        double all = 0;
        double ma = 0;
        double mb = 0;
        for (const bool means : {true, false}) {
          double va = 0;
          double vb = 0;
          double cab = 0;
          for (std::int64_t y = 0; y < 11; ++y) {
            for (std::int64_t x = 0; x < 11; ++x) {
              const double squares = static_cast<double>((y - 5) * (y - 5) + (x - 5) * (x - 5));
              const double weight = std::exp(-squares / 4.5);
              const auto at = static_cast<std::size_t>(((top + y) * a.w + left + x) * a.c + c);
              if (means) {
                all += weight;
                ma += weight * a.pixels[at];
                mb += weight * b.pixels[at];
              } else {
                va += weight / all * (a.pixels[at] - ma) * (a.pixels[at] - ma);
                vb += weight / all * (b.pixels[at] - mb) * (b.pixels[at] - mb);
                cab += weight / all * (a.pixels[at] - ma) * (b.pixels[at] - mb);
              }
            }
          }
          if (means) {
            ma /= all;
            mb /= all;
          } else {
            const double c1 = 2.55 * 2.55;
            const double c2 = 7.65 * 7.65;
            sum +=
                (2 * ma * mb + c1) * (2 * cab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
            ++count;
          }
        }
      }
    }
  }
  return sum / static_cast<double>(count);
}

TEST(Ssim, IsItsDefinition) {
  const image::Image a = noise(14, 17, 3, 1, 200);
  image::Image b = a;
  const image::Image other = noise(14, 17, 3, 2, 120);
  for (std::size_t i = 0; i < b.pixels.size(); ++i) {
    b.pixels[i] = static_cast<std::uint8_t>((2 * b.pixels[i] + other.pixels[i]) / 3);
  }
  EXPECT_NEAR(ssim(a, b), plain_ssim(a, b), 1e-9);
  EXPECT_NEAR(ssim(a, other), plain_ssim(a, other), 1e-9);
  EXPECT_NEAR(ssim(a, a), 1, 1e-12);
  EXPECT_GT(ssim(a, b), ssim(a, other));
}

/// A pair of images by formulas for row y, column x and channel k, and what others make of it.
struct GoldenPair {
  const char* name;
  std::int64_t h, w, c;
  int (*a)(int y, int x, int k);
  int (*b)(int y, int x, int k);
  double psnr;
  double ssim;
};

image::Image image_by(const GoldenPair& pair, int (*pixel)(int y, int x, int k)) {
  image::Image image{pair.h, pair.w, pair.c, {}};
  for (int y = 0; y < pair.h; ++y) {
    for (int x = 0; x < pair.w; ++x) {
      for (int k = 0; k < pair.c; ++k) {
        image.pixels.push_back(static_cast<std::uint8_t>(pixel(y, x, k)));
      }
    }
  }
  return image;
}

// scikit-image 0.26.0 (NumPy 2.4.6, SciPy 1.17.1) computed the values, of arrays [h, w, c] of
// uint8:
//   skimage.metrics.peak_signal_noise_ratio(a, b, data_range=255)
//   skimage.metrics.structural_similarity(a, b, gaussian_weights=True, sigma=1.5,
//                                         use_sample_covariance=False, data_range=255,
//                                         channel_axis=2)
const GoldenPair kGolden[] = {
    {"alike", 20, 17, 3, [](int y, int x, int k) { return (11 * y + 7 * x + 50 * k) % 240; },
     [](int y, int x, int k) { return (11 * y + 7 * x + 50 * k) % 240 + x * y % 9; },
     35.72824852523396, 0.9947857619007044},
    {"shifted", 13, 31, 1, [](int y, int x, int /*k*/) { return x * y % 256; },
     [](int y, int x, int /*k*/) { return (x * y + 64) % 256; }, 9.716047553597129,
     0.5895677073314963},
    {"opposite", 32, 12, 3, [](int y, int x, int k) { return 100 + 4 * ((y + x) % 16) + 10 * k; },
     [](int y, int x, int k) { return 155 - 4 * ((y + x) % 16) - 10 * k; }, 14.605762622295234,
     -0.6334481056771433},
};

TEST(ImageQuality, IsThatOfScikitImage) {
  for (const GoldenPair& pair : kGolden) {
    const image::Image a = image_by(pair, pair.a);
    const image::Image b = image_by(pair, pair.b);
    EXPECT_NEAR(psnr(a, b), pair.psnr, 1e-6) << pair.name;
    EXPECT_NEAR(ssim(a, b), pair.ssim, 1e-6) << pair.name;
    EXPECT_NEAR(ssim(b, a), pair.ssim, 1e-6) << pair.name;
  }
}

TEST(LaplacianEnergy, IsThatOfEachChannel) {
  image::Image image{3, 4, 2, std::vector<std::uint8_t>(24, 100)};
  EXPECT_EQ(laplacian_energy(image), 0);
  image.pixels[(1 * 4 + 1) * 2] = 110;  // inside; its neighbour to the right is inside too
  EXPECT_DOUBLE_EQ(laplacian_energy(image), (40.0 * 40 + 10 * 10) / 4);
  image.pixels[0] = 255;  // a corner is nobody's neighbour
  EXPECT_DOUBLE_EQ(laplacian_energy(image), (40.0 * 40 + 10 * 10) / 4);
  image.pixels[1 * 2 + 1] = 97;  // the other channel, above a pixel inside
  EXPECT_DOUBLE_EQ(laplacian_energy(image), (40.0 * 40 + 10 * 10 + 3 * 3) / 4);
}

TEST(LaplacianEnergy, RefusesWhatHasNoInside) {
  const image::Image thin{2, 9, 1, std::vector<std::uint8_t>(18)};
  EXPECT_EQ(message_of<ShapeError>([&] { laplacian_energy(thin); }),
            "an image of 2 x 9 pixels: its Laplacian needs 3 x 3");
}

TEST(ImageQuality, RefusesWhatCannotBeCompared) {
  const image::Image small = noise(10, 12, 1, 1, 10);
  const image::Image other = noise(12, 10, 1, 1, 10);
  EXPECT_EQ(message_of<ShapeError>([&] { psnr(small, other); }),
            "images of 10 x 12 x 1 and 12 x 10 x 1 are compared");
  EXPECT_EQ(message_of<ShapeError>([&] { ssim(small, small); }),
            "images of 10 x 12 pixels: SSIM needs 11 x 11");
}

TEST(BicubicQualities, AreComputedOnceForEachPair) {
  const auto image_of = [](std::int64_t side, int step) {
    image::Image image{side, side, 3, {}};
    for (std::int64_t i = 0; i < side * side * 3; ++i) {
      image.pixels.push_back(static_cast<std::uint8_t>(i * step % 251));
    }
    return image;
  };
  const image::Image small = image_of(4, 7);
  const image::Image original = image_of(16, 3);
  BicubicQuality quality;
  const ImageQuality first = quality.of(small, original);
  const image::Image large =
      image::image_library().resize(small, 16, 16, image::Interpolation::kBicubic);
  EXPECT_EQ(first.psnr, psnr(large, original));
  EXPECT_EQ(first.ssim, ssim(large, original));
  const ImageQuality again = quality.of(small, original);
  EXPECT_EQ(again.psnr, first.psnr);
  EXPECT_EQ(again.ssim, first.ssim);
  EXPECT_EQ(quality.computed(), 1);
  EXPECT_NE(quality.of(image_of(4, 9), original).psnr, first.psnr);
  EXPECT_NE(quality.of(small, image_of(16, 5)).psnr, first.psnr);
  EXPECT_EQ(quality.computed(), 3);
  EXPECT_EQ(message_of<ShapeError>([&] { quality.of(small, image_of(8, 1)); }),
            "images of 8 x 8 pixels: SSIM needs 11 x 11");
}

}  // namespace
}  // namespace gentrain::trainers
