// Primitives and reordered weights of the CPU backend: made once, shared by all threads, never a
// slow reference implementation.
#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/conv.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/weights_cache.h"
#include "kernels/error.h"
#include "kernels/matmul.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using test::message_of;
using test::Workbench;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Not;

ConvGeometry square(std::int64_t n, std::int64_t side, std::int64_t c, std::int64_t oc,
                    std::int64_t kernel) {
  return {.n = n, .h = side, .w = side, .c = c, .oc = oc, .kh = kernel, .kw = kernel};
}

ConvGeometry padded(ConvGeometry g, std::int64_t stride, std::int64_t padding) {
  g.stride_h = g.stride_w = stride;
  g.top = g.bottom = g.left = g.right = padding;
  return g;
}

/// One convolution in all three passes on tensors of its own.
struct Layer {
  const Workbench& bench;
  ConvGeometry g;
  Tensor x, w, bias, y, dx, dw, dbias;

  Layer(const Workbench& on, const ConvGeometry& geometry)
      : bench(on),
        g(geometry),
        x(on.random(g.x_shape(), RngKey(1), DType::kF32)),
        w(on.random(g.w_shape(), RngKey(2), DType::kF32)),
        bias(on.random({g.oc}, RngKey(3), DType::kF32)),
        y(on.random(g.y_shape(), RngKey(4), DType::kF32)),
        dx(on.empty(g.x_shape(), DType::kF32)),
        dw(on.empty(g.w_shape(), DType::kF32)),
        dbias(on.empty({g.oc}, DType::kF32)) {}

  void forward(std::uint64_t version) const {
    bench.device().conv().forward(bench.queue(), g, x.cview(), {w.cview(), version}, bias.cview(),
                                  Activation::kTanh, y.view());
  }
  void backward(std::uint64_t version) const {
    bench.device().conv().backward_data(bench.queue(), g, y.cview(), {w.cview(), version},
                                        dx.view());
    bench.device().conv().backward_weights(bench.queue(), g, x.cview(), y.cview(), dw.view(),
                                           dbias.view());
  }
};

class CpuWeights : public ::testing::Test {
 protected:
  [[nodiscard]] cpu::BackendStatistics statistics() const {
    return cpu::statistics_of(bench_.device());
  }

  Workbench bench_{test::cpu_device()};
};

ConvGeometry with(ConvGeometry g, std::int64_t groups, std::int64_t dilation) {
  g.groups = groups;
  g.dilation_h = g.dilation_w = dilation;
  return g;
}

TEST_F(CpuWeights, NoUsualLayerFallsToAReferenceImplementation) {
  for (const ConvGeometry& g :
       {square(2, 28, 1, 6, 5), square(2, 12, 6, 12, 5), padded(square(2, 28, 1, 6, 5), 1, 2),
        padded(square(1, 5, 3, 64, 3), 1, 1), padded(square(1, 5, 64, 64, 3), 1, 1),
        padded(square(1, 16, 12, 128, 3), 2, 1), square(1, 8, 192, 64, 1),
        padded(square(1, 12, 64, 3, 9), 1, 4), square(1, 15, 3, 32, 3),
        padded(square(1, 14, 3, 32, 7), 2, 3), padded(square(1, 5, 17, 13, 3), 1, 1),
        padded(square(1, 8, 48, 64, 5), 1, 2), with(padded(square(1, 8, 32, 32, 3), 2, 1), 32, 1),
        with(padded(square(1, 8, 8, 16, 3), 1, 1), 8, 1),
        with(padded(square(1, 8, 64, 64, 3), 1, 1), 16, 1), with(square(1, 8, 8, 6, 1), 2, 1),
        with(padded(square(1, 14, 64, 64, 3), 1, 2), 1, 2),
        with(padded(square(1, 14, 32, 32, 3), 1, 2), 32, 2)}) {
    const Layer layer(bench_, g);
    layer.forward(0);
    layer.backward(0);
  }
  // Dense layers: forward with few rows, and backward beyond the second cache.
  for (const auto& [n, k, m] :
       std::vector<std::array<std::int64_t, 3>>{{3, 1024, 300}, {40, 300, 500}}) {
    const Tensor x = bench_.random({n, k}, RngKey(1), DType::kF32);
    const Tensor w = bench_.random({m, k}, RngKey(2), DType::kF32);
    const Tensor y = bench_.random({n, m}, RngKey(3), DType::kF32);
    MatmulKernels& matmul = bench_.device().matmul();
    matmul.linear_forward(bench_.queue(), x.cview(), w.weights(), {}, Activation::kNone, y.view(),
                          {});
    matmul.linear_backward_data(bench_.queue(), y.cview(), w.weights(), x.view(), {});
    matmul.linear_backward_weights(bench_.queue(), x.cview(), y.cview(), w.view(), {}, {});
  }
  const std::vector<std::string> implementations = statistics().implementations;
  EXPECT_GE(implementations.size(), 38U);
  EXPECT_THAT(implementations, Contains(HasSubstr("matrix product: ")).Times(Ge(5)));
  EXPECT_THAT(implementations, Each(Not(HasSubstr(": ref"))));
}

TEST_F(CpuWeights, PrimitivesAreMadeOnce) {
  const Layer layer(bench_, padded(square(3, 9, 5, 8, 3), 1, 1));
  const std::size_t before = statistics().implementations.size();
  layer.forward(0);
  layer.backward(0);
  EXPECT_EQ(statistics().implementations.size(), before + 3);
  layer.forward(0);
  layer.backward(0);
  EXPECT_EQ(statistics().implementations.size(), before + 3);
  Layer other = layer;
  other.g.top = 0;
  other.g.bottom = 2;
  other.forward(0);
  EXPECT_EQ(statistics().implementations.size(), before + 4);
}

TEST_F(CpuWeights, GroupsAndDilationHavePrimitivesOfTheirOwn) {
  // With a stride of 4 the results have the same extents.
  const ConvGeometry g = padded(square(3, 10, 8, 8, 3), 4, 0);
  const Layer plain(bench_, g);
  plain.forward(0);
  const std::vector<double> expected = bench_.values(plain.y);
  const std::size_t before = statistics().implementations.size();
  Layer dilated = plain;
  dilated.g = with(g, 1, 2);
  dilated.forward(0);
  EXPECT_NE(bench_.values(dilated.y), expected);
  EXPECT_EQ(statistics().implementations.size(), before + 1);
  const Layer grouped(bench_, with(g, 2, 1));
  grouped.forward(0);
  EXPECT_EQ(statistics().implementations.size(), before + 2);
  plain.forward(0);
  EXPECT_EQ(bench_.values(plain.y), expected);
}

TEST_F(CpuWeights, LayoutsOfOneVersionBelongToTheirGroups) {
  // The same weights [8, 3, 3, 8] of 8, 16 and 64 channels.
  const Layer one(bench_, square(2, 8, 8, 8, 3));
  const std::uint64_t version = std::uint64_t{9} << 60;
  for (const std::int64_t groups : {1, 2, 8}) {
    Layer layer(bench_, with(square(2, 8, 8 * groups, 8, 3), groups, 1));
    layer.w = one.w;
    layer.forward(version);
    const std::vector<double> kept = bench_.values(layer.y);
    layer.forward(0);
    EXPECT_EQ(bench_.values(layer.y), kept) << groups << " groups";
  }
}

TEST_F(CpuWeights, AVersionIsReorderedOnceForAllThreads) {
  const Layer layer(bench_, padded(square(2, 10, 8, 16, 3), 1, 1));
  layer.forward(0);
  const std::vector<double> expected = bench_.values(layer.y);
  const std::uint64_t before = statistics().weights_prepared;
  const std::uint64_t version = std::uint64_t{1} << 60;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const Workbench own(test::cpu_device());
      Layer mine(own, layer.g);
      mine.w = layer.w;
      for (int repeat = 0; repeat < 5; ++repeat) {
        mine.forward(version);
        wrong += own.values(mine.y) == expected ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(statistics().weights_prepared, before + 1);
}

TEST_F(CpuWeights, AVersionIsReorderedOnceForAllNumbersOfImages) {
  const Layer two(bench_, padded(square(2, 10, 8, 16, 3), 1, 1));
  Layer three(bench_, padded(square(3, 10, 8, 16, 3), 1, 1));
  three.w = two.w;
  three.forward(0);
  const std::vector<double> expected = bench_.values(three.y);
  const std::uint64_t before = statistics().weights_prepared;
  const std::uint64_t version = std::uint64_t{3} << 60;
  two.forward(version);
  three.forward(version);
  EXPECT_EQ(bench_.values(three.y), expected);
  EXPECT_EQ(statistics().weights_prepared, before + 1);
}

TEST_F(CpuWeights, NewVersionsAreReadAgainAndVersionZeroAlways) {
  const Layer layer(bench_, padded(square(2, 10, 8, 16, 3), 1, 1));
  const auto result = [&](std::uint64_t version) {
    layer.forward(version);
    return bench_.values(layer.y);
  };
  const std::uint64_t version = std::uint64_t{1} << 61;
  const std::vector<double> first = result(version);
  const Tensor changed = bench_.random(layer.g.w_shape(), RngKey(9), DType::kF32);
  std::memcpy(layer.w.view().data, changed.cview().data,
              static_cast<std::size_t>(layer.g.w_shape().elements()) * sizeof(float));
  EXPECT_EQ(result(version), first) << "the copy of this version was not used";
  const std::vector<double> second = result(version + 1);
  EXPECT_NE(second, first);
  EXPECT_EQ(result(0), second);
}

TEST_F(CpuWeights, DenseLayersPackTheirWeightsOncePerVersion) {
  const Tensor x = bench_.random({5, 30}, RngKey(1), DType::kF32);
  const Tensor w = bench_.random({20, 30}, RngKey(2), DType::kF32);
  const Tensor y = bench_.empty({5, 20}, DType::kF32);
  const auto result = [&](std::uint64_t version) {
    bench_.device().matmul().linear_forward(bench_.queue(), x.cview(), {w.cview(), version}, {},
                                            Activation::kNone, y.view(), {});
    return bench_.values(y);
  };
  const std::vector<double> expected = result(0);
  const std::uint64_t before = statistics().weights_prepared;
  const std::uint64_t version = std::uint64_t{1} << 62;
  EXPECT_EQ(result(version), expected);
  EXPECT_EQ(result(version), expected);
  EXPECT_EQ(statistics().weights_prepared, before + 1);
  EXPECT_EQ(result(version + 1), expected);
  EXPECT_EQ(statistics().weights_prepared, before + 2);
}

TEST_F(CpuWeights, SteadyCallsAskForNoMemory) {
  const Layer layer(bench_, padded(square(4, 14, 8, 16, 3), 1, 1));
  layer.forward(77);
  layer.backward(77);
  const MemoryStats before = bench_.device().memory().stats();
  layer.forward(77);
  layer.backward(77);
  const MemoryStats after = bench_.device().memory().stats();
  EXPECT_EQ(after.system_calls, before.system_calls);
  EXPECT_EQ(after.live_bytes, before.live_bytes);
}

TEST_F(CpuWeights, ImpossiblePrimitivesNameTheirShapes) {
  cpu::WeightsCache weights(bench_.device().memory());
  cpu::OneDnn onednn(weights);
  EXPECT_THAT(message_of<DeviceError>([&] {
                onednn.product({-1, 2, 3, false, false});
              }),
              HasSubstr("oneDNN makes no matrix product [-1, 2] x [2, 3]: "));
  EXPECT_TRUE(onednn.implementations().empty());
}

class Cache : public ::testing::Test {
 protected:
  /// Asks for the weights at `data`; counts the fills in fills_.
  std::shared_ptr<const Buffer> get(const void* data, std::uint64_t version,
                                    std::size_t bytes = 64) {
    return cache_.get({{data, DType::kF32, {}}, version}, kLayout, bytes, [&](void* to) {
      ++fills_;
      *static_cast<int*>(to) = fills_;
    });
  }
  static int content(const std::shared_ptr<const Buffer>& block) {
    return *static_cast<const int*>(block->data());
  }

  cpu::WeightsCache cache_{test::cpu_device().memory()};
  static constexpr cpu::Layout kLayout = 77;
  float weights_[2] = {};
  int fills_ = 0;
};

TEST_F(Cache, FillsOncePerVersionAndAddress) {
  EXPECT_EQ(content(get(&weights_[0], 1)), 1);
  EXPECT_EQ(content(get(&weights_[0], 1)), 1);
  EXPECT_EQ(content(get(&weights_[1], 1)), 2);
  EXPECT_EQ(content(get(&weights_[0], 2)), 3);
  EXPECT_EQ(cache_.fills(), 3U);
}

TEST_F(Cache, LeavesABlockToItsReader) {
  const std::shared_ptr<const Buffer> held = get(&weights_[0], 1);
  const std::shared_ptr<const Buffer> next = get(&weights_[0], 2);
  EXPECT_NE(held->data(), next->data());
  EXPECT_EQ(content(held), 1);
  EXPECT_EQ(content(next), 2);
}

TEST_F(Cache, WritesOverABlockThatNobodyReads) {
  const void* first = get(&weights_[0], 1)->data();
  EXPECT_EQ(get(&weights_[0], 2)->data(), first);
}

TEST_F(Cache, AFailedFillIsNotKept) {
  const Weights weights{{&weights_[0], DType::kF32, {}}, 5};
  const auto fail = [](void*) { throw std::runtime_error("no"); };
  EXPECT_THROW(cache_.get(weights, kLayout, 64, fail), std::runtime_error);
  EXPECT_EQ(content(get(&weights_[0], 5)), 1);
}

TEST_F(Cache, ForgetsWeightsWhenThereAreTooMany) {
  const std::uint64_t before = test::cpu_device().memory().stats().live_bytes;
  std::vector<float> many(3000);
  for (const float& weight : many) {
    get(&weight, 1, 4096);
  }
  EXPECT_LE(test::cpu_device().memory().stats().live_bytes, before + std::uint64_t{1024} * 4096);
}

}  // namespace
}  // namespace gentrain
