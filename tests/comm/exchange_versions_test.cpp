// What an exchange says has changed: the parameters that it updated, so that backends keep what
// they made of the others.
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "comm/exchange.h"
#include "kernels/conv.h"
#include "kernels/cpu/backend.h"
#include "tests/comm/exchange_world.h"
#include "tests/support/local_ranks.h"
#include "tests/support/workbench.h"

namespace gentrain::comm {
namespace {

using test::options_for;
using test::step_shuffled;
using test::World;

TEST(ExchangeVersions, ChangeWhereParametersAreTrained) {
  World world(2, options_for(4));
  const auto versions = [&](int rank) {
    const ParameterSet& parameters = world.model(rank).parameters();
    std::vector<std::uint64_t> result;
    for (int p = 0; p < parameters.size(); ++p) {
      result.push_back(parameters[p].weights().version);
    }
    return result;
  };
  std::mt19937 random(1);
  step_shuffled(world, 0, random);
  const std::vector<std::vector<std::uint64_t>> before{versions(0), versions(1)};
  // "d" shares blocks with "c" and "e", so that these are exchanged with it.
  step_shuffled(world, 1, random, {false, false, false, true, false});
  for (const int rank : {0, 1}) {
    const std::vector<std::uint64_t> after = versions(rank);
    const std::vector<std::uint64_t>& old = before[static_cast<std::size_t>(rank)];
    for (std::size_t p = 0; p < after.size(); ++p) {
      EXPECT_EQ(after[p] != old[p], p == 3) << "parameter " << p << " on rank " << rank;
    }
  }
}

/// A frozen and a trained convolution on the CPU, and an exchange of one rank and one shard.
class TwoConvolutions : public ::testing::Test {
 protected:
  TwoConvolutions() : local_(1) {
    parameters_.add("frozen", geometry_.w_shape(), {}, 1, 1);
    parameters_.add("trained", geometry_.w_shape(), {}, 1, 1);
    parameters_.allocate(bench_.device(), bench_.queue());
  }

  /// Both forward, several times with several numbers of images: how often weights were prepared.
  [[nodiscard]] std::uint64_t prepared() const {
    const std::uint64_t before = cpu::statistics_of(bench_.device()).weights_prepared;
    for (const std::int64_t images : {2, 3, 2}) {
      ConvGeometry g = geometry_;
      g.n = images;
      const Tensor x = bench_.full(g.x_shape(), 1, DType::kF32);
      const Tensor y = bench_.empty(g.y_shape(), DType::kF32);
      for (const int p : {0, 1}) {
        bench_.device().conv().forward(bench_.queue(), g, x.cview(), parameters_[p].weights(), {},
                                       Activation::kNone, y.view());
      }
    }
    return cpu::statistics_of(bench_.device()).weights_prepared - before;
  }

  // One whose weights oneDNN wants in another layout.
  const ConvGeometry geometry_{.n = 1, .h = 10, .w = 10, .c = 8, .oc = 16, .kh = 3, .kw = 3};
  test::Workbench bench_{test::cpu_device()};
  test::LocalRanks local_;
  ParameterSet parameters_;
};

TEST_F(TwoConvolutions, FrozenWeightsAreNotPreparedAgain) {
  Exchange exchange(local_.rank(0), bench_.device(), parameters_, options_for(1));
  const auto step = [&](const std::vector<bool>& trainable) {
    exchange.begin(
        bench_.queue(), [](Range, const Tensor&, double) {}, trainable);
    exchange.shard(0, bench_.queue())->finish();
    ASSERT_TRUE(exchange.poll());
  };
  EXPECT_EQ(prepared(), 2U);
  EXPECT_EQ(prepared(), 0U);
  step({false, true});
  EXPECT_EQ(prepared(), 1U);
  step({});
  EXPECT_EQ(prepared(), 2U);
  step({false, false});
  EXPECT_EQ(prepared(), 0U);
}

}  // namespace
}  // namespace gentrain::comm
