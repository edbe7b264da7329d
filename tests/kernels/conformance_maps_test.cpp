// Functions of two tensors, permutations, maps along axes and softmax of the CPU backend against
// the reference, and shards side by side against each alone.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/pointwise.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using ::testing::ElementsAre;
using ::testing::IsNan;
using Values = std::vector<double>;
using F = BinaryFunction;

constexpr F kFunctions[] = {F::kAdd,    F::kSubtract, F::kMultiply,
                            F::kDivide, F::kMaximum,  F::kMinimum};
const double kNan = std::nan("");

/// Two tensors.
struct Pair {
  Shape a, b;

  [[nodiscard]] Shape y() const { return repeated_shape("test", a, b); }
};

const Pair kPairs[] = {{{}, {}},
                       {{1, 1}, {1, 1}},
                       {{2, 3, 5, 7}, {2, 3, 5, 7}},
                       {{4, 5, 3, 33}, {1, 1, 1, 33}},
                       {{4, 5, 3, 33}, {4, 1, 1, 33}},
                       {{3, 1, 1, 7}, {3, 4, 5, 1}},
                       {{1, 6, 1}, {9, 1, 2}},
                       {{2, 1300}, {2, 1}},
                       {{1, 1}, {3, 700}},
                       {{2, 1, 2, 1, 3, 1}, {1, 2, 1, 3, 1, 17}},
                       {{0, 4}, {1, 4}},
                       {{2, 1, 3}, {2, 0, 3}}};

Values binary(const Workbench& bench, DType dtype, F function, const Pair& p, const Values& a,
              const Values& b) {
  const Result y(bench, p.y(), dtype, 1);
  bench.device().pointwise().binary(bench.queue(), function, bench.tensor(p.a, a, dtype).cview(),
                                    bench.tensor(p.b, b, dtype).cview(), y.view());
  return y.values();
}

struct Gradients {
  Values a, b;
  friend bool operator==(const Gradients&, const Gradients&) = default;
};

/// Without sources where the function needs none.
Gradients binary_backward(const Workbench& bench, DType dtype, F function, const Pair& p,
                          const std::array<Values, 3>& values, ShardRows shards = {}) {
  const Tensor a = bench.tensor(p.a, values[0], dtype);
  const Tensor b = bench.tensor(p.b, values[1], dtype);
  const Tensor dy = bench.tensor(p.y(), values[2], dtype);
  const bool needed = function != F::kAdd && function != F::kSubtract;
  const Result da(bench, p.a, dtype, 1);
  const Result db(bench, p.b, dtype, 1);
  bench.device().pointwise().binary_backward(
      bench.queue(), function,
      {needed ? a.cview() : ConstView{}, needed ? b.cview() : ConstView{}, dy.cview()}, da.view(),
      db.view(), shards);
  return {da.values(), db.values()};
}

/// Numbers of which some are equal and none is near zero.
Values some(const Shape& shape, std::uint64_t key) {
  Values values = random_values(shape.elements(), RngKey(key), 1, 4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = i % 3 == 0 ? std::round(values[i]) : -values[i];
  }
  return values;
}

class MapConformance : public test::Conformance {};

TEST_F(MapConformance, FunctionsOfTwoTensors) {
  for (const Pair& p : kPairs) {
    const Values a = some(p.a, 1);
    const Values b = some(p.b, 2);
    for (const F function : kFunctions) {
      const Values expected = binary(reference_, DType::kF64, function, p, a, b);
      Values magnitude = test::absolute(expected);
      std::ranges::for_each(magnitude, [](double& value) { value += 8; });
      EXPECT_TRUE(
          within(1e-7, p.y(), binary(cpu_, DType::kF32, function, p, a, b), expected, magnitude))
          << name_of(function) << p.a.str() << p.b.str();
    }
  }
}

TEST_F(MapConformance, GradientsOfFunctionsOfTwoTensors) {
  for (const Pair& p : kPairs) {
    const std::array<Values, 3> values = {some(p.a, 1), some(p.b, 2),
                                          random_values(p.y().elements(), RngKey(3))};
    // Terms of up to 5, as many as a tensor is repeated.
    const auto terms = [&](const Shape& shape) {
      const double count = static_cast<double>(p.y().elements()) /
                           static_cast<double>(std::max<std::int64_t>(1, shape.elements()));
      return Values(static_cast<std::size_t>(shape.elements()), 5 * std::max(1.0, count));
    };
    for (const F function : kFunctions) {
      const Gradients expected = binary_backward(reference_, DType::kF64, function, p, values);
      const Gradients actual = binary_backward(cpu_, DType::kF32, function, p, values);
      EXPECT_TRUE(within(3e-7, p.a, actual.a, expected.a, terms(p.a)))
          << name_of(function) << p.a.str() << p.b.str();
      EXPECT_TRUE(within(3e-7, p.b, actual.b, expected.b, terms(p.b)))
          << name_of(function) << p.a.str() << p.b.str();
    }
  }
}

/// The sums over the tree, in f32.
Values tree(std::vector<Values> parts) {
  for (std::size_t step = 1; step < parts.size(); step *= 2) {
    for (std::size_t i = 0; i < parts.size(); i += 2 * step) {
      for (std::size_t k = 0; k < parts[i].size(); ++k) {
        const auto sum = static_cast<float>(parts[i][k] + parts[i + step][k]);
        parts[i][k] = static_cast<double>(sum);
      }
    }
  }
  return parts[0];
}

/// Rows `first` and following of a tensor; itself if it has one row for all.
Values rows_of(const Values& values, const Shape& shape, std::int64_t first, std::int64_t rows) {
  if (shape[0] == 1) {
    return values;
  }
  const auto row = static_cast<std::ptrdiff_t>(values.size()) / shape[0];
  return {values.begin() + first * row, values.begin() + (first + rows) * row};
}

Shape with_rows(const Shape& shape, std::int64_t rows) {
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents[0] = shape[0] == 1 ? 1 : rows;
  return Shape(extents);
}

TEST_F(MapConformance, ShardsSideBySideAreAsIfEachWereAlone) {
  const std::vector<std::int64_t> shards = {3, 1, 0, 5};
  for (const Pair& p : {Pair{{9, 5, 33}, {1, 1, 33}}, Pair{{9, 5, 33}, {1, 5, 1}},
                        Pair{{1, 1, 1}, {9, 5, 300}}, Pair{{1, 2, 3}, {9, 2, 1}}}) {
    for (const F function : kFunctions) {
      const std::array<Values, 3> values = {some(p.a, 1), some(p.b, 2),
                                            random_values(p.y().elements(), RngKey(3))};
      const Gradients together = binary_backward(cpu_, DType::kF32, function, p, values, shards);
      std::vector<Values> a;
      std::vector<Values> b;
      std::int64_t first = 0;
      for (const std::int64_t rows : shards) {
        const Gradients alone = binary_backward(
            cpu_, DType::kF32, function, {with_rows(p.a, rows), with_rows(p.b, rows)},
            {rows_of(values[0], p.a, first, rows), rows_of(values[1], p.b, first, rows),
             rows_of(values[2], p.y(), first, rows)});
        a.push_back(alone.a);
        b.push_back(alone.b);
        first += rows;
      }
      const bool sums_a = p.a[0] == 1;
      EXPECT_EQ(sums_a ? together.a : together.b, tree(sums_a ? a : b)) << name_of(function);
      Values rows;
      for (const Values& part : sums_a ? b : a) {
        rows.insert(rows.end(), part.begin(), part.end());
      }
      EXPECT_EQ(sums_a ? together.b : together.a, rows) << name_of(function);
    }
  }
}

TEST_F(MapConformance, OneSumOverAllShardsWouldBeAnother) {
  const Pair p{{1, 1, 300}, {9, 5, 300}};
  const std::array<Values, 3> values = {some(p.a, 1), some(p.b, 2),
                                        random_values(p.y().elements(), RngKey(3))};
  const std::vector<std::int64_t> shards = {3, 1, 0, 5};
  EXPECT_NE(binary_backward(cpu_, DType::kF32, F::kMultiply, p, values, shards).a,
            binary_backward(cpu_, DType::kF32, F::kMultiply, p, values).a);
}

Values permute(const Workbench& bench, std::span<const int> axes, const Shape& shape,
               const Values& x) {
  const Result y(bench, permuted("test", shape, axes), DType::kF32, 1);
  bench.device().pointwise().permute(bench.queue(), axes,
                                     bench.tensor(shape, x, DType::kF32).cview(), y.view());
  return y.values();
}

TEST_F(MapConformance, EveryPermutation) {
  for (const Shape& shape : {Shape{}, Shape{5}, Shape{0, 3}, Shape{40, 70}, Shape{3, 1, 35},
                             Shape{2, 3, 4, 5}, Shape{1, 33, 2, 34}, Shape{2, 1, 3, 2, 4, 3}}) {
    std::vector<int> axes(static_cast<std::size_t>(shape.rank()));
    std::iota(axes.begin(), axes.end(), 0);
    const Values x = random_values(shape.elements(), RngKey(1));
    bool more = true;
    while (more) {
      EXPECT_EQ(permute(cpu_, axes, shape, x), permute(reference_, axes, shape, x))
          << shape.str() << ::testing::PrintToString(axes);
      more = std::ranges::next_permutation(axes).found;
    }
  }
}

/// Terms in memory of their own.
struct Terms {
  std::int64_t from;
  std::vector<std::int32_t> begins, sources;
  std::vector<float> weights;
  float fill = 0;

  [[nodiscard]] AxisTerms view() const { return {from, begins, sources, weights, fill}; }
};

const Terms kTerms[] = {
    {1, {0, 1}, {0}, {1}},                                          // itself
    {4, {0, 0, 1, 2, 3, 4, 4, 4}, {0, 1, 2, 3}, {1, 1, 1, 1}, -2},  // padding
    {6, {0, 1, 2, 3}, {4, 2, 0}, {1, 1, 1}},                        // every other one, backwards
    {5, {0, 1, 2, 3, 4}, {1, 1, 2, 2}, {1, 1, 1, 1}},               // repeated
    {5, {0, 5}, {0, 1, 2, 3, 4}, {0.2F, 0.2F, 0.2F, 0.2F, 0.2F}},   // mean
    {3, {0, 2, 3, 6, 6, 7}, {0, 1, 2, 2, 0, 2, 1}, {0.5F, -2, 1, 3, 0.25F, 1, 0.3F}, 7}};

Values axis_map(const Workbench& bench, DType dtype, const Terms& terms, const Shape& shape,
                const Values& x) {
  const Result y(bench, {shape[0], terms.view().to(), shape[2]}, dtype, 1);
  bench.device().pointwise().axis_map(bench.queue(), terms.view(),
                                      bench.tensor(shape, x, dtype).cview(), y.view());
  return y.values();
}

Values axis_map_backward(const Workbench& bench, DType dtype, const Terms& terms,
                         const Shape& shape, const Values& dy) {
  const Result dx(bench, shape, dtype, 1);
  bench.device().pointwise().axis_map_backward(
      bench.queue(), terms.view(),
      bench.tensor({shape[0], terms.view().to(), shape[2]}, dy, dtype).cview(), dx.view());
  return dx.values();
}

TEST_F(MapConformance, AxisMaps) {
  for (const Terms& terms : kTerms) {
    for (const auto& [outer, inner] : {std::pair(1, 1), std::pair(3, 1), std::pair(2, 3),
                                       std::pair(2, 37), std::pair(0, 4), std::pair(2, 0)}) {
      const Shape shape{outer, terms.from, inner};
      const Shape after{outer, terms.view().to(), inner};
      const Values x = random_values(shape.elements(), RngKey(1));
      const Values dy = random_values(after.elements(), RngKey(2));
      EXPECT_TRUE(within(3e-7, after, axis_map(cpu_, DType::kF32, terms, shape, x),
                         axis_map(reference_, DType::kF64, terms, shape, x),
                         Values(static_cast<std::size_t>(after.elements()), 7)))
          << shape.str();
      EXPECT_TRUE(within(3e-7, shape, axis_map_backward(cpu_, DType::kF32, terms, shape, dy),
                         axis_map_backward(reference_, DType::kF64, terms, shape, dy),
                         Values(static_cast<std::size_t>(shape.elements()), 7)))
          << shape.str();
    }
  }
}

TEST_F(MapConformance, AMapOfOneRowAmongOthersHasTheSameBits) {
  const Terms& terms = kTerms[5];
  const Values x = random_values(4 * 3 * 37, RngKey(1));
  const Values together = axis_map(cpu_, DType::kF32, terms, {4, 3, 37}, x);
  const Values alone = axis_map(cpu_, DType::kF32, terms, {1, 3, 37}, {x.end() - 3 * 37, x.end()});
  EXPECT_EQ(Values(together.end() - 5 * 37, together.end()), alone);
  for (std::ptrdiff_t i = 0; i < 37; ++i) {  // a column is another position in the vector
    const auto at = [&](std::ptrdiff_t row) { return x[static_cast<std::size_t>(row * 37 + i)]; };
    EXPECT_EQ(axis_map(cpu_, DType::kF32, terms, {1, 3, 1}, {at(9), at(10), at(11)})[2],
              alone[static_cast<std::size_t>(2 * 37 + i)]);
  }
}

Values softmax(const Workbench& bench, DType dtype, bool log, const Shape& shape, const Values& x) {
  const Result y(bench, shape, dtype, 1);
  bench.device().pointwise().softmax(bench.queue(), log, bench.tensor(shape, x, dtype).cview(),
                                     y.view());
  return y.values();
}

Values softmax_backward(const Workbench& bench, DType dtype, bool log, const Shape& shape,
                        const Values& y, const Values& dy) {
  const Result dx(bench, shape, dtype, 1);
  bench.device().pointwise().softmax_backward(bench.queue(), log,
                                              bench.tensor(shape, y, dtype).cview(),
                                              bench.tensor(shape, dy, dtype).cview(), dx.view());
  return dx.values();
}

TEST_F(MapConformance, Softmax) {
  for (const Shape& shape : {Shape{1}, Shape{3, 1}, Shape{7}, Shape{0, 4}, Shape{2, 3, 10},
                             Shape{5, 16}, Shape{2, 1003}}) {
    const Values x = random_values(shape.elements(), RngKey(1), -30, 30);
    const Values dy = random_values(shape.elements(), RngKey(2));
    for (const bool log : {false, true}) {
      const Values expected = softmax(reference_, DType::kF64, log, shape, x);
      // Differences of numbers of up to 60 are rounded, then exponentials taken of them.
      const Values magnitude = log ? Values(x.size(), 60) : test::absolute(expected);
      EXPECT_TRUE(within(log ? 3e-7 : 3e-6, shape, softmax(cpu_, DType::kF32, log, shape, x),
                         expected, magnitude))
          << shape.str() << log;
      const Values y = softmax(cpu_, DType::kF32, log, shape, x);
      // The sum has up to 1003 terms of 1, which cancel.
      EXPECT_TRUE(within(1e-6, shape, softmax_backward(cpu_, DType::kF32, log, shape, y, dy),
                         softmax_backward(reference_, DType::kF64, log, shape, y, dy),
                         Values(x.size(), 4)))
          << shape.str() << log;
    }
  }
}

class MapRules : public test::OnBothDevices {};

INSTANTIATE_TEST_SUITE_P(Devices, MapRules,
                         ::testing::Values(&test::cpu_device, &test::reference_device),
                         test::name_of_device);

TEST_P(MapRules, TiesGiveHalfToEach) {
  const Pair p{{3}, {3}};
  for (const F function : {F::kMaximum, F::kMinimum}) {
    const Gradients by =
        binary_backward(bench_, DType::kF32, function, p, {{{1, 2, 3}, {3, 2, 1}, {4, 4, 4}}});
    EXPECT_THAT(function == F::kMaximum ? by.b : by.a, ElementsAre(4, 2, 0));
    EXPECT_THAT(function == F::kMaximum ? by.a : by.b, ElementsAre(0, 2, 4));
  }
}

TEST_P(MapRules, NanIsNotLostFromEitherSide) {
  const Pair p{{2}, {2}};
  for (const F function : kFunctions) {
    EXPECT_THAT(binary(bench_, DType::kF32, function, p, {kNan, 1}, {1, kNan}),
                ::testing::Each(IsNan()))
        << name_of(function);
  }
  for (const F function : {F::kMaximum, F::kMinimum}) {
    const Gradients by =
        binary_backward(bench_, DType::kF32, function, p, {{{kNan, 1}, {1, kNan}, {3, 5}}});
    EXPECT_THAT(by.a, ElementsAre(3, 5));
    EXPECT_THAT(by.b, ElementsAre(3, 5));
  }
}

TEST_P(MapRules, NanOfARowStaysInIt) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const bool log : {false, true}) {
    const Values y = softmax(bench_, DType::kF32, log, {4, 2},
                             {kNan, 1, 2, 2, -infinity, -infinity, -infinity, 3});
    EXPECT_THAT(Values(y.begin(), y.begin() + 2), ::testing::Each(IsNan()));
    const double half = log ? std::log(0.5) : 0.5;
    EXPECT_NEAR(y[2], half, 1e-6);
    EXPECT_NEAR(y[3], half, 1e-6);
    EXPECT_THAT(Values(y.begin() + 4, y.begin() + 6), ::testing::Each(IsNan()));
    EXPECT_EQ(y[6], log ? -infinity : 0);
    EXPECT_EQ(y[7], log ? 0 : 1);
  }
}

TEST_P(MapRules, MapsKeepNanAndTouchOnlyTheirSources) {
  const Values y = axis_map(bench_, DType::kF32, kTerms[5], {1, 3, 1}, {kNan, 2, 4});
  EXPECT_THAT(y[0], IsNan());
  EXPECT_EQ(y[1], 4);
  EXPECT_THAT(y[2], IsNan());
  EXPECT_EQ(y[3], 7) << "filled";
  EXPECT_THAT(axis_map(bench_, DType::kF32, kTerms[1], {1, 4, 1}, {1, 2, 3, 4}),
              ElementsAre(-2, 1, 2, 3, 4, -2, -2));
  EXPECT_THAT(axis_map_backward(bench_, DType::kF32, kTerms[2], {1, 6, 1}, {1, 2, 3}),
              ElementsAre(3, 0, 2, 0, 1, 0));
}

}  // namespace
}  // namespace gentrain
