// The wide tables against the narrow one: pointwise functions, functions of two tensors and maps
// along axes have the same bits, softmax agrees within rounding.
#include <cmath>
#include <cstdint>

#include <gtest/gtest.h>

#include "kernels/pointwise_function.h"
#include "tests/kernels/cpu_tables.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

using test::floats;

constexpr std::int64_t kCount = 1003;

class WideMaps : public ::testing::TestWithParam<test::TableCase> {
 protected:
  /// What `compute` makes of the narrow table and of this one.
  template <class Compute>
  void expect_same(Compute compute) const {
    EXPECT_EQ(compute(*GetParam().table), compute(simd::v3::kernels()));
  }
};

TEST_P(WideMaps, Functions) {
  const std::vector<float> x = floats(kCount, 1, 0.1F, 6);
  const std::vector<float> dy = floats(kCount, 2);
  std::vector<float> y(2 * kCount);
  for (int function = 0; function <= static_cast<int>(PointwiseFunction::kTanhShrink); ++function) {
    expect_same([&](const simd::Kernels& table) {
      const simd::PointwiseCall call{function, 0.7F, 1.3F, 4};
      table.pointwise.forward(call, x.data(), y.data(), kCount);
      table.pointwise.backward(call, x.data(), dy.data(), y.data() + kCount, kCount);
      return y;
    });
  }
}

TEST_P(WideMaps, FunctionsOfTwoTensors) {
  const std::vector<float> a = floats(kCount, 1, -6, 6);
  const std::vector<float> b = floats(kCount, 2, 1, 6);
  const std::vector<float> dy = floats(kCount, 3);
  std::vector<float> y(3 * kCount);
  for (int function = 0; function <= static_cast<int>(BinaryFunction::kMinimum); ++function) {
    for (const auto& [repeat_a, repeat_b] :
         {std::pair(false, false), std::pair(true, false), std::pair(false, true)}) {
      expect_same([&, repeat_a = repeat_a, repeat_b = repeat_b](const simd::Kernels& table) {
        simd::BinaryRun run{a.data(), repeat_a, b.data(), repeat_b, dy.data(), y.data(), kCount};
        table.binary.forward(function, run);
        for (const int input : {0, 1}) {
          run.y += kCount;
          table.binary.gradient(function, input, run);
        }
        return y;
      });
    }
  }
  std::vector<double> sums(kCount + 1);
  expect_same([&](const simd::Kernels& table) {
    sums.assign(sums.size(), 0.1);
    table.binary.accumulate(a.data(), sums.data(), kCount);
    sums.back() = table.binary.total(a.data(), kCount);
    return sums;
  });
}

TEST_P(WideMaps, AxisMaps) {
  const simd::AxisSegment segments[] = {{simd::AxisSegment::kFill, 0, 0, 2},
                                        {simd::AxisSegment::kCopy, 2, 1, 2},
                                        {simd::AxisSegment::kTerms, 4, 0, 2}};
  const std::int32_t begins[] = {0, 0, 0, 1, 2, 4, 7};
  const std::int32_t sources[] = {1, 2, 0, 2, 1, 1, 0};
  const float weights[] = {1, 1, 0.3F, -2, 1, 0.7F, 3};
  for (const std::int64_t inner : {1, 21}) {
    const simd::AxisRun run{segments, 3, begins, sources, weights, 5, 4, 3, 6, inner};
    const std::vector<float> x = floats(4 * 6 * inner, 1);
    std::vector<float> y(x.size());
    expect_same([&](const simd::Kernels& table) {
      table.axes.axis_map(run, x.data(), y.data());
      return y;
    });
    expect_same([&](const simd::Kernels& table) {
      table.axes.axis_map_backward(run, x.data(), y.data());
      return y;
    });
  }
}

TEST_P(WideMaps, Softmax) {
  const std::int64_t rows = 3;
  const std::int64_t k = 45;
  const std::vector<float> x = floats(rows * k, 1, -5, 5);
  const std::vector<float> dy = floats(rows * k, 2);
  const auto run = [&](const simd::AxesTable& table) {
    std::vector<float> all(3 * x.size());
    float* const dx = all.data() + x.size();
    table.log_softmax(x.data(), rows, k, all.data());
    table.log_softmax_backward(all.data(), dy.data(), rows, k, dx);
    table.softmax_backward(dy.data(), x.data(), rows, k, dx + x.size());
    return all;
  };
  const std::vector<float> narrow = run(simd::v3::kernels().axes);
  const std::vector<float> wide = run(GetParam().table->axes);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    ASSERT_NEAR(wide[i], narrow[i], 2e-6F * (1 + std::abs(narrow[i]))) << i;
  }
}

std::vector<test::TableCase> wide_tables() {
  std::vector<test::TableCase> tables = test::runnable_tables();
  tables.erase(tables.begin());
  return tables;
}

INSTANTIATE_TEST_SUITE_P(Tables, WideMaps, ::testing::ValuesIn(wide_tables()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gentrain
