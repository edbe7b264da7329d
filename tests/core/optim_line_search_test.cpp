// Line searches on functions of one step: the conditions hold where they end, limits are kept.
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "core/optim/line_search.h"

namespace gentrain::optim {
namespace {

using Value = std::function<double(double)>;

/// Evaluates value and derivative, at most `most` times.
class Along {
 public:
  Along(Value value, Value slope, int most)
      : value_(std::move(value)), slope_(std::move(slope)), most_(most) {}
  std::optional<SearchPoint> operator()(double step) {
    if (static_cast<int>(points.size()) == most_) {
      return std::nullopt;
    }
    points.push_back({step, value_(step), slope_(step)});
    return points.back();
  }
  [[nodiscard]] SearchPoint start() const { return {0, value_(0), slope_(0)}; }

  std::vector<SearchPoint> points;

 private:
  Value value_, slope_;
  int most_;
};

/// (t - 3)^2 - cos(3 t): several minima.
Along waves(int most) {
  return {[](double t) { return (t - 3) * (t - 3) - std::cos(3 * t); },
          [](double t) { return 2 * (t - 3) + 3 * std::sin(3 * t); }, most};
}

class Searches : public ::testing::TestWithParam<double> {};

TEST_P(Searches, EndWhereTheWolfeConditionsHold) {
  for (const bool backtracking : {false, true}) {
    Along along = waves(50);
    const SearchPoint start = along.start();
    const auto reference = std::ref(along);
    ASSERT_TRUE(backtracking ? backtracking_search(start, GetParam(), 0.5, reference)
                             : strong_wolfe_search(start, GetParam(), 1.5, reference));
    const SearchPoint& end = along.points.back();
    EXPECT_TRUE(sufficient_decrease(start, end));
    EXPECT_LE(std::abs(end.slope), 0.9 * std::abs(start.slope));
  }
}

INSTANTIATE_TEST_SUITE_P(FirstSteps, Searches, ::testing::Values(1e-6, 0.01, 0.3, 1, 4, 50, 1e6));

TEST(LineSearch, EndsWithTheEvaluations) {
  for (const bool backtracking : {false, true}) {
    Along along = waves(3);
    const auto reference = std::ref(along);
    EXPECT_FALSE(backtracking ? backtracking_search(along.start(), 1e-6, 0.5, reference)
                              : strong_wolfe_search(along.start(), 1e-6, 1.5, reference));
    EXPECT_EQ(along.points.size(), 3U);
  }
}

TEST(LineSearch, BacktrackingEndsWhereStepsLeaveAllBounds) {
  Along falls([](double t) { return -t; }, [](double) { return -1.0; }, 1000);
  EXPECT_FALSE(backtracking_search(falls.start(), 1, 0.5, std::ref(falls)));
  EXPECT_LE(falls.points.back().step, 1e10);
  Along rises([](double t) { return t; }, [](double) { return -1.0; }, 1000);
  EXPECT_FALSE(backtracking_search(rises.start(), 1, 0.5, std::ref(rises)));
  EXPECT_GE(rises.points.back().step, 1e-10);
}

TEST(LineSearch, ABracketWithoutAMinimumEndsWithTheEvaluations) {
  Along rises([](double t) { return t; }, [](double) { return -1.0; }, 2000);
  EXPECT_FALSE(strong_wolfe_search(rises.start(), 1, 1.5, std::ref(rises)));
  EXPECT_EQ(rises.points.size(), 2000U);
}

TEST(LineSearch, WhatIsNotFiniteIsNoDecrease) {
  const SearchPoint start{0, 0, -1};
  EXPECT_TRUE(sufficient_decrease(start, {1, -1, 0}));
  EXPECT_FALSE(sufficient_decrease(start, {1, -0.00009, 0}));
  EXPECT_FALSE(sufficient_decrease(start, {1, -INFINITY, 0}));
  EXPECT_FALSE(sufficient_decrease(start, {1, -1, NAN}));
  EXPECT_FALSE(sufficient_decrease(start, {1, NAN, 0}));
}

}  // namespace
}  // namespace gentrain::optim
