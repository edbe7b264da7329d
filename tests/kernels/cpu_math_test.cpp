// The elementary functions of the vector kernels over the whole range of floats, and the rule that
// an element's bits do not depend on where in a vector it stands.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "tests/kernels/cpu_tables.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

using test::floats;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class Math : public ::testing::TestWithParam<test::TableCase> {
 protected:
  [[nodiscard]] std::vector<float> apply(Activation activation, const std::vector<float>& x) const {
    std::vector<float> y(x.size());
    GetParam().table->elementwise.activate(static_cast<int>(activation), x.data(), y.data(),
                                           static_cast<std::int64_t>(x.size()));
    return y;
  }

  /// Every `step`-th float from 0 to infinity.
  static std::vector<float> positive_floats(std::uint32_t step) {
    std::vector<float> values;
    for (std::uint64_t bits = 0; bits < 0x7f800000U; bits += step) {
      values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    }
    return values;
  }

  static std::vector<float> negated(std::vector<float> values) {
    for (float& value : values) {
      value = -value;
    }
    return values;
  }
};

TEST_P(Math, TanhIsAccurateOddAndAtMostOne) {
  const std::vector<float> x = positive_floats(5003);
  const std::vector<float> y = apply(Activation::kTanh, x);
  const std::vector<float> mirrored = apply(Activation::kTanh, negated(x));
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = std::tanh(static_cast<double>(x[i]));
    if (x[i] > 1e-30F) {
      worst = std::max(worst, std::abs(static_cast<double>(y[i]) - expected) / expected);
    }
    ASSERT_EQ(mirrored[i], -y[i]) << x[i];
    ASSERT_LE(y[i], 1.0F) << x[i];
    if (x[i] >= 8.86F) {
      ASSERT_EQ(y[i], 1.0F) << x[i];
    }
  }
  EXPECT_LT(worst, 4e-7);
  EXPECT_GT(worst, 1e-8);  // the bound says something about what was computed
}

TEST_P(Math, SigmoidIsAccurateWhereItIsNormal) {
  for (const std::vector<float>& x : {floats(20000, 1, -87, 87), floats(20000, 2, -1, 1)}) {
    const std::vector<float> y = apply(Activation::kSigmoid, x);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = 1 / (1 + std::exp(-static_cast<double>(x[i])));
      ASSERT_NEAR(y[i], expected, 4e-7 * expected) << x[i];
    }
  }
}

TEST_P(Math, SpecialValues) {
  const std::vector<float> x = {0.0F, -0.0F, kInfinity, -kInfinity, kNan, 200.0F, -200.0F};
  const std::vector<float> tanh = apply(Activation::kTanh, x);
  EXPECT_EQ(tanh[0], 0.0F);
  EXPECT_TRUE(std::signbit(tanh[1]));
  EXPECT_EQ(tanh[2], 1.0F);
  EXPECT_EQ(tanh[3], -1.0F);
  EXPECT_TRUE(std::isnan(tanh[4]));
  const std::vector<float> sigmoid = apply(Activation::kSigmoid, x);
  EXPECT_EQ(sigmoid[0], 0.5F);
  EXPECT_EQ(sigmoid[2], 1.0F);
  EXPECT_EQ(sigmoid[3], 0.0F);
  EXPECT_TRUE(std::isnan(sigmoid[4]));
  EXPECT_EQ(sigmoid[5], 1.0F);
  EXPECT_EQ(sigmoid[6], 0.0F);
  const std::vector<float> relu = apply(Activation::kRelu, x);
  EXPECT_EQ(relu[2], kInfinity);
  EXPECT_EQ(relu[3], 0.0F);
  EXPECT_TRUE(std::isnan(relu[4]));
}

TEST_P(Math, TailsGiveTheBitsOfBodies) {
  constexpr std::int64_t kWhole = 64;
  const simd::Kernels& table = *GetParam().table;
  const std::vector<float> x = floats(kWhole, 3, -4, 4);
  const std::vector<float> d = floats(kWhole, 4);
  for (const Activation activation :
       {Activation::kNone, Activation::kTanh, Activation::kRelu, Activation::kSigmoid}) {
    const std::vector<float> whole = apply(activation, x);
    std::vector<float> whole_back(kWhole);
    table.elementwise.activate_backward(static_cast<int>(activation), whole.data(), d.data(),
                                        whole_back.data(), kWhole);
    for (std::int64_t count = 1; count <= 33; ++count) {
      std::vector<float> y(kWhole, -7);
      table.elementwise.activate(static_cast<int>(activation), x.data() + 5, y.data(), count);
      std::vector<float> back(kWhole, -7);
      table.elementwise.activate_backward(static_cast<int>(activation), y.data(), d.data() + 5,
                                          back.data(), count);
      for (std::int64_t i = 0; i < kWhole; ++i) {
        const auto at = static_cast<std::size_t>(i);
        ASSERT_EQ(y[at], i < count ? whole[at + 5] : -7) << count << " " << i;
        ASSERT_EQ(back[at], i < count ? whole_back[at + 5] : -7) << count << " " << i;
      }
    }
  }
}

TEST_P(Math, TailsOfUpdatesGiveTheBitsOfBodies) {
  constexpr std::size_t kWhole = 64;
  const simd::UpdateTable& update = GetParam().table->update;
  const simd::SgdConstants sgd = {0.1F, 0.9F, 1e-3F, 0.5F, true};
  const simd::AdamConstants adam = {.rate = 0.1F,
                                    .inverse_root = 2.0F,
                                    .beta1 = 0.9F,
                                    .one_minus_beta1 = 0.1F,
                                    .beta2 = 0.999F,
                                    .one_minus_beta2 = 0.001F,
                                    .epsilon = 1e-8F,
                                    .weight_decay = 1e-3F,
                                    .keep = 1,
                                    .grad_scale = 1};
  const std::vector<float> g = floats(kWhole, 5);
  const auto run = [&](std::int64_t count) {
    std::vector<float> w = floats(kWhole, 6);
    std::vector<float> velocity = floats(kWhole, 7);
    std::vector<float> m = floats(kWhole, 8);
    std::vector<float> v = floats(kWhole, 9, 0, 1);
    update.sgd(sgd, g.data(), velocity.data(), w.data(), count);
    update.adam(adam, g.data(), m.data(), v.data(), w.data(), count);
    for (const std::vector<float>& part : {velocity, m, v}) {
      w.insert(w.end(), part.begin(), part.end());
    }
    return w;
  };
  const std::vector<float> none = run(0);
  const std::vector<float> whole = run(kWhole);
  for (std::int64_t count = 1; count <= 33; ++count) {
    const std::vector<float> some = run(count);
    for (std::size_t i = 0; i < some.size(); ++i) {
      const bool updated = i % kWhole < static_cast<std::size_t>(count);
      ASSERT_EQ(some[i], updated ? whole[i] : none[i]) << count << " " << i;
      ASSERT_NE(whole[i], none[i]) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Math, ::testing::ValuesIn(test::runnable_tables()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gentrain
