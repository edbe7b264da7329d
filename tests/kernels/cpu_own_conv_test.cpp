// The own convolutions, Winograd's and those by columns, as the device runs them: which are,
// weights laid out once per version for all threads, the same bits on each, no memory once they
// have run.
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/conv.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/conv_columns.h"
#include "kernels/cpu/winograd.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using cpu::Operation;
using test::Workbench;
using ::testing::ElementsAre;
using Values = std::vector<double>;

/// n images of side x side, c channels to oc, padding 1.
ConvGeometry same(std::int64_t n, std::int64_t side, std::int64_t c, std::int64_t oc) {
  return {.n = n,
          .h = side,
          .w = side,
          .c = c,
          .oc = oc,
          .kh = 3,
          .kw = 3,
          .top = 1,
          .bottom = 1,
          .left = 1,
          .right = 1};
}

/// The same with strides of 2.
ConvGeometry strided(std::int64_t n, std::int64_t side, std::int64_t c, std::int64_t oc) {
  ConvGeometry g = same(n, side, c, oc);
  g.stride_h = g.stride_w = 2;
  return g;
}

/// Forward, backward by data, backward by weights.
template <class Own = cpu::Winograd>
std::vector<bool> wins(const ConvGeometry& g) {
  return {Own::wins(Operation::kConvForward, g), Own::wins(Operation::kConvBackwardData, g),
          Own::wins(Operation::kConvBackwardWeights, g)};
}

TEST(CpuWinogradRule, LargeMapsAndManyChannels) {
  for (const std::int64_t n : {16, 4, 1}) {
    for (const ConvGeometry& g :
         {same(n, 24, 64, 64), same(n, 96, 64, 64), same(n, 48, 64, 128), same(n, 48, 128, 128),
          same(n, 24, 256, 256), same(n, 12, 512, 512), same(n, 48, 64, 256), same(n, 35, 96, 96),
          same(n, 71, 80, 192), same(n, 147, 32, 64)}) {
      EXPECT_THAT(wins(g), ElementsAre(true, true, true)) << g.x_shape().str() << " " << g.oc;
    }
  }
}

TEST(CpuWinogradRule, TilesOverTheEdgeAndFewTilesStayDirect) {
  for (const ConvGeometry& g :
       {same(16, 6, 512, 512), same(64, 5, 64, 64), same(1, 4, 64, 64), same(1, 8, 512, 512)}) {
    EXPECT_THAT(wins(g), ElementsAre(false, false, false)) << g.x_shape().str() << " " << g.oc;
  }
  EXPECT_THAT(wins(same(1, 8, 64, 64)), ElementsAre(true, true, false));
}

TEST(CpuWinogradRule, FewChannelsMayOnlyBeComputed) {
  EXPECT_THAT(wins(same(4, 96, 3, 64)), ElementsAre(false, true, false));
  EXPECT_THAT(wins(same(4, 96, 16, 3)), ElementsAre(true, false, true));
  EXPECT_THAT(wins(same(4, 96, 16, 16)), ElementsAre(true, true, true));
  EXPECT_THAT(wins(same(4, 96, 64, 1)), ElementsAre(false, false, false));
}

TEST(CpuWinogradRule, OtherGeometriesStayDirect) {
  const ConvGeometry g = same(4, 24, 64, 64);
  std::vector<ConvGeometry> others(8, g);
  others[0].kh = 5;
  others[1].kw = 1;
  others[2].stride_h = 2;
  others[3].stride_w = 2;
  others[4].bottom = 3;
  others[5].groups = 2;
  others[6].dilation_h = 2;
  others[7].dilation_w = 2;
  for (const ConvGeometry& other : others) {
    EXPECT_THAT(wins(other), ElementsAre(false, false, false));
  }
}

TEST(CpuConvColumnsRule, StridesOfTwoWithManyChannels) {
  using cpu::ConvColumns;
  for (const std::int64_t n : {16, 4, 1}) {
    for (const ConvGeometry& g : {strided(n, 96, 64, 64), strided(n, 48, 128, 128),
                                  strided(n, 24, 256, 256), strided(n, 12, 512, 512)}) {
      EXPECT_THAT(wins<ConvColumns>(g), ElementsAre(true, true, true)) << g.x_shape().str();
    }
  }
  EXPECT_THAT(wins<ConvColumns>(strided(4, 12, 63, 64)), ElementsAre(true, false, false));
  EXPECT_THAT(wins<ConvColumns>(strided(4, 12, 64, 63)), ElementsAre(true, false, false));
  EXPECT_THAT(wins<ConvColumns>(strided(4, 12, 16, 16)), ElementsAre(true, false, false));
  EXPECT_THAT(wins<ConvColumns>(strided(4, 12, 15, 64)), ElementsAre(false, false, false));
  EXPECT_THAT(wins<ConvColumns>(strided(4, 12, 64, 15)), ElementsAre(false, false, false));
}

TEST(CpuConvColumnsRule, GradientsOfFirstLayersOnLargeMaps) {
  using cpu::ConvColumns;
  EXPECT_THAT(wins<ConvColumns>(same(4, 32, 3, 64)), ElementsAre(false, false, true));
  EXPECT_THAT(wins<ConvColumns>(same(1, 64, 4, 64)), ElementsAre(false, false, true));
  EXPECT_THAT(wins<ConvColumns>(same(1, 63, 4, 64)), ElementsAre(false, false, false));
  EXPECT_THAT(wins<ConvColumns>(same(4, 32, 5, 64)), ElementsAre(false, false, false));
  EXPECT_THAT(wins<ConvColumns>(same(4, 32, 3, 63)), ElementsAre(false, false, false));
}

TEST(CpuConvColumnsRule, LargeKernelsFromOrToFewChannels) {
  const auto nine = [](std::int64_t c, std::int64_t oc) {
    ConvGeometry g = same(4, 24, c, oc);
    g.kh = g.kw = 9;
    g.top = g.bottom = g.left = g.right = 4;
    return g;
  };
  using cpu::ConvColumns;
  EXPECT_THAT(wins<ConvColumns>(nine(3, 64)), ElementsAre(true, false, false));
  EXPECT_THAT(wins<ConvColumns>(nine(64, 3)), ElementsAre(true, false, false));
  EXPECT_THAT(wins<ConvColumns>(nine(5, 64)), ElementsAre(false, false, false));
  EXPECT_THAT(wins<ConvColumns>(nine(64, 64)), ElementsAre(false, false, false));
  ConvGeometry seven = nine(3, 64);
  seven.kw = 7;
  EXPECT_THAT(wins<ConvColumns>(seven), ElementsAre(false, false, false));
}

TEST(CpuConvColumnsRule, OneByOneWinsInGradientsOfWeights) {
  ConvGeometry g = strided(4, 24, 64, 64);
  g.kh = g.kw = 1;
  EXPECT_THAT(wins<cpu::ConvColumns>(g), ElementsAre(false, false, true));
}

TEST(CpuConvColumnsRule, OtherStridesGoToOneDnn) {
  std::vector<ConvGeometry> others(3, strided(4, 24, 64, 64));
  others[0].stride_h = 1;
  others[1].stride_w = 3;
  others[2].stride_h = others[2].stride_w = 3;
  for (const ConvGeometry& g : others) {
    EXPECT_THAT(wins<cpu::ConvColumns>(g), ElementsAre(false, false, false));
  }
}

TEST(CpuConvColumnsRule, GroupsAndDilationGoToOneDnn) {
  ConvGeometry nine = same(4, 24, 64, 2);
  nine.kh = nine.kw = 9;
  nine.top = nine.bottom = nine.left = nine.right = 4;
  for (const ConvGeometry& g : {strided(4, 24, 64, 64), same(4, 32, 4, 64), nine}) {
    EXPECT_THAT(wins<cpu::ConvColumns>(g), ::testing::Contains(true));
    std::vector<ConvGeometry> others(3, g);
    others[0].groups = 2;
    others[1].dilation_h = 2;
    others[2].dilation_w = 2;
    for (const ConvGeometry& other : others) {
      EXPECT_THAT(wins<cpu::ConvColumns>(other), ElementsAre(false, false, false));
    }
  }
}

/// One convolution in all three passes.
class Layer {
 public:
  Layer(const Workbench& bench, const ConvGeometry& g)
      : bench_(bench),
        g_(g),
        x_(bench.random(g.x_shape(), RngKey(1), DType::kF32)),
        w_(bench.random(g.w_shape(), RngKey(2), DType::kF32)),
        bias_(bench.random({g.oc}, RngKey(3), DType::kF32)),
        dy_(bench.random(g.y_shape(), RngKey(4), DType::kF32)),
        y_(bench.empty(g.y_shape(), DType::kF32)),
        dx_(bench.empty(g.x_shape(), DType::kF32)),
        dw_(bench.empty(g.w_shape(), DType::kF32)),
        dbias_(bench.empty({g.oc}, DType::kF32)) {}

  /// y, dx, dw and dbias, from the weights of `other` (which may be this) at `version`.
  [[nodiscard]] std::vector<Values> run(std::uint64_t version, const Tensor& w) const {
    ConvKernels& kernels = bench_.device().conv();
    const Weights weights = {w.cview(), version};
    kernels.forward(bench_.queue(), g_, x_.cview(), weights, bias_.cview(), Activation::kTanh,
                    y_.view());
    kernels.backward_data(bench_.queue(), g_, dy_.cview(), weights, dx_.view());
    kernels.backward_weights(bench_.queue(), g_, x_.cview(), dy_.cview(), dw_.view(),
                             dbias_.view());
    return {bench_.values(y_), bench_.values(dx_), bench_.values(dw_), bench_.values(dbias_)};
  }
  [[nodiscard]] const Tensor& x() const { return x_; }
  [[nodiscard]] const Tensor& w() const { return w_; }
  [[nodiscard]] const Tensor& dy() const { return dy_; }

 private:
  const Workbench& bench_;
  ConvGeometry g_;
  Tensor x_, w_, bias_, dy_, y_, dx_, dw_, dbias_;
};

struct Case {
  std::string name;
  ConvGeometry g;
};

class CpuOwnConv : public ::testing::TestWithParam<Case> {
 protected:
  [[nodiscard]] std::uint64_t prepared() const {
    return cpu::statistics_of(bench_.device()).weights_prepared;
  }

  Workbench bench_{test::cpu_device()};
  ConvGeometry g_ = GetParam().g;
  Layer layer_{bench_, g_};
};

TEST_P(CpuOwnConv, MakesNoPrimitive) {
  const std::size_t before = cpu::statistics_of(bench_.device()).implementations.size();
  static_cast<void>(layer_.run(0, layer_.w()));
  EXPECT_EQ(cpu::statistics_of(bench_.device()).implementations.size(), before);
}

TEST_P(CpuOwnConv, AVersionIsLaidOutOncePerDirectionForAllThreads) {
  const std::vector<Values> expected = layer_.run(0, layer_.w());
  const std::uint64_t before = prepared();
  const std::uint64_t version = std::uint64_t{5} << 60;
  std::vector<std::vector<Values>> results(4);
  std::vector<std::thread> threads;
  for (std::vector<Values>& result : results) {
    threads.emplace_back([&] {
      const Workbench own(test::cpu_device());
      const Layer mine(own, g_);
      result = mine.run(version, layer_.w());
      EXPECT_EQ(mine.run(version, layer_.w()), result);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(results, ::testing::Each(expected));
  EXPECT_EQ(prepared(), before + 2);
}

TEST_P(CpuOwnConv, ANewVersionIsLaidOutAgain) {
  const std::uint64_t version = std::uint64_t{6} << 60;
  const std::vector<Values> first = layer_.run(version, layer_.w());
  const Tensor changed = bench_.random(g_.w_shape(), RngKey(9), DType::kF32);
  std::memcpy(layer_.w().view().data, changed.cview().data,
              static_cast<std::size_t>(g_.w_shape().elements()) * sizeof(float));
  EXPECT_EQ(layer_.run(version, layer_.w()), first) << "the copy of this version was not used";
  const std::vector<Values> second = layer_.run(version + 1, layer_.w());
  EXPECT_NE(second[0], first[0]);
  EXPECT_NE(second[1], first[1]);
  EXPECT_EQ(layer_.run(0, layer_.w()), second);
}

TEST_P(CpuOwnConv, SteadyCallsAskForNoMemory) {
  static_cast<void>(layer_.run(77, layer_.w()));
  const MemoryStats before = bench_.device().memory().stats();
  static_cast<void>(layer_.run(77, layer_.w()));
  const MemoryStats after = bench_.device().memory().stats();
  EXPECT_EQ(after.system_calls, before.system_calls);
  EXPECT_EQ(after.live_bytes, before.live_bytes);
}

INSTANTIATE_TEST_SUITE_P(Kernels, CpuOwnConv,
                         ::testing::Values(Case{"winograd", same(3, 13, 32, 40)},
                                           Case{"columns", strided(3, 13, 64, 72)}),
                         [](const auto& info) { return info.param.name; });

TEST(CpuConvColumns, LayoutsOfOneVersionBelongToTheirStridesAndPadding) {
  const Workbench bench(test::cpu_device());
  const ConvGeometry g = strided(2, 12, 64, 64);
  std::vector<ConvGeometry> others(3, g);
  others[1].top = others[1].left = 0;
  others[2].top = others[2].bottom = 0;
  const Layer layer(bench, g);
  const std::uint64_t version = std::uint64_t{7} << 60;
  for (const ConvGeometry& other : others) {
    const Layer mine(bench, other);
    EXPECT_EQ(mine.run(version, layer.w()), mine.run(0, layer.w()))
        << "padding " << other.top << ", " << other.left;
  }
}

TEST(CpuConvColumns, AnImagesBitsDoNotDependOnOthers) {
  const Workbench bench(test::cpu_device());
  const Layer many(bench, strided(40, 9, 64, 64));
  const Layer one(bench, strided(1, 9, 64, 64));
  std::memcpy(one.x().view().data, many.x().cview().data, one.x().bytes());
  std::memcpy(one.dy().view().data, many.dy().cview().data, one.dy().bytes());
  const std::vector<Values> among = many.run(0, many.w());
  const std::vector<Values> alone = one.run(0, many.w());
  for (const std::size_t pass : {std::size_t{0}, std::size_t{1}}) {
    const auto end = among[pass].begin() + static_cast<std::ptrdiff_t>(alone[pass].size());
    EXPECT_EQ(Values(among[pass].begin(), end), alone[pass]);
  }
}

}  // namespace
}  // namespace gentrain
