// Pooling of the CPU backend against the reference over odd shapes. Max pooling moves values: it
// must agree exactly.
#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "kernels/pool.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::random_values;
using test::Result;
using test::within;
using test::Workbench;
using Values = std::vector<double>;

/// Sums of at most a window's number of f32 terms, relative to the sum of the absolute terms.
constexpr double kSumBound = 1e-6;

struct Case {
  const char* name;
  PoolGeometry g;
};

/// The routines of one device on one set of operands.
class Pool {
 public:
  Pool(const Workbench& bench, DType dtype, const PoolGeometry& g, const Values& x,
       const Values& dy)
      : bench_(bench),
        dtype_(dtype),
        g_(g),
        x_(bench.tensor(g.x_shape(), x, dtype)),
        dy_(bench.tensor(g.y_shape(), dy, dtype)) {}

  struct Max {
    Values y, argmax;
  };
  Max max_forward() const {
    const Result y(bench_, g_.y_shape(), dtype_);
    const Result argmax(bench_, g_.y_shape(), DType::kU8);
    kernels().max_forward(bench_.queue(), g_, x_.cview(), y.view(), argmax.view());
    return {y.values(), argmax.values()};
  }
  Values max_backward(const Values& argmax) const {
    const Result dx(bench_, g_.x_shape(), dtype_);
    const Tensor positions = bench_.tensor(g_.y_shape(), argmax, DType::kU8);
    kernels().max_backward(bench_.queue(), g_, dy_.cview(), positions.cview(), dx.view());
    return dx.values();
  }
  Values average_forward() const {
    const Result y(bench_, g_.y_shape(), dtype_);
    kernels().average_forward(bench_.queue(), g_, x_.cview(), y.view());
    return y.values();
  }
  Values average_backward() const {
    const Result dx(bench_, g_.x_shape(), dtype_);
    kernels().average_backward(bench_.queue(), g_, dy_.cview(), dx.view());
    return dx.values();
  }

 private:
  [[nodiscard]] PoolKernels& kernels() const { return bench_.device().pool(); }

  const Workbench& bench_;
  DType dtype_;
  PoolGeometry g_;
  Tensor x_, dy_;
};

class PoolConformance : public ::testing::TestWithParam<Case> {
 protected:
  const PoolGeometry g_ = GetParam().g;
  const Values x_ = random_values(g_.x_shape().elements(), RngKey(1));
  const Values dy_ = random_values(g_.y_shape().elements(), RngKey(2));
  Workbench cpu_bench_{test::cpu_device()};
  Workbench reference_bench_{test::reference_device()};
  Pool cpu_{cpu_bench_, DType::kF32, g_, x_, dy_};
  Pool reference_{reference_bench_, DType::kF64, g_, x_, dy_};
  Pool magnitude_{reference_bench_, DType::kF64, g_, test::absolute(x_), test::absolute(dy_)};
};

TEST_P(PoolConformance, MaxForward) {
  const Pool::Max actual = cpu_.max_forward();
  const Pool::Max expected = reference_.max_forward();
  EXPECT_EQ(actual.y, expected.y);
  EXPECT_EQ(actual.argmax, expected.argmax);
}

TEST_P(PoolConformance, MaxForwardWithTies) {
  Values ties = x_;
  for (double& value : ties) {
    value = value > 0 ? 1 : 0;
  }
  const Pool cpu(cpu_bench_, DType::kF32, g_, ties, dy_);
  const Pool reference(reference_bench_, DType::kF64, g_, ties, dy_);
  EXPECT_EQ(cpu.max_forward().argmax, reference.max_forward().argmax);
}

TEST_P(PoolConformance, MaxForwardWithNan) {
  Values some = x_;
  for (std::size_t i = 0; i < some.size(); i += 1 + i % 3) {
    some[i] = std::nan("");
  }
  const Pool::Max actual = Pool(cpu_bench_, DType::kF32, g_, some, dy_).max_forward();
  const Pool::Max expected = Pool(reference_bench_, DType::kF64, g_, some, dy_).max_forward();
  EXPECT_EQ(actual.argmax, expected.argmax);
  EXPECT_TRUE(within(0, g_.y_shape(), actual.y, expected.y));
}

TEST_P(PoolConformance, MaxBackward) {
  const Values argmax = reference_.max_forward().argmax;
  EXPECT_TRUE(within(kSumBound, g_.x_shape(), cpu_.max_backward(argmax),
                     reference_.max_backward(argmax), magnitude_.max_backward(argmax)));
}

TEST_P(PoolConformance, AverageForward) {
  EXPECT_TRUE(within(kSumBound, g_.y_shape(), cpu_.average_forward(), reference_.average_forward(),
                     magnitude_.average_forward()));
}

TEST_P(PoolConformance, AverageBackward) {
  EXPECT_TRUE(within(kSumBound, g_.x_shape(), cpu_.average_backward(),
                     reference_.average_backward(), magnitude_.average_backward()));
}

using Extents = std::array<std::int64_t, 2>;  // h, w

/// Images {n, h, w, c}; padding {top, bottom, left, right}.
PoolGeometry pool(std::array<std::int64_t, 4> x, Extents window, Extents stride,
                  std::array<std::int64_t, 4> padding = {}) {
  return {.n = x[0],
          .h = x[1],
          .w = x[2],
          .c = x[3],
          .kh = window[0],
          .kw = window[1],
          .stride_h = stride[0],
          .stride_w = stride[1],
          .top = padding[0],
          .bottom = padding[1],
          .left = padding[2],
          .right = padding[3]};
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, PoolConformance,
    ::testing::Values(Case{"one_pixel", pool({1, 1, 1, 1}, {1, 1}, {1, 1})},
                      Case{"one_pixel_padded", pool({2, 1, 1, 3}, {3, 3}, {1, 1}, {1, 1, 1, 1})},
                      Case{"k2_c1", pool({2, 6, 8, 1}, {2, 2}, {2, 2})},
                      Case{"k2_c3_odd", pool({3, 7, 5, 3}, {2, 2}, {2, 2})},
                      Case{"k2_c17", pool({2, 4, 4, 17}, {2, 2}, {2, 2})},
                      Case{"k3_overlap_c17", pool({1, 6, 7, 17}, {3, 3}, {1, 1})},
                      Case{"k3_stride2_c16", pool({2, 9, 9, 16}, {3, 3}, {2, 2})},
                      Case{"k3_same", pool({1, 5, 6, 3}, {3, 3}, {1, 1}, {1, 1, 1, 1})},
                      Case{"k5_uneven", pool({1, 8, 9, 33}, {5, 3}, {3, 2}, {2, 1, 0, 2})},
                      Case{"window_is_image", pool({2, 8, 8, 24}, {8, 8}, {8, 8})},
                      Case{"stride_beyond_window", pool({1, 10, 10, 9}, {2, 1}, {3, 4})},
                      Case{"largest_window", pool({1, 15, 17, 5}, {15, 17}, {1, 1})}),
    [](const auto& info) { return std::string(info.param.name); });

class PoolRules : public test::OnBothDevices {};

INSTANTIATE_TEST_SUITE_P(Devices, PoolRules,
                         ::testing::Values(&test::cpu_device, &test::reference_device),
                         test::name_of_device);

TEST_P(PoolRules, TheFirstNanOfAWindowWins) {
  const double nan = std::nan("");
  const Values windows = {nan, 3, nan, 1, 3, nan, 1, nan, 1, 2, 3, nan, 1, 2, 4, 3};
  // Each row of windows is an image of 2 x 2 pixels.
  const PoolGeometry g = pool({4, 2, 2, 1}, {2, 2}, {2, 2});
  const Pool::Max result = Pool(bench_, DType::kF32, g, windows, Values(4, 0)).max_forward();
  EXPECT_EQ(result.argmax, (Values{0, 1, 3, 2}));
  EXPECT_TRUE(within(0, g.y_shape(), result.y, Values{nan, nan, nan, 4}));
}

}  // namespace
}  // namespace gentrain
