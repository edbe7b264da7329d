// Parameter sets: the arena's layout, initial values as a pure function of key and index, and
// errors.
#include "core/parameters.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using test::message_of;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::Ge;
using ::testing::Le;
using Kind = Initializer::Kind;

class Parameters : public ::testing::Test {
 protected:
  /// The initial values of a lone parameter of 20,000 values with fan-in 50 and fan-out 400.
  std::vector<double> initial(Initializer initializer, RngKey key = RngKey(1)) const {
    ParameterSet set;
    set.add("w", {400, 50}, initializer, 50, 400);
    set.allocate(bench_.device(), bench_.queue());
    set.initialize(bench_.device(), bench_.queue(), key);
    return bench_.values(set[0]);
  }

  test::Workbench bench_{test::reference_device()};
};

struct Moments {
  double mean = 0;
  double stddev = 0;
  double kurtosis = 0;  // 1.8 of a uniform, 3 of a normal distribution
};

Moments moments_of(const std::vector<double>& x) {
  const auto n = static_cast<double>(x.size());
  Moments moments;
  for (const double value : x) {
    moments.mean += value / n;
  }
  double second = 0;
  double fourth = 0;
  for (const double value : x) {
    const double square = (value - moments.mean) * (value - moments.mean);
    second += square / n;
    fourth += square * square / n;
  }
  moments.stddev = std::sqrt(second);
  moments.kurtosis = fourth / (second * second);
  return moments;
}

TEST_F(Parameters, ArenaHoldsParametersInOrderOn64ByteBoundaries) {
  ParameterSet set;
  EXPECT_EQ(set.add("conv/weight", {6, 5, 5, 1}, {}, 25, 150), 0);
  EXPECT_EQ(set.add("conv/bias", {6}, {}, 25, 150), 1);
  EXPECT_EQ(set.add("fc/weight", {4, 4}, {}, 4, 4), 2);
  set.allocate(bench_.device(), bench_.queue());
  EXPECT_EQ(set.info(0).offset, 0);
  EXPECT_EQ(set.info(1).offset, 160);
  EXPECT_EQ(set.info(2).offset, 176);
  EXPECT_EQ(set.arena_elements(), 192);
  EXPECT_EQ(set.arena().shape(), Shape({192}));
  EXPECT_EQ(set.count(), 150 + 6 + 16);
  EXPECT_EQ(set.size(), 3);
  for (int i = 0; i < set.size(); ++i) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(set[i].data()) % 64, 0U) << i;
    EXPECT_EQ(set[i].shape(), set.info(i).shape);
  }
}

TEST_F(Parameters, TensorsAreViewsIntoTheArena) {
  ParameterSet set;
  set.add("a", {3}, {}, 1, 1);
  set.add("b", {2}, {}, 1, 1);
  set.allocate(bench_.device(), bench_.queue(), DType::kF64);
  std::vector<double> values(32, 0);
  values[16] = 7;
  copy_from_host<double>(bench_.device(), bench_.queue(), values, set.arena());
  EXPECT_THAT(bench_.values(set[1]), ::testing::ElementsAre(7, 0));
}

TEST_F(Parameters, GapsHoldZerosAfterInitialisation) {
  ParameterSet set;
  set.add("a", {3}, {Kind::kOnes}, 1, 1);
  set.add("b", {17}, {Kind::kNormal, 1}, 1, 1);
  set.allocate(bench_.device(), bench_.queue());
  set.initialize(bench_.device(), bench_.queue(), RngKey(1));
  const std::vector<double> arena = bench_.values(set.arena());
  for (std::size_t i = 0; i < arena.size(); ++i) {
    const bool gap = (i >= 3 && i < 16) || i >= 33;
    EXPECT_EQ(arena[i] == 0, gap) << i;
  }
}

TEST_F(Parameters, EachTensorBelongsToItsSet) {
  ParameterSet first;
  ParameterSet second;
  EXPECT_NE(first.id(), second.id());
  first.add("a", {1}, {}, 1, 1);
  first.add("b", {1}, {}, 1, 1);
  first.allocate(bench_.device(), bench_.queue());
  EXPECT_EQ(first[1].grad_ref().kind, GradRef::Kind::kParameter);
  EXPECT_EQ(first[1].grad_ref().owner, first.id());
  EXPECT_EQ(first[1].grad_ref().index, 1);
}

TEST_F(Parameters, FindsNames) {
  ParameterSet set;
  set.add("conv1/weight", {1}, {}, 1, 1);
  set.add("conv1/bias", {1}, {}, 1, 1);
  EXPECT_EQ(set.find("conv1/bias"), 1);
  EXPECT_EQ(set.find("conv2/bias"), -1);
}

TEST_F(Parameters, RefusesADuplicateName) {
  ParameterSet set;
  set.add("conv1/weight", {1}, {}, 1, 1);
  EXPECT_EQ(message_of<ShapeError>([&] { set.add("conv1/weight", {2}, {}, 1, 1); }),
            "two parameters are named conv1/weight");
}

TEST_F(Parameters, RefusesRegistrationAfterTheArenaWasMade) {
  ParameterSet set;
  set.add("a", {1}, {}, 1, 1);
  set.allocate(bench_.device(), bench_.queue());
  EXPECT_EQ(message_of<Error>([&] { set.add("late", {1}, {}, 1, 1); }),
            "parameter late is registered after the arena was made");
}

TEST_F(Parameters, ConstantInitializers) {
  EXPECT_THAT(initial({Kind::kZeros}), Each(0.0));
  EXPECT_THAT(initial({Kind::kOnes}), Each(1.0));
}

TEST_F(Parameters, UniformFanInFillsItsInterval) {
  const double bound = 1 / std::sqrt(50.0);
  const std::vector<double> values = initial({Kind::kUniformFanIn});
  const Moments moments = moments_of(values);
  EXPECT_THAT(values, Each(AllOf(Ge(-bound * (1 + 1e-7)), Le(bound * (1 + 1e-7)))));
  EXPECT_LT(*std::min_element(values.begin(), values.end()), -0.999 * bound);
  EXPECT_GT(*std::max_element(values.begin(), values.end()), 0.999 * bound);
  // Five standard errors of 20,000 draws; for a uniform distribution that of the deviation is 0.32
  // %.
  EXPECT_NEAR(moments.mean, 0, 5 * bound / std::sqrt(3.0 * 20000));
  EXPECT_NEAR(moments.stddev, bound / std::sqrt(3.0), 0.016 * bound / std::sqrt(3.0));
  EXPECT_NEAR(moments.kurtosis, 1.8, 0.05);
}

TEST_F(Parameters, XavierUniformFillsItsInterval) {
  const double bound = std::sqrt(6.0 / 450);
  const std::vector<double> values = initial({Kind::kXavierUniform});
  EXPECT_THAT(values, Each(AllOf(Ge(-bound * (1 + 1e-7)), Le(bound * (1 + 1e-7)))));
  EXPECT_LT(*std::min_element(values.begin(), values.end()), -0.999 * bound);
  EXPECT_GT(*std::max_element(values.begin(), values.end()), 0.999 * bound);
  EXPECT_NEAR(moments_of(values).kurtosis, 1.8, 0.05);
}

TEST_F(Parameters, NormalInitializersHaveTheirMoments) {
  const auto check = [&](Initializer initializer, double stddev) {
    const Moments moments = moments_of(initial(initializer));
    // Five standard errors of 20,000 draws.
    EXPECT_NEAR(moments.mean, 0, 5 * stddev / std::sqrt(20000.0));
    EXPECT_NEAR(moments.stddev, stddev, 5 * stddev / std::sqrt(40000.0));
    EXPECT_NEAR(moments.kurtosis, 3, 5 * std::sqrt(24.0 / 20000));
  };
  check({Kind::kKaimingNormal}, std::sqrt(2.0 / 50));
  check({Kind::kNormal, 0.02}, 0.02);
}

TEST_F(Parameters, InitialValuesArePureFunctionsOfKeyAndIndex) {
  const auto values = [&](std::uint64_t seed, const char* first_name, std::int64_t first_size) {
    ParameterSet set;
    set.add(first_name, {first_size}, {Kind::kNormal, 1}, 1, 1);
    set.add("second", {50}, {Kind::kNormal, 1}, 1, 1);
    set.allocate(bench_.device(), bench_.queue());
    set.initialize(bench_.device(), bench_.queue(), RngKey(seed));
    return std::pair(bench_.values(set[0]), bench_.values(set[1]));
  };
  EXPECT_EQ(values(1, "a", 50), values(1, "a", 50));
  EXPECT_EQ(values(1, "a", 50), values(1, "renamed", 50)) << "names change nothing";
  EXPECT_EQ(values(1, "a", 50).second, values(1, "a", 7).second) << "nor do other parameters";
  EXPECT_NE(values(1, "a", 50).second, values(2, "a", 50).second);
  EXPECT_NE(values(1, "a", 50).first, values(1, "a", 50).second);
}

TEST_F(Parameters, RefusesAnArenaThatIsTooLarge) {
  ParameterSet set;
  set.add("half", {1 << 29, 1 << 29}, {}, 1, 1);
  set.add("other half", {1 << 29, 1 << 29}, {}, 1, 1);
  EXPECT_EQ(message_of<ShapeError>([&] { set.add("b", {3}, {}, 1, 1); }),
            "parameter b: 3 elements behind 576460752303423488 others are too many: at most "
            "576460752303423488");
}

TEST_F(Parameters, ParametersHaveVersionsOfTheirOwn) {
  ParameterSet set;
  set.add("a", {3}, {}, 1, 1);
  set.add("b", {3}, {}, 1, 1);
  set.allocate(bench_.device(), bench_.queue());
  const std::uint64_t before = set[0].weights().version;
  EXPECT_EQ(set[1].weights().version, before);
  set.mark_changed({false, true});
  EXPECT_EQ(set[0].weights().version, before);
  EXPECT_GT(set[1].weights().version, before);
  EXPECT_EQ(set.arena().weights().version, set[1].weights().version);
  set.mark_changed();
  EXPECT_GT(set[0].weights().version, before);
}

TEST_F(Parameters, InitialisationChangesTheVersion) {
  ParameterSet set;
  set.add("a", {3}, {}, 1, 1);
  set.allocate(bench_.device(), bench_.queue());
  const std::uint64_t allocated = set[0].weights().version;
  set.initialize(bench_.device(), bench_.queue(), RngKey(1));
  EXPECT_NE(allocated, 0U) << "0 means that backends keep no copy";
  EXPECT_NE(set[0].weights().version, allocated);
}

TEST(Statistics, StandInTheArenaAndDoNotCount) {
  test::Workbench bench(test::reference_device());
  ParameterSet set;
  set.add("gamma", {3}, {Kind::kZeros}, 1, 1);
  EXPECT_FALSE(set.has_statistics());
  const int variance = set.add_statistic("running_var", {3}, Kind::kOnes, 0.9);
  EXPECT_TRUE(set.has_statistics());
  EXPECT_EQ(set.count(), 3);
  set.allocate(bench.device(), bench.queue());
  set.initialize(bench.device(), bench.queue(), RngKey(1));
  EXPECT_THAT(bench.values(set[variance]), Each(1.0));
  EXPECT_EQ(set.info(variance).decay, 0.9);
}

TEST(Statistics, RefuseADecayThatIsNone) {
  ParameterSet set;
  for (const double decay : {-0.5, 1.0}) {
    EXPECT_THAT(message_of<ShapeError>([&] { set.add_statistic("m", {3}, Kind::kZeros, decay); }),
                fmt::format("statistic m: the decay is {} but must be in [0, 1)", decay));
  }
}

/// Registers two parameters with averages, and one without between them.
void add_with_averages(ParameterSet& set) {
  const auto both = [&] {
    set.add("conv/weight", {3, 5}, {Kind::kUniformFanIn}, 5, 3);
    set.add_statistic("norm/running_mean", {3}, Kind::kOnes, 0.9);
  };
  both();
  set.add("other/weight", {4}, {Kind::kUniformFanIn}, 4, 1);
  set.add_averages(0.75, both);
}

TEST_F(Parameters, AveragesStandBehindAllOthers) {
  ParameterSet set;
  add_with_averages(set);
  ASSERT_EQ(set.size(), 5);
  EXPECT_EQ(set.info(3).name, "average/conv/weight");
  EXPECT_EQ(set.info(4).name, "average/norm/running_mean");
  for (const int i : {3, 4}) {
    EXPECT_EQ(set.info(i).role, ParameterRole::kAverage);
    EXPECT_EQ(set.info(i).decay, 0.75);
    EXPECT_EQ(set.info(i).average_of, i - 3);
  }
  EXPECT_EQ(set.exchanged_elements(), set.info(3).offset);
  EXPECT_GT(set.arena_elements(), set.exchanged_elements());
  EXPECT_EQ(set.count(), 15 + 4);
}

TEST_F(Parameters, AveragesBeginAtWhatTheyAverage) {
  ParameterSet set;
  add_with_averages(set);
  set.allocate(bench_.device(), bench_.queue());
  set.initialize(bench_.device(), bench_.queue(), RngKey(1));
  EXPECT_EQ(bench_.values(set[3]), bench_.values(set[0]));
  EXPECT_THAT(bench_.values(set[4]), Each(1.0));
  bench_.device().elementwise().fill(bench_.queue(), 7.0, set[1].view());
  EXPECT_THAT(bench_.values(set[4]), Each(1.0));
  set.reset_averages(bench_.device(), bench_.queue());
  EXPECT_THAT(bench_.values(set[4]), Each(7.0));
}

TEST_F(Parameters, AveragesOfWhatIsNotThereAreErrors) {
  ParameterSet set;
  set.add("w", {3}, {}, 1, 1);
  for (const double decay : {0.0, 1.0, -0.5, std::nan("")}) {
    EXPECT_EQ(message_of<ShapeError>([&] { set.add_averages(decay, [] {}); }),
              fmt::format("averages: the decay is {} but must be in (0, 1)", decay));
  }
  EXPECT_EQ(
      message_of<ShapeError>([&] { set.add_averages(0.5, [&] { set.add("v", {3}, {}, 1, 1); }); }),
      "average of v [3]: there is no such parameter");
  ParameterSet other;
  other.add("w", {3}, {}, 1, 1);
  EXPECT_EQ(message_of<ShapeError>(
                [&] { other.add_averages(0.5, [&] { other.add("w", {4}, {}, 1, 1); }); }),
            "average of w [4]: there is one of [3]");
  ParameterSet late;
  add_with_averages(late);
  EXPECT_EQ(message_of<Error>([&] { late.add("v", {3}, {}, 1, 1); }),
            "parameter v is registered behind averages");
}

}  // namespace
}  // namespace gentrain
