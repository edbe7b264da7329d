// Dense layers of the CPU backend against the reference over odd extents. Bounds are relative to
// the sum of the absolute terms.
#include <algorithm>
#include <array>
#include <numeric>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/matmul.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::absolute;
using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using Values = std::vector<double>;

constexpr double kSumBound = 1.5e-6;
constexpr double kActivationBound = 4e-7;

struct Extents {
  std::int64_t n, k, m;
};

/// The routines of one device on one set of operands.
class Linear {
 public:
  Linear(const Workbench& bench, DType dtype, Extents e, bool magnitudes)
      : bench_(bench), dtype_(dtype), e_(e) {
    const auto make = [&](const Shape& shape, std::uint64_t key) {
      const Values values = random_values(shape.elements(), RngKey(key));
      return bench.tensor(shape, magnitudes ? absolute(values) : values, dtype);
    };
    x_ = make({e.n, e.k}, 1);
    w_ = make({e.m, e.k}, 2);
    bias_ = make({e.m}, 3);
    dy_ = make({e.n, e.m}, 4);
  }

  Values forward(Activation activation, bool with_bias) const {
    const Result y(bench_, {e_.n, e_.m}, dtype_);
    kernels().linear_forward(bench_.queue(), x_.cview(), w_.weights(),
                             with_bias ? bias_.cview() : ConstView{}, activation, y.view(),
                             shards_);
    return y.values();
  }
  Values backward_data() const {
    const Result dx(bench_, {e_.n, e_.k}, dtype_);
    kernels().linear_backward_data(bench_.queue(), dy_.cview(), w_.weights(), dx.view(), shards_);
    return dx.values();
  }
  struct Gradients {
    Values dw, dbias;
  };
  Gradients backward_weights(bool with_bias) const {
    const Result dw(bench_, {e_.m, e_.k}, dtype_);
    const Result dbias(bench_, {e_.m}, dtype_);
    kernels().linear_backward_weights(bench_.queue(), x_.cview(), dy_.cview(), dw.view(),
                                      with_bias ? dbias.view() : View{}, shards_);
    return {dw.values(), dbias.values()};
  }
  /// The same rows, of several shards side by side from now on.
  void set_shards(const std::vector<std::int64_t>& rows) { shards_ = rows; }
  /// `count` of the rows alone, from row `first` on.
  [[nodiscard]] Linear part(std::int64_t first, std::int64_t count) const {
    Linear part = *this;
    part.e_.n = count;
    part.x_ = x_.slice(first * e_.k, {count, e_.k});
    part.dy_ = dy_.slice(first * e_.m, {count, e_.m});
    part.shards_.clear();
    return part;
  }
  [[nodiscard]] const Tensor& w() const { return w_; }

 private:
  [[nodiscard]] MatmulKernels& kernels() const { return bench_.device().matmul(); }

  const Workbench& bench_;
  DType dtype_;
  Extents e_;
  std::vector<std::int64_t> shards_;
  Tensor x_, w_, bias_, dy_;
};

class LinearConformance : public ::testing::TestWithParam<Extents> {
 protected:
  const Extents e_ = GetParam();
  Workbench cpu_bench_{test::cpu_device()};
  Workbench reference_bench_{test::reference_device()};
  Linear cpu_{cpu_bench_, DType::kF32, e_, false};
  Linear reference_{reference_bench_, DType::kF64, e_, false};
  Linear magnitude_{reference_bench_, DType::kF64, e_, true};
};

TEST_P(LinearConformance, Forward) {
  constexpr std::array kActivations{Activation::kNone, Activation::kTanh, Activation::kRelu,
                                    Activation::kSigmoid};
  for (const bool with_bias : {true, false}) {
    const Values sums = magnitude_.forward(Activation::kNone, with_bias);
    for (const Activation activation : kActivations) {
      const Values expected = reference_.forward(activation, with_bias);
      Values magnitude = sums;
      for (std::size_t i = 0; i < magnitude.size(); ++i) {
        magnitude[i] += std::abs(expected[i]) * kActivationBound / kSumBound;
      }
      EXPECT_TRUE(
          within(kSumBound, {e_.n, e_.m}, cpu_.forward(activation, with_bias), expected, magnitude))
          << name_of(activation) << (with_bias ? " with bias" : " without bias");
    }
  }
}

TEST_P(LinearConformance, BackwardData) {
  EXPECT_TRUE(within(kSumBound, {e_.n, e_.k}, cpu_.backward_data(), reference_.backward_data(),
                     magnitude_.backward_data()));
}

TEST_P(LinearConformance, BackwardWeights) {
  const Linear::Gradients actual = cpu_.backward_weights(true);
  const Linear::Gradients expected = reference_.backward_weights(true);
  const Linear::Gradients magnitude = magnitude_.backward_weights(true);
  EXPECT_TRUE(within(kSumBound, {e_.m, e_.k}, actual.dw, expected.dw, magnitude.dw));
  EXPECT_TRUE(within(kSumBound, {e_.m}, actual.dbias, expected.dbias, magnitude.dbias));
  EXPECT_EQ(cpu_.backward_weights(false).dw, actual.dw);
}

TEST_P(LinearConformance, RepeatsItsBits) {
  EXPECT_EQ(cpu_.forward(Activation::kTanh, true), cpu_.forward(Activation::kTanh, true));
  EXPECT_EQ(cpu_.backward_data(), cpu_.backward_data());
  EXPECT_EQ(cpu_.backward_weights(true).dw, cpu_.backward_weights(true).dw);
}

TEST_P(LinearConformance, NewWeightsAreUsedAtOnce) {
  for (const bool versioned : {true, false}) {
    const Linear layer(cpu_bench_, DType::kF32, e_, false);
    if (versioned) {
      layer.w().buffer().mark_changed();
    }
    Values expected = layer.forward(Activation::kNone, false);
    Values dx_expected = layer.backward_data();
    Values doubled = cpu_bench_.values(layer.w());
    for (Values* values : {&expected, &dx_expected, &doubled}) {
      for (double& value : *values) {
        value *= 2;
      }
    }
    const std::vector<float> weights(doubled.begin(), doubled.end());
    copy_from_host<float>(cpu_bench_.device(), cpu_bench_.queue(), weights, layer.w());
    if (versioned) {
      layer.w().buffer().mark_changed();
    }
    EXPECT_EQ(layer.forward(Activation::kNone, false), expected) << versioned;
    EXPECT_EQ(layer.backward_data(), dx_expected) << versioned;
  }
}

// The last two are too large for the own kernel: forward with few rows, and backward.
INSTANTIATE_TEST_SUITE_P(
    Extents, LinearConformance,
    ::testing::Values(Extents{1, 1, 1}, Extents{1, 3, 17}, Extents{3, 17, 1}, Extents{17, 1, 3},
                      Extents{5, 192, 100}, Extents{19, 100, 10}, Extents{33, 31, 65},
                      Extents{128, 17, 3}, Extents{3, 1024, 300}, Extents{40, 300, 500}),
    [](const auto& info) {
      return fmt::format("n{}_k{}_m{}", info.param.n, info.param.k, info.param.m);
    });

using Rows = std::vector<std::int64_t>;

struct SideBySide {
  const char* name;
  Rows rows;
  std::int64_t k, m;
};

std::int64_t total(const Rows& rows) {
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

Values float_sum(const Values& a, const Values& b) {
  Values sum(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum[i] = static_cast<float>(a[i]) + static_cast<float>(b[i]);
  }
  return sum;
}

class ShardsSideBySide : public ::testing::TestWithParam<SideBySide> {
 protected:
  ShardsSideBySide() {
    std::int64_t first = 0;
    for (const std::int64_t rows : GetParam().rows) {
      if (rows > 0) {
        const Linear alone = all_.part(first, rows);
        append(alone.forward(Activation::kSigmoid, true), forward_);
        append(alone.backward_data(), backward_data_);
        gradients_.push_back(alone.backward_weights(true));
      } else {
        gradients_.push_back({Values(static_cast<std::size_t>(e_.m * e_.k)),
                              Values(static_cast<std::size_t>(e_.m))});
      }
      first += rows;
    }
  }

  static void append(const Values& values, Values& all) {
    all.insert(all.end(), values.begin(), values.end());
  }

  /// The tree over the shards [first, last).
  [[nodiscard]] Linear::Gradients tree_sum(std::size_t first, std::size_t last) const {
    if (last - first == 1) {
      return gradients_[first];
    }
    const std::size_t middle = (first + last) / 2;
    const Linear::Gradients left = tree_sum(first, middle);
    const Linear::Gradients right = tree_sum(middle, last);
    return {float_sum(left.dw, right.dw), float_sum(left.dbias, right.dbias)};
  }

  [[nodiscard]] Linear together(const Rows& rows) const {
    Linear linear = all_;
    linear.set_shards(rows);
    return linear;
  }

  const Extents e_{total(GetParam().rows), GetParam().k, GetParam().m};
  Workbench bench_{test::cpu_device()};
  Workbench reference_bench_{test::reference_device()};
  Linear all_{bench_, DType::kF32, e_, false};
  Values forward_, backward_data_;  // of the shards by themselves
  std::vector<Linear::Gradients> gradients_;
};

TEST_P(ShardsSideBySide, HaveTheBitsOfEachAlone) {
  const Linear linear = together(GetParam().rows);
  EXPECT_EQ(linear.forward(Activation::kSigmoid, true), forward_);
  EXPECT_EQ(linear.backward_data(), backward_data_);
  const Linear::Gradients actual = linear.backward_weights(true);
  const Linear::Gradients expected = tree_sum(0, gradients_.size());
  EXPECT_EQ(actual.dw, expected.dw);
  EXPECT_EQ(actual.dbias, expected.dbias);
  EXPECT_EQ(linear.backward_weights(false).dw, expected.dw);
}

/// The same rows cut in another way are another sum.
TEST_P(ShardsSideBySide, AnotherCutIsAnotherSum) {
  Rows moved = GetParam().rows;
  std::rotate(moved.begin(), moved.begin() + 1, moved.end());
  if (moved == GetParam().rows) {
    moved[0] -= 1;
    moved[1] += 1;
  }
  const Linear::Gradients other = together(moved).backward_weights(true);
  const Linear::Gradients own = together(GetParam().rows).backward_weights(true);
  EXPECT_NE(other.dw, own.dw);
}

TEST_P(ShardsSideBySide, AgreeWithTheReference) {
  Linear reference(reference_bench_, DType::kF64, e_, false);
  Linear magnitude(reference_bench_, DType::kF64, e_, true);
  reference.set_shards(GetParam().rows);
  magnitude.set_shards(GetParam().rows);
  const Linear::Gradients actual = together(GetParam().rows).backward_weights(true);
  const Linear::Gradients expected = reference.backward_weights(true);
  const Linear::Gradients bound = magnitude.backward_weights(true);
  EXPECT_TRUE(within(kSumBound, {e_.m, e_.k}, actual.dw, expected.dw, bound.dw));
  EXPECT_TRUE(within(kSumBound, {e_.m}, actual.dbias, expected.dbias, bound.dbias));
}

// Few rows, the usual, uneven shards, empty ones; in the last two some or all shards ask for
// oneDNN's products.
INSTANTIATE_TEST_SUITE_P(Cuts, ShardsSideBySide,
                         ::testing::Values(SideBySide{"two", {2, 1}, 3, 17},
                                           SideBySide{"four", {4, 4, 4, 4}, 65, 33},
                                           SideBySide{"eight", {6, 6, 6, 7, 6, 6, 6, 7}, 100, 40},
                                           SideBySide{"empty", {1, 0, 3, 0, 0, 0, 2, 1}, 20, 9},
                                           SideBySide{"many", Rows(64, 2), 31, 16},
                                           SideBySide{"mixed", {16, 1, 70, 3}, 300, 380},
                                           SideBySide{"large", {5, 40, 3, 33}, 700, 500}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace gentrain
