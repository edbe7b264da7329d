// Winograd's convolution along lines of every vector table against plain loops in double: rows and
// columns, 3, 5 and 7 weights, 5x5; odd extents, paddings, channels around the vectors; its bits;
// values that are not finite.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "kernels/conv.h"
#include "kernels/cpu/winograd_line.h"
#include "tests/kernels/cpu_tables.h"
#include "tests/support/compare.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

using cpu::WinogradLine;
using test::floats;
using Values = std::vector<float>;
using Doubles = std::vector<double>;

/// Of a whole result, in Euclidean norms: |actual - expected| / |expected|. With 7 weights the
/// largest seen over these shapes is 4e-6; one rounding is 6e-8.
constexpr double kNormBound = 6e-6;
/// Of any element, relative to the largest one.
constexpr double kLargestBound = 1.2e-5;

constexpr int kNone = static_cast<int>(Activation::kNone);

std::size_t at(std::int64_t index) {
  return static_cast<std::size_t>(index);
}

struct Kernel {
  std::int64_t h, w;
};
constexpr Kernel kKernels[] = {{1, 3}, {3, 1}, {1, 5}, {5, 1}, {1, 7}, {7, 1}, {5, 5}};

/// Padding as far as the kernel reaches to one side of its middle.
ConvGeometry geometry(Kernel kernel, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c,
                      std::int64_t oc) {
  return {.n = n,
          .h = h,
          .w = w,
          .c = c,
          .oc = oc,
          .kh = kernel.h,
          .kw = kernel.w,
          .top = kernel.h / 2,
          .bottom = kernel.h / 2,
          .left = kernel.w / 2,
          .right = kernel.w / 2};
}

/// visit(x element, y element, tap) for every pair of pixels that a weight joins; elements are
/// those of channel 0.
template <class Visit>
void for_each_pair(const ConvGeometry& g, Visit visit) {
  for (std::int64_t y = 0; y < g.n * g.oh() * g.ow(); ++y) {
    const std::int64_t n = y / (g.oh() * g.ow());
    for (std::int64_t tap = 0; tap < g.kh * g.kw; ++tap) {
      const std::int64_t i = y / g.ow() % g.oh() - g.top + tap / g.kw;
      const std::int64_t j = y % g.ow() - g.left + tap % g.kw;
      if (i >= 0 && i < g.h && j >= 0 && j < g.w) {
        visit(((n * g.h + i) * g.w + j) * g.c, y * g.oc, tap);
      }
    }
  }
}

Doubles convolve(const ConvGeometry& g, const Values& x, const Values& w, const Values& bias) {
  Doubles y(at(g.y_shape().elements()));
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = bias.empty() ? 0 : bias[i % at(g.oc)];
  }
  for_each_pair(g, [&](std::int64_t from, std::int64_t to, std::int64_t tap) {
    for (std::int64_t k = 0; k < g.oc; ++k) {
      for (std::int64_t c = 0; c < g.c; ++c) {
        y[at(to + k)] += static_cast<double>(x[at(from + c)]) *
                         static_cast<double>(w[at((k * g.kh * g.kw + tap) * g.c + c)]);
      }
    }
  });
  return y;
}

Doubles gradient_of_x(const ConvGeometry& g, const Values& dy, const Values& w) {
  Doubles dx(at(g.x_shape().elements()));
  for_each_pair(g, [&](std::int64_t to, std::int64_t from, std::int64_t tap) {
    for (std::int64_t k = 0; k < g.oc; ++k) {
      for (std::int64_t c = 0; c < g.c; ++c) {
        dx[at(to + c)] += static_cast<double>(dy[at(from + k)]) *
                          static_cast<double>(w[at((k * g.kh * g.kw + tap) * g.c + c)]);
      }
    }
  });
  return dx;
}

::testing::AssertionResult close(const Values& actual, const Doubles& expected) {
  const Doubles values(actual.begin(), actual.end());
  const double distance = test::relative_distance(values, expected);
  if (!(distance <= kNormBound)) {
    return ::testing::AssertionFailure() << "relative distance " << distance;
  }
  return test::within(kLargestBound, {static_cast<std::int64_t>(values.size())}, values, expected);
}

/// Memory aligned to 64 bytes, filled with NaN: nothing may depend on what it held.
class Scratch {
 public:
  explicit Scratch(std::int64_t bytes)
      : block_(static_cast<float*>(std::aligned_alloc(64, at(bytes + 63) / 64 * 64)), &std::free) {
    std::fill_n(block_.get(), bytes / 4, std::nanf(""));
  }
  [[nodiscard]] float* get() const { return block_.get(); }

 private:
  std::unique_ptr<float, decltype(&std::free)> block_;
};

class WinogradLines : public ::testing::TestWithParam<test::TableCase> {
 protected:
  const simd::WinogradLineTable& table_ = GetParam().table->winograd_line;

  [[nodiscard]] Values forward(const ConvGeometry& g, const Values& x, const Values& w,
                               const Values& bias, int activation = kNone) const {
    const simd::LineShape s = WinogradLine::shape_of(g);
    const Scratch packed(table_.packed_floats(s) * 4);
    table_.pack(s, w.data(), packed.get());
    return convolve(s, g.y_shape().elements(), x, packed, bias, activation);
  }
  [[nodiscard]] Values backward_data(const ConvGeometry& g, const Values& dy,
                                     const Values& w) const {
    const simd::LineShape s = WinogradLine::turned_shape_of(g);
    const Scratch packed(table_.packed_floats(s) * 4);
    table_.pack_turned(s, w.data(), packed.get());
    return convolve(s, g.x_shape().elements(), dy, packed, {}, kNone);
  }
  void expect_close(const ConvGeometry& g) const {
    SCOPED_TRACE(::testing::Message() << g.x_shape().str() << " by " << g.w_shape().str()
                                      << ", padding " << g.top << " and " << g.left);
    const Values x = floats(g.x_shape().elements(), 1);
    const Values w = floats(g.w_shape().elements(), 2);
    const Values bias = floats(g.oc, 3);
    const Values dy = floats(g.y_shape().elements(), 4);
    EXPECT_TRUE(close(forward(g, x, w, bias), gentrain::convolve(g, x, w, bias)));
    EXPECT_TRUE(close(backward_data(g, dy, w), gradient_of_x(g, dy, w)));
  }

 private:
  [[nodiscard]] Values convolve(const simd::LineShape& s, std::int64_t results, const Values& x,
                                const Scratch& packed, const Values& bias, int activation) const {
    const Scratch scratch(table_.scratch(s));
    Values y(at(results + 32), -7.0F);  // a guard behind it
    table_.forward(s, {x.data(), packed.get(), bias.empty() ? nullptr : bias.data(), activation,
                       y.data(), scratch.get()});
    EXPECT_THAT(Values(y.end() - 32, y.end()), ::testing::Each(-7.0F));
    y.resize(at(results));
    return y;
  }
};

TEST_P(WinogradLines, OddExtents) {
  for (const Kernel kernel : kKernels) {
    for (const std::int64_t h : {1, 2, 5, 8, 13}) {
      for (const std::int64_t w : {1, 3, 4, 9, 17}) {
        expect_close(geometry(kernel, 1 + (h + w) % 3, h, w, 16, 16));
      }
    }
  }
}

TEST_P(WinogradLines, EveryPadding) {
  for (const Kernel kernel : kKernels) {
    for (std::int64_t along = 0; along < std::max(kernel.h, kernel.w); ++along) {
      ConvGeometry g = geometry(kernel, 2, 9, 10, 8, 16);
      (kernel.w > 1 ? g.left : g.top) = along;
      expect_close(g);
      (kernel.w > 1 ? g.right : g.bottom) = along;
      expect_close(g);
    }
  }
  ConvGeometry uneven = geometry({5, 5}, 2, 9, 10, 8, 16);
  uneven.top = 0;
  uneven.bottom = 4;
  uneven.left = 3;
  expect_close(uneven);
}

TEST_P(WinogradLines, ChannelsAroundTheVectors) {
  for (const Kernel kernel : {Kernel{1, 7}, Kernel{5, 5}, Kernel{3, 1}}) {
    for (const std::int64_t c : {1, 7, 8, 17, 40}) {
      for (const std::int64_t oc : {1, 8, 15, 33, 64}) {
        expect_close(geometry(kernel, 2, 5, 6, c, oc));
      }
    }
  }
}

TEST_P(WinogradLines, ManyLinesAndChannels) {
  expect_close(geometry({1, 7}, 3, 17, 17, 24, 96));  // several blocks of lines
  expect_close(geometry({7, 1}, 3, 17, 17, 24, 96));
  expect_close(geometry({5, 5}, 2, 35, 35, 16, 24));
  expect_close(geometry({1, 3}, 2, 8, 8, 160, 136));  // several pieces of channels
}

TEST_P(WinogradLines, AppliesBiasAndActivationToTheSum) {
  const ConvGeometry g = geometry({1, 7}, 2, 9, 10, 16, 21);
  const Values x = floats(g.x_shape().elements(), 1);
  const Values w = floats(g.w_shape().elements(), 2);
  const Values bias = floats(g.oc, 3);
  const Values sums = forward(g, x, w, bias);
  EXPECT_TRUE(close(forward(g, x, w, {}), gentrain::convolve(g, x, w, {})));
  for (const Activation activation : {Activation::kTanh, Activation::kRelu, Activation::kSigmoid}) {
    Values expected(sums.size());
    GetParam().table->elementwise.activate(static_cast<int>(activation), sums.data(),
                                           expected.data(), static_cast<std::int64_t>(sums.size()));
    EXPECT_EQ(forward(g, x, w, bias, static_cast<int>(activation)), expected)
        << name_of(activation);
  }
}

TEST_P(WinogradLines, AnImageAloneGivesTheSameBits) {
  for (const Kernel kernel : kKernels) {
    const ConvGeometry g = geometry(kernel, 7, 10, 9, 24, 40);
    const Values x = floats(g.x_shape().elements(), 1);
    const Values w = floats(g.w_shape().elements(), 2);
    const Values whole = forward(g, x, w, {});
    const std::int64_t in = g.h * g.w * g.c;
    const std::int64_t out = g.oh() * g.ow() * g.oc;
    ConvGeometry one = g;
    one.n = 1;
    for (std::int64_t n = 0; n < g.n; ++n) {
      const Values image(x.begin() + n * in, x.begin() + (n + 1) * in);
      const auto first = whole.begin() + n * out;
      EXPECT_EQ(forward(one, image, w, {}), Values(first, first + out)) << n;
    }
  }
}

TEST_P(WinogradLines, WhatIsNotFiniteReachesItsResultsAndNoOtherTile) {
  const ConvGeometry g = geometry({1, 7}, 2, 3, 21, 16, 16);
  const Values w = floats(g.w_shape().elements(), 2);
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const std::int64_t pixel : {0, 25, 62, 100}) {
      Values x = floats(g.x_shape().elements(), 1);
      x[at(pixel * g.c + 3)] = value;
      const Values y = forward(g, x, w, {});
      std::vector<bool> may(y.size() / at(g.oc));
      for_each_pair(g, [&](std::int64_t from, std::int64_t to, std::int64_t) {
        if (from / g.c != pixel) {
          return;
        }
        EXPECT_FALSE(std::isfinite(y[at(to)])) << "result " << to << " hides pixel " << pixel;
        const std::int64_t result = to / g.oc;
        const std::int64_t first = result / g.ow() * g.ow() + result % g.ow() / 4 * 4;
        for (std::int64_t i = first; i < std::min(first + 4, (result / g.ow() + 1) * g.ow()); ++i) {
          may[at(i)] = true;
        }
      });
      for (std::size_t i = 0; i < may.size(); ++i) {
        EXPECT_TRUE(may[i] || std::isfinite(y[i * at(g.oc)])) << i << " has seen pixel " << pixel;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, WinogradLines, ::testing::ValuesIn(test::runnable_tables()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(CpuWinogradLineRule, TakesWhatItWins) {
  const auto wins = [](cpu::Operation pass, const ConvGeometry& g) {
    return WinogradLine::wins(pass, g);
  };
  constexpr auto kForward = cpu::Operation::kConvForward;
  for (const Kernel kernel : kKernels) {
    EXPECT_TRUE(wins(kForward, geometry(kernel, 2, 17, 17, 32, 32)));
    EXPECT_TRUE(wins(cpu::Operation::kConvBackwardData, geometry(kernel, 2, 17, 17, 32, 32)));
    EXPECT_FALSE(wins(cpu::Operation::kConvBackwardWeights, geometry(kernel, 2, 17, 17, 32, 32)));
    EXPECT_FALSE(wins(kForward, geometry(kernel, 2, 17, 17, 3, 32))) << "few channels";
    ConvGeometry strided = geometry(kernel, 2, 17, 17, 32, 32);
    strided.stride_w = 2;
    EXPECT_FALSE(wins(kForward, strided));
    ConvGeometry grouped = geometry(kernel, 2, 17, 17, 32, 32);
    grouped.groups = 2;
    EXPECT_FALSE(wins(kForward, grouped));
  }
  EXPECT_FALSE(wins(kForward, geometry({1, 1}, 2, 17, 17, 32, 32)));
  EXPECT_FALSE(wins(kForward, geometry({3, 3}, 2, 17, 17, 32, 32)));
  EXPECT_FALSE(wins(kForward, geometry({1, 7}, 2, 17, 5, 32, 32))) << "half of the tiles is waste";
  ConvGeometry wide = geometry({1, 7}, 2, 17, 17, 32, 32);
  wide.left = 7;
  EXPECT_FALSE(wins(kForward, wide)) << "results that see zeros alone";
}

}  // namespace
}  // namespace gentrain
