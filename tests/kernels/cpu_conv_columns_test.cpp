// Convolutions by a matrix of windows, of every vector table, against plain loops in double.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "tests/kernels/cpu_tables.h"
#include "tests/support/compare.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

using simd::ConvColumnsShape;
using test::floats;
using Values = std::vector<float>;
using Doubles = std::vector<double>;

std::size_t at(std::int64_t index) {
  return static_cast<std::size_t>(index);
}

/// x is [n, h, w, c]; kernel and stride are square, padding is the same on all sides.
ConvColumnsShape shape(const std::array<std::int64_t, 4>& x, std::int64_t oc, std::int64_t k,
                       std::int64_t stride, std::int64_t padding) {
  const auto results = [&](std::int64_t extent) { return (extent + 2 * padding - k) / stride + 1; };
  return {x[0], x[1], x[2],   x[3],   results(x[1]), results(x[2]), oc,
          k,    k,    stride, stride, padding,       padding};
}

/// visit(x's index, w's index, y's index) for each product of the convolution.
template <class Visit>
void for_each_product(const ConvColumnsShape& s, Visit visit) {
  for (std::int64_t result = 0; result < s.n * s.oh * s.ow; ++result) {
    const std::int64_t n = result / (s.oh * s.ow);
    const std::int64_t row = result / s.ow % s.oh * s.stride_h - s.top;
    const std::int64_t column = result % s.ow * s.stride_w - s.left;
    for (std::int64_t tap = 0; tap < s.kh * s.kw * s.c; ++tap) {
      const std::int64_t i = row + tap / (s.kw * s.c);
      const std::int64_t j = column + tap / s.c % s.kw;
      for (std::int64_t k = 0; k < s.oc && i >= 0 && i < s.h && j >= 0 && j < s.w; ++k) {
        visit(at(((n * s.h + i) * s.w + j) * s.c + tap % s.c), at(k * s.kh * s.kw * s.c + tap),
              at(result * s.oc + k));
      }
    }
  }
}

struct Gradients {
  Doubles dw, dbias;
};

Gradients plain(const ConvColumnsShape& s, const Values& x, const Values& dy) {
  Gradients sums = {Doubles(at(s.oc * s.kh * s.kw * s.c)), Doubles(at(s.oc))};
  for_each_product(s, [&](std::size_t in, std::size_t weight, std::size_t out) {
    sums.dw[weight] += static_cast<double>(dy[out]) * static_cast<double>(x[in]);
  });
  for (std::size_t i = 0; i < dy.size(); ++i) {
    sums.dbias[i % at(s.oc)] += static_cast<double>(dy[i]);
  }
  return sums;
}

::testing::AssertionResult close(const Values& actual, const Doubles& expected,
                                 double bound = 5e-7) {
  const Doubles values(actual.begin(), actual.end());
  const double distance = test::relative_distance(values, expected);
  if (!(distance <= bound)) {
    return ::testing::AssertionFailure() << "relative distance " << distance;
  }
  return ::testing::AssertionSuccess();
}

std::vector<ConvColumnsShape> shapes() {
  return {shape({1, 1, 1, 1}, 1, 1, 1, 0),
          shape({3, 7, 9, 3}, 17, 3, 1, 1),
          shape({2, 5, 6, 1}, 16, 5, 1, 2),
          shape({2, 11, 10, 3}, 24, 9, 1, 4),
          shape({2, 13, 12, 4}, 19, 3, 2, 1),
          shape({1, 9, 8, 2}, 5, 3, 3, 0),
          shape({5, 20, 21, 3}, 64, 3, 1, 1),
          shape({1, 2, 2, 3}, 16, 9, 1, 4),
          shape({2, 10, 9, 19}, 21, 2, 2, 0),
          shape({2, 7, 7, 33}, 40, 3, 4, 1),
          shape({3, 8, 8, 16}, 16, 1, 2, 0),
          shape({40, 5, 5, 24}, 18, 3, 2, 1),
          {2, 9, 11, 19, 4, 4, 21, 3, 2, 2, 3, 1, 0},
          {1, 10, 7, 5, 4, 7, 18, 1, 4, 3, 1, 0, 2}};
}

std::string text_of(const ConvColumnsShape& s) {
  return fmt::format("{} x {} x {} x {} to {}, kernel {} x {}, strides {}, {}, padding {}, {}", s.n,
                     s.h, s.w, s.c, s.oc, s.kh, s.kw, s.stride_h, s.stride_w, s.top, s.left);
}

class ConvColumns : public ::testing::TestWithParam<test::TableCase> {
 protected:
  struct Result {
    Values dw, dbias;
  };

  /// Guards of -7 behind both results; scratch full of NaN.
  [[nodiscard]] Result run(const ConvColumnsShape& s, const Values& x, const Values& dy,
                           bool with_bias = true) const {
    const simd::ConvColumnsTable& table = GetParam().table->conv_columns;
    Values scratch(at(table.backward_weights_scratch(s) / 4 + 16), std::nanf(""));
    std::fill(scratch.end() - 16, scratch.end(), -7.0F);
    Result result = {Values(at(s.oc * s.kh * s.kw * s.c + 16), -7), Values(at(s.oc + 16), -7)};
    table.backward_weights(s, x.data(), dy.data(), result.dw.data(),
                           with_bias ? result.dbias.data() : nullptr, scratch.data());
    for (Values* values : {&scratch, &result.dw, &result.dbias}) {
      EXPECT_EQ(Values(values->end() - 16, values->end()), Values(16, -7.0F));
    }
    result.dw.resize(result.dw.size() - 16);
    result.dbias.resize(result.dbias.size() - 16);
    return result;
  }
};

TEST_P(ConvColumns, GradientsOfWeightsMatchPlainLoops) {
  for (const ConvColumnsShape& s : shapes()) {
    SCOPED_TRACE(text_of(s));
    const Values x = floats(s.n * s.h * s.w * s.c, 1);
    const Values dy = floats(s.n * s.oh * s.ow * s.oc, 2);
    const Gradients expected = plain(s, x, dy);
    const Result actual = run(s, x, dy);
    EXPECT_TRUE(close(actual.dw, expected.dw));
    EXPECT_TRUE(close(actual.dbias, expected.dbias));
    EXPECT_EQ(run(s, x, dy).dw, actual.dw) << "other bits";
    const Result without = run(s, x, dy, false);
    EXPECT_EQ(without.dw, actual.dw);
    EXPECT_EQ(without.dbias, Values(at(s.oc), -7.0F)) << "written without being asked for";
  }
}

/// Guards of -7 behind scratch and result, which `compute` writes.
template <class Compute>
Values guarded(std::int64_t scratch_bytes, std::int64_t results, Compute compute) {
  Values scratch(at(scratch_bytes / 4 + 16), std::nanf(""));
  std::fill(scratch.end() - 16, scratch.end(), -7.0F);
  Values result(at(results + 16), -7);
  compute(result.data(), scratch.data());
  for (const Values* values : {&scratch, &result}) {
    EXPECT_EQ(Values(values->end() - 16, values->end()), Values(16, -7.0F));
  }
  result.resize(at(results));
  return result;
}

TEST_P(ConvColumns, ResultsMatchPlainLoops) {
  const simd::Kernels& kernels = *GetParam().table;
  for (const ConvColumnsShape& s : shapes()) {
    SCOPED_TRACE(text_of(s));
    const std::int64_t taps = s.kh * s.kw * s.c;
    const Values x = floats(s.n * s.h * s.w * s.c, 1);
    const Values w = floats(s.oc * taps, 2);
    const Values bias = floats(s.oc, 3);
    Values packed(at(kernels.gemm.packed_floats(s.oc, taps)));
    kernels.gemm.pack_transposed(w.data(), s.oc, taps, packed.data());
    const auto forward = [&](const float* with_bias, Activation activation) {
      return guarded(kernels.conv_columns.forward_scratch(s), s.n * s.oh * s.ow * s.oc,
                     [&](float* y, void* scratch) {
                       kernels.conv_columns.forward(
                           s, {x.data(), packed.data(), with_bias, static_cast<int>(activation), y},
                           scratch);
                     });
    };
    Doubles expected(at(s.n * s.oh * s.ow * s.oc));
    for_each_product(s, [&](std::size_t in, std::size_t weight, std::size_t out) {
      expected[out] += static_cast<double>(x[in]) * static_cast<double>(w[weight]);
    });
    EXPECT_TRUE(close(forward(nullptr, Activation::kNone), expected));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expected[i] = std::max(0.0, expected[i] + static_cast<double>(bias[i % at(s.oc)]));
    }
    EXPECT_TRUE(close(forward(bias.data(), Activation::kRelu), expected));
  }
}

TEST_P(ConvColumns, GradientsOfImagesMatchPlainLoops) {
  const simd::ConvColumnsTable& table = GetParam().table->conv_columns;
  for (const ConvColumnsShape& s : shapes()) {
    SCOPED_TRACE(text_of(s));
    const Values w = floats(s.oc * s.kh * s.kw * s.c, 1);
    const Values dy = floats(s.n * s.oh * s.ow * s.oc, 2);
    const Values turned = guarded(0, table.turned_floats(s), [&](float* packed, void* /*none*/) {
      table.pack_turned(s, w.data(), packed);
    });
    const Values dx = guarded(table.backward_data_scratch(s), s.n * s.h * s.w * s.c,
                              [&](float* result, void* scratch) {
                                table.backward_data(s, dy.data(), turned.data(), result, scratch);
                              });
    Doubles expected(dx.size());
    for_each_product(s, [&](std::size_t in, std::size_t weight, std::size_t out) {
      expected[in] += static_cast<double>(dy[out]) * static_cast<double>(w[weight]);
    });
    EXPECT_TRUE(close(dx, expected, 1e-6)) << "chains of up to 1,944 products";
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, ConvColumns, ::testing::ValuesIn(test::runnable_tables()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gentrain
