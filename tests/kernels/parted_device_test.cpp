// Operations that are cut into parts: each against the whole one, on both devices, whoever runs the
// parts.
#include "kernels/parted_device.h"

#include <array>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/pointwise.h"
#include "kernels/row_parts.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using test::message_of;
using test::Workbench;

void in_order(int parts, const std::function<void(int)>& part) {
  for (int i = 0; i < parts; ++i) {
    part(i);
  }
}

void at_once(int parts, const std::function<void(int)>& part) {
  std::vector<std::jthread> threads;
  for (int i = parts - 1; i >= 0; --i) {
    threads.emplace_back([&part, i] { part(i); });
  }
}

/// Appends the geometry, if it has a result, and those with groups and with dilation.
void add_with_variants(std::vector<ConvGeometry>& all, const ConvGeometry& plain) {
  for (const std::int64_t groups : {1, 2}) {
    for (const std::int64_t dilation : {1, 2}) {
      ConvGeometry g = plain;
      g.groups = groups;
      g.dilation_h = dilation;
      if (g.h + g.top + g.bottom >= g.covered_h()) {
        all.push_back(g);
      }
    }
  }
}

std::vector<ConvGeometry> conv_geometries() {
  std::vector<ConvGeometry> all;
  for (const std::int64_t h : {2, 5, 9, 40}) {
    for (const std::int64_t kernel : {1, 2, 3, 5}) {
      for (const std::int64_t stride : {1, 2, 3}) {
        for (const std::int64_t top : {0, 1, 2}) {
          for (const std::int64_t bottom : {0, 2}) {
            ConvGeometry g{.n = 1, .h = h, .w = 5, .c = 2, .oc = 4, .kh = kernel, .kw = 3};
            g.stride_h = stride;
            g.top = top;
            g.bottom = bottom;
            g.left = 1;
            add_with_variants(all, g);
          }
        }
      }
    }
  }
  return all;
}

/// What a device makes of a convolution, forward and of the gradient of its image.
std::array<std::vector<double>, 2> convolved(Device& device, Workbench& bench,
                                             const ConvGeometry& g, DType dtype) {
  const Tensor x = bench.random(g.x_shape(), RngKey(1), dtype);
  const Tensor w = bench.random(g.w_shape(), RngKey(2), dtype);
  const Tensor bias = bench.random({g.oc}, RngKey(3), dtype);
  const Tensor dy = bench.random(g.y_shape(), RngKey(4), dtype);
  const Tensor y = bench.full(g.y_shape(), 7, dtype);
  const Tensor dx = bench.full(g.x_shape(), 7, dtype);
  device.conv().forward(bench.queue(), g, x.cview(), w.weights(), bias.cview(), Activation::kRelu,
                        y.view());
  device.conv().backward_data(bench.queue(), g, dy.cview(), w.weights(), dx.view());
  return {bench.values(y), bench.values(dx)};
}

TEST(PartedConv, IsTheWholeOneForAllGeometries) {
  Workbench bench(test::reference_device());
  int cut = 0;
  for (const int parts : {2, 3}) {
    const auto device = make_parted_device(bench.device(), parts, in_order);
    for (const ConvGeometry& g : conv_geometries()) {
      const auto whole = convolved(bench.device(), bench, g, DType::kF64);
      const auto parted = convolved(*device, bench, g, DType::kF64);
      for (const std::size_t i : {0U, 1U}) {
        ASSERT_EQ(parted[i].size(), whole[i].size());
        for (std::size_t k = 0; k < whole[i].size(); ++k) {
          ASSERT_NEAR(parted[i][k], whole[i][k], 1e-12)
              << (i == 0 ? "forward of " : "backward of ") << g.x_shape().str() << " kernel "
              << g.kh << " stride " << g.stride_h << " padding " << g.top << " " << g.bottom
              << " groups " << g.groups << " dilation " << g.dilation_h;
        }
      }
      cut += forward_parts(g, parts).empty() || backward_parts(g, parts).empty() ? 0 : 1;
    }
  }
  EXPECT_GT(cut, 200);
}

TEST(PartedConv, HasTheSameBytesWhoeverRunsTheParts) {
  Workbench bench(test::cpu_device());
  ConvGeometry g{.n = 1, .h = 37, .w = 29, .c = 32, .oc = 32, .kh = 3, .kw = 3};
  g.top = g.bottom = g.left = g.right = 1;
  const auto whole = convolved(bench.device(), bench, g, DType::kF32);
  const auto one =
      convolved(*make_parted_device(bench.device(), 3, in_order), bench, g, DType::kF32);
  const auto many =
      convolved(*make_parted_device(bench.device(), 3, at_once), bench, g, DType::kF32);
  EXPECT_EQ(one, many);
  for (const std::size_t i : {0U, 1U}) {
    for (std::size_t k = 0; k < whole[i].size(); ++k) {
      ASSERT_NEAR(one[i][k], whole[i][k], 1e-4) << i << " " << k;
    }
  }
}

TEST(PartedConv, LeavesWhatCannotBeCut) {
  ConvGeometry g{.n = 2, .h = 8, .w = 8, .c = 1, .oc = 1, .kh = 3, .kw = 3};
  EXPECT_TRUE(forward_parts(g, 2).empty());
  EXPECT_TRUE(backward_parts(g, 2).empty());
  g.n = 1;
  EXPECT_EQ(forward_parts(g, 2).size(), 2U);
  EXPECT_TRUE(forward_parts(g, 1).empty());
  EXPECT_TRUE(forward_parts(g, 7).empty());  // six rows
  Workbench bench(test::reference_device());
  const auto device = make_parted_device(bench.device(), 2, in_order);
  const Tensor small = bench.full({1, 3, 8, 1}, 1, DType::kF64);
  const Tensor w = bench.full(g.w_shape(), 1, DType::kF64);
  const Tensor y = bench.full(g.y_shape(), 1, DType::kF64);
  EXPECT_THROW(device->conv().forward(bench.queue(), g, small.cview(), w.weights(), {},
                                      Activation::kNone, y.view()),
               ShapeError);
}

/// Both poolings forward, and their gradients.
std::array<std::vector<double>, 5> pooled(Device& device, Workbench& bench, const PoolGeometry& g) {
  const Tensor x = bench.random(g.x_shape(), RngKey(1), DType::kF64);
  const Tensor dy = bench.random(g.y_shape(), RngKey(2), DType::kF64);
  const Tensor largest = bench.empty(g.y_shape(), DType::kF64);
  const Tensor argmax = bench.empty(g.y_shape(), DType::kU8);
  const Tensor mean = bench.empty(g.y_shape(), DType::kF64);
  const Tensor of_largest = bench.full(g.x_shape(), 7, DType::kF64);
  const Tensor of_mean = bench.full(g.x_shape(), 7, DType::kF64);
  device.pool().max_forward(bench.queue(), g, x.cview(), largest.view(), argmax.view());
  device.pool().max_backward(bench.queue(), g, dy.cview(), argmax.cview(), of_largest.view());
  device.pool().average_forward(bench.queue(), g, x.cview(), mean.view());
  device.pool().average_backward(bench.queue(), g, dy.cview(), of_mean.view());
  return {bench.values(largest), bench.values(argmax), bench.values(of_largest), bench.values(mean),
          bench.values(of_mean)};
}

TEST(PartedPool, IsTheWholeOneForAllGeometries) {
  Workbench bench(test::reference_device());
  int cut = 0;
  for (const int parts : {2, 3}) {
    const auto device = make_parted_device(bench.device(), parts, in_order);
    for (const std::int64_t h : {4, 7, 50}) {
      for (const std::int64_t window : {1, 2, 3}) {
        for (const std::int64_t stride : {1, 2, 3}) {
          for (const std::int64_t padding : {0, 1}) {
            PoolGeometry g{.n = 1, .h = h, .w = 6, .c = 2, .kh = window, .kw = 2};
            g.stride_h = stride;
            g.stride_w = 2;
            g.top = g.bottom = padding;
            if (padding >= window) {
              continue;
            }
            const auto whole = pooled(bench.device(), bench, g);
            ASSERT_EQ(pooled(*device, bench, g), whole)
                << h << " window " << window << " stride " << stride << " padding " << padding;
            cut += backward_parts(g, parts).empty() ? 0 : 1;
          }
        }
      }
    }
  }
  EXPECT_GT(cut, 10);
}

TEST(PartedElementwise, IsTheWholeOne) {
  Workbench bench(test::cpu_device());
  const auto device = make_parted_device(bench.device(), 3, at_once);
  const Shape shape{1, 100, 101, 7};  // more than 3 x 2^14 elements, in no multiple of 64
  const Tensor a = bench.random(shape, RngKey(1), DType::kF32);
  const Tensor b = bench.random(shape, RngKey(2), DType::kF32);
  const auto results = [&](Device& on) {
    ElementwiseKernels& kernels = on.elementwise();
    Queue& queue = bench.queue();
    std::vector<std::vector<double>> all;
    const auto keep = [&](const auto& kernel) {
      const Tensor y = bench.empty(shape, DType::kF32);
      kernel(y.view());
      all.push_back(bench.values(y));
    };
    keep([&](View y) { kernels.activate(queue, Activation::kRelu, a.cview(), y); });
    keep([&](View y) {
      kernels.activate_backward(queue, Activation::kTanh, a.cview(), b.cview(), y);
    });
    keep([&](View y) { kernels.leaky_relu(queue, 0.2, a.cview(), y); });
    keep([&](View y) { kernels.leaky_relu_backward(queue, 0.2, a.cview(), b.cview(), y); });
    keep([&](View y) { kernels.add_activate(queue, Activation::kRelu, a.cview(), b.cview(), y); });
    keep([&](View y) { kernels.add(queue, a.cview(), b.cview(), y); });
    keep([&](View y) { kernels.multiply(queue, a.cview(), b.cview(), y); });
    keep([&](View y) { kernels.scale(queue, 3, a.cview(), y); });
    keep([&](View y) { kernels.fill(queue, 3, y); });
    return all;
  };
  EXPECT_EQ(results(*device), results(bench.device()));
}

TEST(PartedPointwise, IsTheWholeOne) {
  Workbench bench(test::cpu_device());
  int turns = 0;
  const auto device = make_parted_device(bench.device(), 3, [&](int parts, const auto& part) {
    ++turns;
    at_once(parts, part);
  });
  const Shape shape{1, 100, 101, 7};
  const Tensor x = bench.random(shape, RngKey(1), DType::kF32);
  const Tensor dy = bench.random(shape, RngKey(2), DType::kF32);
  const auto results = [&](Device& on, PointwiseFunction function) {
    const PointwiseRule rule{.function = function, .a = 0.25, .b = 0.5};
    const Tensor y = bench.empty(shape, DType::kF32);
    const Tensor dx = bench.empty(shape, DType::kF32);
    on.pointwise().forward(bench.queue(), rule, x.cview(), y.view());
    on.pointwise().backward(bench.queue(), rule, x.cview(), dy.cview(), dx.view());
    return std::array{bench.values(y), bench.values(dx)};
  };
  for (const auto function : {PointwiseFunction::kAffine, PointwiseFunction::kClip,
                              PointwiseFunction::kMish, PointwiseFunction::kHardSwish}) {
    EXPECT_EQ(results(*device, function), results(bench.device(), function)) << name_of(function);
  }
  EXPECT_EQ(turns, 8);
  const Tensor half = bench.full({32768}, 1, DType::kF32);
  EXPECT_THROW(device->pointwise().forward(bench.queue(), {}, half.cview(), x.view()), ShapeError);
}

TEST(PartedElementwise, RefusesOtherNumbersOfElements) {
  Workbench bench(test::cpu_device());
  const auto device = make_parted_device(bench.device(), 2, in_order);
  const Tensor y = bench.full({65536}, 1, DType::kF32);
  const Tensor half = bench.full({32768}, 1, DType::kF32);
  EXPECT_THROW(device->elementwise().add(bench.queue(), y.cview(), half.cview(), y.view()),
               ShapeError);
}

TEST(PartedDevice, PassesOnWhatAPartThrows) {
  Workbench bench(test::cpu_device());
  const auto device = make_parted_device(bench.device(), 2, [](int, const auto& part) {
    part(0);
    throw std::runtime_error("part 1");
  });
  const Tensor y = bench.full({65536}, 1, DType::kF32);
  EXPECT_EQ(message_of<std::runtime_error>(
                [&] { device->elementwise().fill(bench.queue(), 0, y.view()); }),
            "part 1");
}

TEST(PartedDevice, RefusesOtherNumbersOfParts) {
  EXPECT_EQ(message_of<ShapeError>([] { make_parted_device(test::cpu_device(), 0, in_order); }),
            "an operation was to be cut into 0 parts: 1 to 64 can be");
  EXPECT_EQ(message_of<ShapeError>([] { make_parted_device(test::cpu_device(), 65, in_order); }),
            "an operation was to be cut into 65 parts: 1 to 64 can be");
}

TEST(RowParts, LieOnTilesWhereThereAreManyRows) {
  EXPECT_EQ(part_of_rows(600, 2, 0), (Rows{0, 300}));
  EXPECT_EQ(part_of_rows(75, 2, 0), (Rows{0, 36}));
  EXPECT_EQ(part_of_rows(75, 2, 1), (Rows{36, 75}));
  EXPECT_EQ(part_of_rows(9, 2, 1), (Rows{4, 9}));
}

TEST(RowParts, HaveTheRowsThatTheirWindowsReach) {
  ConvGeometry g{.n = 1, .h = 100, .w = 9, .c = 1, .oc = 1, .kh = 3, .kw = 3};
  g.top = g.bottom = 1;
  const auto forward = forward_parts(g, 2);
  ASSERT_EQ(forward.size(), 2U);
  EXPECT_EQ(forward[0].writes, (Rows{0, 48}));
  EXPECT_EQ(forward[0].reads, (Rows{0, 49}));
  EXPECT_EQ(forward[0].geometry.top, 1);
  EXPECT_EQ(forward[0].geometry.bottom, 0);
  EXPECT_EQ(forward[1].reads, (Rows{47, 100}));
  EXPECT_EQ(forward[1].geometry.bottom, 1);
  const auto backward = backward_parts(g, 2);
  ASSERT_EQ(backward.size(), 2U);
  EXPECT_EQ(backward[1].writes, (Rows{48, 100}));
  EXPECT_EQ(backward[1].reads, (Rows{47, 100}));
  EXPECT_EQ(backward[1].geometry.top, 2);
}

}  // namespace
}  // namespace gentrain
