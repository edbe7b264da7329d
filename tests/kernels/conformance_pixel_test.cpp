// Pixel shuffle of the CPU backend against the reference: it moves values and must agree exactly,
// but for the one product of a leaky slope. Gaussian means agree within rounding.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/elementwise.h"
#include "kernels/pixel.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using Values = std::vector<double>;

/// The extents of the tensor with few pixels, its channels divided by r r.
struct Case {
  const char* name;
  std::int64_t n, h, w, c, r;

  [[nodiscard]] Shape narrow() const { return {n, h, w, c * r * r}; }
  [[nodiscard]] Shape wide() const { return {n, h * r, w * r, c}; }
};

Values shuffle(const Workbench& bench, DType dtype, const Case& s, double slope, const Values& x) {
  const Result y(bench, s.wide(), dtype, 1);
  bench.device().pixel().shuffle(bench.queue(), s.r, slope,
                                 bench.tensor(s.narrow(), x, dtype).cview(), y.view());
  return y.values();
}

Values shuffle_backward(const Workbench& bench, DType dtype, const Case& s, double slope,
                        const Values& y, const Values& dy) {
  const Result dx(bench, s.narrow(), dtype, 1);
  const Tensor result = bench.tensor(s.wide(), y, dtype);
  bench.device().pixel().shuffle_backward(bench.queue(), s.r, slope,
                                          slope == 1 ? ConstView{} : result.cview(),
                                          bench.tensor(s.wide(), dy, dtype).cview(), dx.view());
  return dx.values();
}

class PixelConformance : public ::testing::TestWithParam<Case> {
 protected:
  const Case s_ = GetParam();
  const std::int64_t count_ = s_.wide().elements();
  const Values x_ = random_values(count_, RngKey(1));
  const Values dy_ = random_values(count_, RngKey(2));
  Workbench cpu_{test::cpu_device()};
  Workbench reference_{test::reference_device()};
};

TEST_P(PixelConformance, Shuffle) {
  for (const double slope : {1.0, 0.0, 0.25}) {
    EXPECT_EQ(shuffle(cpu_, DType::kF32, s_, slope, x_),
              shuffle(reference_, DType::kF32, s_, slope, x_))
        << "slope " << slope;
  }
}

TEST_P(PixelConformance, ShuffleGradient) {
  for (const double slope : {1.0, 0.0, 0.25}) {
    EXPECT_EQ(shuffle_backward(cpu_, DType::kF32, s_, slope, x_, dy_),
              shuffle_backward(reference_, DType::kF32, s_, slope, x_, dy_))
        << "slope " << slope;
  }
}

TEST_P(PixelConformance, TheGradientGoesTheWayBack) {
  EXPECT_EQ(shuffle_backward(cpu_, DType::kF32, s_, 1, {x_}, shuffle(cpu_, DType::kF32, s_, 1, x_)),
            x_);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, PixelConformance,
    ::testing::Values(Case{"one_value", 1, 1, 1, 1, 1}, Case{"one_pixel", 1, 1, 1, 1, 2},
                      Case{"r1_c3", 2, 3, 2, 3, 1}, Case{"r2_c3", 2, 3, 5, 3, 2},
                      Case{"r2_c16", 1, 4, 3, 16, 2}, Case{"r2_c65", 3, 2, 3, 65, 2},
                      Case{"r3_c1", 1, 2, 2, 1, 3}, Case{"r3_c17", 2, 3, 2, 17, 3},
                      Case{"r4_c3", 1, 3, 3, 3, 4}),
    [](const auto& info) { return std::string(info.param.name); });

Values gaussian_shrink(const Workbench& bench, DType dtype, std::int64_t r, double sigma,
                       const Shape& shape, const Values& x) {
  const Shape small{shape[0], shape[1] / r, shape[2]};
  const Result y(bench, small, dtype, 1);
  bench.device().pixel().gaussian_shrink(bench.queue(), r, sigma,
                                         bench.tensor(shape, x, dtype).cview(), y.view());
  return y.values();
}

TEST(PixelConformanceOfMeans, GaussianShrink) {
  const Workbench cpu(test::cpu_device());
  const Workbench reference(test::reference_device());
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{2, 6, 5}, Shape{3, 24, 3}, Shape{1, 60, 33}}) {
    const Values x = random_values(shape.elements(), RngKey(4));
    for (const std::int64_t r : {1, 2, 3}) {
      for (const double sigma : {0.1, 1.0, 2.5, 64.0}) {
        if (shape[1] % r == 0) {
          // Up to 60 weights whose rounding adds up; the values are at most 1.
          const Values expected = gaussian_shrink(reference, DType::kF64, r, sigma, shape, x);
          EXPECT_TRUE(within(60 * 1.2e-7, {shape[0], shape[1] / r, shape[2]},
                             gaussian_shrink(cpu, DType::kF32, r, sigma, shape, x), expected,
                             Values(expected.size(), 1)))
              << shape.str() << " r " << r << " sigma " << sigma;
        }
      }
    }
  }
}

/// x into channels `first` and following of a tensor full of 5.
Values put_channels(const Workbench& bench, std::int64_t first, const Shape& few, const Shape& many,
                    const Values& x) {
  const Result y(bench, many, DType::kF32, 1);
  bench.device().elementwise().fill(bench.queue(), 5, y.view());
  bench.device().pixel().put_channels(bench.queue(), first,
                                      bench.tensor(few, x, DType::kF32).cview(), y.view());
  return y.values();
}

Values take_channels(const Workbench& bench, std::int64_t first, const Shape& few,
                     const Shape& many, const Values& x) {
  const Result y(bench, few, DType::kF32, 1);
  bench.device().pixel().take_channels(bench.queue(), first,
                                       bench.tensor(many, x, DType::kF32).cview(), y.view());
  return y.values();
}

TEST(PixelConformanceOfChannels, AreMovedAlike) {
  const Workbench cpu(test::cpu_device());
  const Workbench reference(test::reference_device());
  struct Range {
    std::int64_t first, few, many;
  };
  for (const Range& r :
       {Range{0, 1, 1}, Range{2, 1, 3}, Range{0, 3, 20}, Range{3, 17, 20}, Range{64, 33, 100}}) {
    for (const bool rows : {false, true}) {
      const Shape few = rows ? Shape{5, r.few} : Shape{2, 3, 1, r.few};
      const Shape many = rows ? Shape{5, r.many} : Shape{2, 3, 1, r.many};
      const Values x = random_values(few.elements(), RngKey(1));
      const Values put = put_channels(cpu, r.first, few, many, x);
      EXPECT_EQ(put, put_channels(reference, r.first, few, many, x)) << few.str();
      EXPECT_EQ(take_channels(cpu, r.first, few, many, put), x) << few.str();
      const Values wide = random_values(many.elements(), RngKey(2));
      EXPECT_EQ(take_channels(cpu, r.first, few, many, wide),
                take_channels(reference, r.first, few, many, wide))
          << few.str();
    }
  }
}

class PixelRules : public test::OnBothDevices {};

INSTANTIATE_TEST_SUITE_P(Devices, PixelRules,
                         ::testing::Values(&test::cpu_device, &test::reference_device),
                         test::name_of_device);

TEST_P(PixelRules, ChannelsComeBeforeRowsBeforeColumns) {
  // Channel 0 of the four pixels, then channel 1: the order of PyTorch's pixel_shuffle.
  const Case one{"", 1, 1, 1, 2, 2};
  EXPECT_EQ(shuffle(bench_, DType::kF32, one, 1, {1, 2, 3, 4, 5, 6, 7, 8}),
            (Values{1, 5, 2, 6, 3, 7, 4, 8}));
}

TEST_P(PixelRules, AWideGaussianIsTheMeanOfWhatItReaches) {
  // With sigma 64 all four weights are 1 within 0.03 %; with 0.1 only the middle counts.
  const Values wide = gaussian_shrink(bench_, DType::kF32, 4, 64, {1, 4, 1}, {1, 2, 3, 6});
  EXPECT_NEAR(wide.at(0), 3, 1e-3);
  const Values narrow = gaussian_shrink(bench_, DType::kF32, 3, 0.1, {1, 6, 1}, {9, 1, 9, 9, 2, 9});
  EXPECT_NEAR(narrow.at(0), 1, 1e-6);
  EXPECT_NEAR(narrow.at(1), 2, 1e-6);
}

TEST_P(PixelRules, GaussianMeansOfOneValueAreThatValue) {
  for (const double mean :
       gaussian_shrink(bench_, DType::kF32, 4, 1.5, {2, 96, 3}, Values(576, 0.75))) {
    EXPECT_NEAR(mean, 0.75, 1e-6);
  }
}

TEST_P(PixelRules, OtherChannelsStayAsTheyAre) {
  EXPECT_EQ(put_channels(bench_, 1, {2, 2}, {2, 4}, {1, 2, 3, 4}),
            (Values{5, 1, 2, 5, 5, 3, 4, 5}));
}

TEST_P(PixelRules, ReluKeepsNanAndDropsInfinityBelowZero) {
  const double nan = std::nan("");
  const double inf = std::numeric_limits<double>::infinity();
  const Case one{"", 1, 1, 1, 1, 2};
  const Values y = shuffle(bench_, DType::kF32, one, 0, {nan, -inf, inf, -1});
  EXPECT_TRUE(within(0, one.wide(), y, Values{nan, 0, inf, 0}));
}

}  // namespace
}  // namespace gentrain
