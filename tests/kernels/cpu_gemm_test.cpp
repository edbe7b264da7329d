// The own matrix product against plain loops in double over sizes around its tiles, and its promise
// that an element's bits depend on its own row and column alone.
#include <cmath>
#include <cstdint>

#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "tests/kernels/cpu_tables.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

using test::floats;

constexpr int kNone = static_cast<int>(Activation::kNone);

struct Size {
  std::int64_t rows, columns, depth;
};

std::size_t at(std::int64_t index) {
  return static_cast<std::size_t>(index);
}

class Gemm : public ::testing::TestWithParam<test::TableCase> {
 protected:
  const simd::GemmTable& gemm_ = GetParam().table->gemm;

  /// x [rows, depth] times w^T, w [columns, depth].
  [[nodiscard]] std::vector<float> product(const Size& s, const std::vector<float>& x,
                                           const std::vector<float>& w, const float* bias,
                                           int activation = kNone) const {
    std::vector<float> packed(at(gemm_.packed_floats(s.columns, s.depth)), std::nanf(""));
    gemm_.pack_transposed(w.data(), s.columns, s.depth, packed.data());
    std::vector<float> y(at(s.rows * s.columns + 1), -7);
    gemm_.multiply({s.rows, s.columns, s.depth, x.data(), s.depth, 1, packed.data(), 0, bias,
                    activation, y.data()});
    EXPECT_EQ(y.back(), -7) << "written behind the end";
    y.pop_back();
    return y;
  }
};

TEST_P(Gemm, MatchesPlainLoopsAroundTheTiles) {
  for (const std::int64_t rows : {1, 2, 5, 6, 7, 11, 13, 14, 15, 29}) {
    for (const std::int64_t columns : {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 65}) {
      for (const std::int64_t depth : {1, 2, 17}) {
        const Size s = {rows, columns, depth};
        const std::vector<float> x = floats(rows * depth, 1);
        const std::vector<float> w = floats(columns * depth, 2);
        const std::vector<float> bias = floats(columns, 3);
        const std::vector<float> y = product(s, x, w, bias.data());
        for (std::int64_t i = 0; i < rows; ++i) {
          for (std::int64_t j = 0; j < columns; ++j) {
            double expected = bias[at(j)];
            for (std::int64_t p = 0; p < depth; ++p) {
              expected += static_cast<double>(x[at(i * depth + p)]) *
                          static_cast<double>(w[at(j * depth + p)]);
            }
            ASSERT_NEAR(y[at(i * columns + j)], expected, 2e-6)
                << rows << " x " << columns << " x " << depth << " at " << i << ", " << j;
          }
        }
      }
    }
  }
}

TEST_P(Gemm, OtherOrdersOfTheFactorsGiveTheSameBits) {
  const Size s = {13, 37, 19};
  const std::vector<float> x = floats(s.rows * s.depth, 4);
  const std::vector<float> w = floats(s.columns * s.depth, 5);
  std::vector<float> x_turned(x.size());
  std::vector<float> w_turned(w.size());
  for (std::int64_t p = 0; p < s.depth; ++p) {
    for (std::int64_t i = 0; i < s.rows; ++i) {
      x_turned[at(p * s.rows + i)] = x[at(i * s.depth + p)];
    }
    for (std::int64_t j = 0; j < s.columns; ++j) {
      w_turned[at(p * s.columns + j)] = w[at(j * s.depth + p)];
    }
  }
  std::vector<float> y(at(s.rows * s.columns));
  gemm_.multiply({s.rows, s.columns, s.depth, x_turned.data(), 1, s.rows, w_turned.data(),
                  s.columns, nullptr, kNone, y.data()});
  EXPECT_EQ(y, product(s, x, w, nullptr));
}

TEST_P(Gemm, ARowAloneGivesTheSameBits) {
  const Size s = {29, 20, 100};
  const std::vector<float> x = floats(s.rows * s.depth, 6);
  const std::vector<float> w = floats(s.columns * s.depth, 7);
  const std::vector<float> bias = floats(s.columns, 8);
  const int tanh = static_cast<int>(Activation::kTanh);
  const std::vector<float> whole = product(s, x, w, bias.data(), tanh);
  for (std::int64_t i = 0; i < s.rows; ++i) {
    const std::vector<float> row(x.begin() + i * s.depth, x.begin() + (i + 1) * s.depth);
    const std::vector<float> alone = product({1, s.columns, s.depth}, row, w, bias.data(), tanh);
    const auto first = whole.begin() + i * s.columns;
    ASSERT_EQ(alone, std::vector<float>(first, first + s.columns)) << i;
  }
}

TEST_P(Gemm, AppliesTheActivationBehindTheBias) {
  const Size s = {7, 10, 3};
  const std::vector<float> x = floats(s.rows * s.depth, 9);
  const std::vector<float> w = floats(s.columns * s.depth, 10);
  const std::vector<float> bias = floats(s.columns, 11);
  std::vector<float> expected = product(s, x, w, bias.data());
  for (const Activation activation : {Activation::kTanh, Activation::kRelu, Activation::kSigmoid}) {
    std::vector<float> applied(expected.size());
    GetParam().table->elementwise.activate(static_cast<int>(activation), expected.data(),
                                           applied.data(),
                                           static_cast<std::int64_t>(expected.size()));
    EXPECT_EQ(product(s, x, w, bias.data(), static_cast<int>(activation)), applied)
        << name_of(activation);
  }
}

TEST_P(Gemm, SumsRowsInOrder) {
  for (const std::int64_t columns : {1, 7, 8, 10, 33, 64, 100}) {
    const std::int64_t rows = 21;
    const std::vector<float> x = floats(rows * columns, 12);
    std::vector<float> y(at(columns + 1), -7);
    gemm_.sum_rows(x.data(), rows, columns, y.data());
    for (std::int64_t j = 0; j < columns; ++j) {
      float expected = 0;
      for (std::int64_t i = 0; i < rows; ++i) {
        expected += x[at(i * columns + j)];
      }
      ASSERT_EQ(y[at(j)], expected) << columns << " " << j;
    }
    EXPECT_EQ(y.back(), -7);
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Gemm, ::testing::ValuesIn(test::runnable_tables()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gentrain
