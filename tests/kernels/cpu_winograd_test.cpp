// Winograd's convolution of every vector table against plain loops in double: odd extents, all
// paddings, channels around the vectors; its bits; values that are not finite.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "tests/kernels/cpu_tables.h"
#include "tests/support/compare.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

using simd::WinogradShape;
using test::floats;
using Values = std::vector<float>;
using Doubles = std::vector<double>;

/// Of a whole result, in Euclidean norms: |actual - expected| / |expected|. The largest seen over
/// these shapes is 1.2e-6; one rounding is 6e-8.
constexpr double kNormBound = 1.5e-6;
/// Of any element, relative to the largest one.
constexpr double kLargestBound = 3e-6;

constexpr int kNone = static_cast<int>(Activation::kNone);

std::size_t at(std::int64_t index) {
  return static_cast<std::size_t>(index);
}

/// Padding on all four sides is {top, bottom, left, right}.
WinogradShape shape(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t oc,
                    const std::array<std::int64_t, 4>& padding = {1, 1, 1, 1}) {
  return {n,
          h,
          w,
          c,
          h + padding[0] + padding[1] - 2,
          w + padding[2] + padding[3] - 2,
          oc,
          padding[0],
          padding[2]};
}

/// visit(x element, y element, tap) for every pair of pixels that a weight joins; elements are
/// those of channel 0.
template <class Visit>
void for_each_pair(const WinogradShape& s, Visit visit) {
  for (std::int64_t n = 0; n < s.n; ++n) {
    for (std::int64_t row = 0; row < s.oh; ++row) {
      for (std::int64_t column = 0; column < s.ow; ++column) {
        for (std::int64_t tap = 0; tap < 9; ++tap) {
          const std::int64_t i = row - s.top + tap / 3;
          const std::int64_t j = column - s.left + tap % 3;
          if (i >= 0 && i < s.h && j >= 0 && j < s.w) {
            visit(((n * s.h + i) * s.w + j) * s.c, ((n * s.oh + row) * s.ow + column) * s.oc, tap);
          }
        }
      }
    }
  }
}

Doubles convolve(const WinogradShape& s, const Values& x, const Values& w, const Values& bias) {
  Doubles y(at(s.n * s.oh * s.ow * s.oc));
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = bias.empty() ? 0 : bias[i % at(s.oc)];
  }
  for_each_pair(s, [&](std::int64_t from, std::int64_t to, std::int64_t tap) {
    for (std::int64_t k = 0; k < s.oc; ++k) {
      double sum = 0;
      for (std::int64_t c = 0; c < s.c; ++c) {
        sum += static_cast<double>(x[at(from + c)]) *
               static_cast<double>(w[at((k * 9 + tap) * s.c + c)]);
      }
      y[at(to + k)] += sum;
    }
  });
  return y;
}

Doubles gradient_of_x(const WinogradShape& s, const Values& dy, const Values& w) {
  Doubles dx(at(s.n * s.h * s.w * s.c));
  for_each_pair(s, [&](std::int64_t to, std::int64_t from, std::int64_t tap) {
    for (std::int64_t k = 0; k < s.oc; ++k) {
      for (std::int64_t c = 0; c < s.c; ++c) {
        dx[at(to + c)] += static_cast<double>(dy[at(from + k)]) *
                          static_cast<double>(w[at((k * 9 + tap) * s.c + c)]);
      }
    }
  });
  return dx;
}

Doubles gradient_of_w(const WinogradShape& s, const Values& x, const Values& dy) {
  Doubles dw(at(s.oc * 9 * s.c));
  for_each_pair(s, [&](std::int64_t from, std::int64_t to, std::int64_t tap) {
    for (std::int64_t k = 0; k < s.oc; ++k) {
      for (std::int64_t c = 0; c < s.c; ++c) {
        dw[at((k * 9 + tap) * s.c + c)] +=
            static_cast<double>(x[at(from + c)]) * static_cast<double>(dy[at(to + k)]);
      }
    }
  });
  return dw;
}

Doubles gradient_of_bias(const WinogradShape& s, const Values& dy) {
  Doubles dbias(at(s.oc));
  for (std::size_t i = 0; i < dy.size(); ++i) {
    dbias[i % at(s.oc)] += dy[i];
  }
  return dbias;
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

/// A result with a guard behind it.
class Result {
 public:
  explicit Result(std::int64_t count) : values_(at(count + 32), std::nanf("")) {
    std::fill(values_.end() - 32, values_.end(), -7.0F);
  }
  float* data() { return values_.data(); }
  Values values() {
    EXPECT_THAT(Values(values_.end() - 32, values_.end()), ::testing::Each(-7.0F));
    return {values_.begin(), values_.end() - 32};
  }

 private:
  Values values_;
};

struct Gradients {
  Values dw, dbias;
};

class Winograd : public ::testing::TestWithParam<test::TableCase> {
 protected:
  const simd::WinogradTable& table_ = GetParam().table->winograd;

  [[nodiscard]] Values forward(const WinogradShape& s, const Values& x, const Values& w,
                               const Values& bias, int activation = kNone) const {
    const Scratch packed(table_.packed_floats(s.c, s.oc) * 4);
    table_.pack(w.data(), s.oc, s.c, packed.get());
    return convolve(s, x, packed, bias, activation);
  }
  [[nodiscard]] Values backward_data(const WinogradShape& s, const Values& dy,
                                     const Values& w) const {
    const Scratch packed(table_.packed_floats(s.oc, s.c) * 4);
    table_.pack_turned(w.data(), s.oc, s.c, packed.get());
    return convolve({s.n, s.oh, s.ow, s.oc, s.h, s.w, s.c, 2 - s.top, 2 - s.left}, dy, packed, {},
                    kNone);
  }
  [[nodiscard]] Gradients backward_weights(const WinogradShape& s, const Values& x,
                                           const Values& dy, bool with_bias = true) const {
    const Scratch scratch(table_.backward_weights_scratch(s));
    Result dw(s.oc * 9 * s.c);
    Result dbias(s.oc);
    table_.backward_weights(s, x.data(), dy.data(), dw.data(), with_bias ? dbias.data() : nullptr,
                            scratch.get());
    return {dw.values(), dbias.values()};
  }
  /// All three passes against the plain loops.
  void expect_close(const WinogradShape& s) const {
    SCOPED_TRACE(::testing::Message()
                 << s.n << " images " << s.h << " x " << s.w << ", padding " << s.top << " and "
                 << s.left << ", channels " << s.c << " to " << s.oc);
    const Values x = floats(s.n * s.h * s.w * s.c, 1);
    const Values w = floats(s.oc * 9 * s.c, 2);
    const Values bias = floats(s.oc, 3);
    const Values dy = floats(s.n * s.oh * s.ow * s.oc, 4);
    EXPECT_TRUE(close(forward(s, x, w, bias), gentrain::convolve(s, x, w, bias)));
    EXPECT_TRUE(close(backward_data(s, dy, w), gradient_of_x(s, dy, w)));
    const Gradients gradients = backward_weights(s, x, dy);
    EXPECT_TRUE(close(gradients.dw, gradient_of_w(s, x, dy)));
    EXPECT_TRUE(close(gradients.dbias, gradient_of_bias(s, dy)));
  }

 private:
  [[nodiscard]] Values convolve(const WinogradShape& s, const Values& x, const Scratch& packed,
                                const Values& bias, int activation) const {
    const Scratch scratch(table_.forward_scratch(s));
    Result y(s.n * s.oh * s.ow * s.oc);
    table_.forward(s, {x.data(), packed.get(), bias.empty() ? nullptr : bias.data(), activation,
                       y.data(), scratch.get()});
    return y.values();
  }
};

TEST_P(Winograd, OddExtents) {
  for (const std::int64_t h : {1, 2, 3, 5, 6, 7, 17}) {
    for (const std::int64_t w : {1, 2, 3, 5, 6, 7, 17}) {
      expect_close(shape(1 + (h + w) % 5, h, w, 16, 16));
    }
  }
}

TEST_P(Winograd, EveryPadding) {
  for (const std::int64_t top : {0, 1, 2}) {
    for (const std::int64_t bottom : {0, 1, 2}) {
      for (const std::int64_t left : {0, 1, 2}) {
        expect_close(shape(2, 6, 9, 8, 16, {top, bottom, left, (top + bottom + left) % 3}));
      }
    }
  }
}

TEST_P(Winograd, ChannelsAroundTheVectors) {
  for (const std::int64_t c : {1, 3, 7, 8, 9, 16, 17, 31, 40, 80}) {
    for (const std::int64_t oc : {1, 5, 8, 15, 16, 24, 33, 64}) {
      expect_close(shape(2, 5, 6, c, oc));
    }
  }
}

TEST_P(Winograd, ManyTilesAndChannels) {
  expect_close(shape(2, 27, 25, 16, 24));  // several blocks of tiles
  expect_close(shape(1, 5, 6, 160, 200));
  expect_close(shape(1, 4, 5, 300, 264));  // several groups of result channels
  // A tile for each image: many channels, whose gradients are summed over one deep block of tiles
  // and over two.
  for (const std::int64_t n : {70, 150}) {
    expect_close(shape(n, 1, 1, 416, 136));
  }
}

TEST_P(Winograd, AppliesBiasAndActivationToTheSum) {
  const WinogradShape s = shape(2, 9, 10, 16, 21);
  const Values x = floats(s.n * s.h * s.w * s.c, 1);
  const Values w = floats(s.oc * 9 * s.c, 2);
  const Values bias = floats(s.oc, 3);
  const Values sums = forward(s, x, w, bias);
  EXPECT_TRUE(close(forward(s, x, w, {}), gentrain::convolve(s, x, w, {})));
  for (const Activation activation : {Activation::kTanh, Activation::kRelu, Activation::kSigmoid}) {
    Values expected(sums.size());
    GetParam().table->elementwise.activate(static_cast<int>(activation), sums.data(),
                                           expected.data(), static_cast<std::int64_t>(sums.size()));
    EXPECT_EQ(forward(s, x, w, bias, static_cast<int>(activation)), expected)
        << name_of(activation);
  }
}

TEST_P(Winograd, GradientsOfWeightsDoNotNeedThoseOfTheBias) {
  const WinogradShape s = shape(3, 9, 10, 16, 21);
  const Values x = floats(s.n * s.h * s.w * s.c, 1);
  const Values dy = floats(s.n * s.oh * s.ow * s.oc, 4);
  const Gradients without = backward_weights(s, x, dy, false);
  EXPECT_EQ(without.dw, backward_weights(s, x, dy).dw);
  EXPECT_TRUE(std::isnan(without.dbias[0])) << "written without being asked for";
}

TEST_P(Winograd, AnImageAloneGivesTheSameBits) {
  const WinogradShape s = shape(7, 10, 9, 24, 40);
  const Values x = floats(s.n * s.h * s.w * s.c, 1);
  const Values w = floats(s.oc * 9 * s.c, 2);
  const Values whole = forward(s, x, w, {});
  const std::int64_t in = s.h * s.w * s.c;
  const std::int64_t out = s.oh * s.ow * s.oc;
  WinogradShape one = s;
  one.n = 1;
  for (std::int64_t n = 0; n < s.n; ++n) {
    const Values image(x.begin() + n * in, x.begin() + (n + 1) * in);
    const auto first = whole.begin() + n * out;
    EXPECT_EQ(forward(one, image, w, {}), Values(first, first + out)) << n;
  }
}

/// Elements that are not finite.
std::vector<bool> bad(const Values& values) {
  std::vector<bool> result;
  for (const float value : values) {
    result.push_back(!std::isfinite(value));
  }
  return result;
}

TEST_P(Winograd, WhatIsNotFiniteReachesItsResultsAndNoOtherTile) {
  const WinogradShape s = shape(2, 9, 13, 16, 16);
  const Values w = floats(s.oc * 9 * s.c, 2);
  const Values dy = floats(s.n * s.oh * s.ow * s.oc, 4);
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const std::int64_t pixel : {0, 4 * 13 + 5, 9 * 13 + 3 * 13 + 12, 9 * 13 + 8 * 13 + 7}) {
      Values x = floats(s.n * s.h * s.w * s.c, 1);
      x[at(pixel * s.c + 3)] = value;
      const std::vector<bool> actual = bad(forward(s, x, w, {}));
      std::vector<bool> touched(actual.size());  // by tile: may be bad
      for_each_pair(s, [&](std::int64_t from, std::int64_t to, std::int64_t) {
        if (from / s.c != pixel) {
          return;
        }
        EXPECT_TRUE(actual[at(to)]) << "result " << to << " hides pixel " << pixel;
        const std::int64_t y = to / s.oc;
        const std::int64_t n = y / (s.oh * s.ow);
        for (std::int64_t i = y / s.ow % s.oh / 4 * 4;
             i < std::min(s.oh, y / s.ow % s.oh / 4 * 4 + 4); ++i) {
          for (std::int64_t j = y % s.ow / 4 * 4; j < std::min(s.ow, y % s.ow / 4 * 4 + 4); ++j) {
            touched[at(((n * s.oh + i) * s.ow + j) * s.oc)] = true;
          }
        }
      });
      for (std::size_t i = 0; i < actual.size(); i += at(s.oc)) {
        EXPECT_TRUE(touched[i] || !actual[i]) << "result " << i << " by pixel " << pixel;
      }
      const std::vector<bool> gradients = bad(backward_weights(s, x, dy).dw);
      for (std::int64_t i = 0; i < s.oc * 9 * s.c; ++i) {
        EXPECT_TRUE(i % s.c == 3 || !gradients[at(i)]) << "channel " << i % s.c;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Winograd, ::testing::ValuesIn(test::runnable_tables()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gentrain
