// Gradients of weights by a matrix of windows, of every vector table, against plain loops in
// double.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

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

/// Kernel and stride are square, padding is the same on all sides.
ConvColumnsShape shape(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c,
                       std::int64_t oc, std::int64_t k, std::int64_t stride, std::int64_t padding) {
  return {n,
          h,
          w,
          c,
          (h + 2 * padding - k) / stride + 1,
          (w + 2 * padding - k) / stride + 1,
          oc,
          k,
          k,
          stride,
          stride,
          padding,
          padding};
}

struct Gradients {
  Doubles dw, dbias;
};

Gradients plain(const ConvColumnsShape& s, const Values& x, const Values& dy) {
  Gradients sums = {Doubles(at(s.oc * s.kh * s.kw * s.c)), Doubles(at(s.oc))};
  for (std::int64_t result = 0; result < s.n * s.oh * s.ow; ++result) {
    const std::int64_t n = result / (s.oh * s.ow);
    const std::int64_t row = result / s.ow % s.oh * s.stride_h - s.top;
    const std::int64_t column = result % s.ow * s.stride_w - s.left;
    for (std::int64_t k = 0; k < s.oc; ++k) {
      const double gradient = dy[at(result * s.oc + k)];
      sums.dbias[at(k)] += gradient;
      for (std::int64_t tap = 0; tap < s.kh * s.kw * s.c; ++tap) {
        const std::int64_t i = row + tap / (s.kw * s.c);
        const std::int64_t j = column + tap / s.c % s.kw;
        if (i >= 0 && i < s.h && j >= 0 && j < s.w) {
          sums.dw[at(k * s.kh * s.kw * s.c + tap)] +=
              gradient * static_cast<double>(x[at(((n * s.h + i) * s.w + j) * s.c + tap % s.c)]);
        }
      }
    }
  }
  return sums;
}

::testing::AssertionResult close(const Values& actual, const Doubles& expected) {
  const Doubles values(actual.begin(), actual.end());
  const double distance = test::relative_distance(values, expected);
  if (!(distance <= 5e-7)) {
    return ::testing::AssertionFailure() << "relative distance " << distance;
  }
  return ::testing::AssertionSuccess();
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
    Values scratch(at(table.scratch_bytes(s) / 4 + 16), std::nanf(""));
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

TEST_P(ConvColumns, MatchesPlainLoops) {
  for (const ConvColumnsShape& s :
       {shape(1, 1, 1, 1, 1, 1, 1, 0), shape(3, 7, 9, 3, 17, 3, 1, 1),
        shape(2, 5, 6, 1, 16, 5, 1, 2), shape(2, 11, 10, 3, 24, 9, 1, 4),
        shape(2, 13, 12, 4, 19, 3, 2, 1), shape(1, 9, 8, 2, 5, 3, 3, 0),
        shape(5, 20, 21, 3, 64, 3, 1, 1), shape(1, 2, 2, 3, 16, 9, 1, 4)}) {
    SCOPED_TRACE(::testing::Message()
                 << s.n << " x " << s.h << " x " << s.w << " x " << s.c << " to " << s.oc
                 << ", kernel " << s.kh << ", stride " << s.stride_h << ", padding " << s.top);
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

INSTANTIATE_TEST_SUITE_P(Tables, ConvColumns, ::testing::ValuesIn(test::runnable_tables()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gentrain
