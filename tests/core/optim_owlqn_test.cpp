// OWL-QN on functions whose least points are known, L-BFGS without penalties, limits of
// evaluations, going on from a state.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "core/optim/owlqn.h"
#include "kernels/error.h"
#include "kernels/philox.h"
#include "tests/support/compare.h"

namespace gentrain::optim {
namespace {

using test::message_of;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

OwlqnState at(std::vector<double> x) {
  OwlqnState state;
  state.x = std::move(x);
  return state;
}

/// Sum of a_i / 2 (x_i - c_i)^2.
SmoothFunction parabolas(std::vector<double> a, std::vector<double> c) {
  return [a = std::move(a), c = std::move(c)](std::span<const double> x, std::span<double> g) {
    double value = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      g[i] = a[i] * (x[i] - c[i]);
      value += g[i] * (x[i] - c[i]) / 2;
    }
    return value;
  };
}

/// Sum of 100 (x_(i+1) - x_i^2)^2 + (1 - x_i)^2.
double rosenbrock(std::span<const double> x, std::span<double> g) {
  double value = 0;
  std::fill(g.begin(), g.end(), 0.0);
  for (std::size_t i = 0; i + 1 < x.size(); ++i) {
    const double valley = x[i + 1] - x[i] * x[i];
    const double along = 1 - x[i];
    value += 100 * valley * valley + along * along;
    g[i] += -400 * valley * x[i] - 2 * along;
    g[i + 1] += 200 * valley;
  }
  return value;
}

std::vector<double> noise(std::size_t size, std::uint64_t seed) {
  std::vector<double> values(size);
  for (std::size_t i = 0; i < size; ++i) {
    values[i] = 2.0 * static_cast<double>(uniform_float(RngKey(seed).block(i)[0])) - 1.0;
  }
  return values;
}

/// |A x - b|^2 / 2 with a random A [2 n, n]: elements depend on each other.
struct LeastSquares {
  explicit LeastSquares(std::size_t size) : n(size), a(noise(2 * n * n, 1)), b(noise(2 * n, 2)) {}
  double operator()(std::span<const double> x, std::span<double> g) const {
    double value = 0;
    std::fill(g.begin(), g.end(), 0.0);
    for (std::size_t row = 0; row < b.size(); ++row) {
      double rest = -b[row];
      for (std::size_t i = 0; i < n; ++i) {
        rest += a[row * n + i] * x[i];
      }
      value += rest * rest / 2;
      for (std::size_t i = 0; i < n; ++i) {
        g[i] += rest * a[row * n + i];
      }
    }
    return value;
  }
  std::size_t n;
  std::vector<double> a, b;
};

OwlqnOptions to_the_end() {
  OwlqnOptions options;
  options.max_iterations = 2000;
  options.tolerance = 0;
  return options;
}

TEST(Owlqn, SoftThresholdsParabolas) {
  const std::vector<double> a = {1, 2, 0.5, 10, 1, 4, 1};
  const std::vector<double> c = {3, -2, 0.4, 0.01, -5, 0, 2};
  const std::vector<double> l1 = {1, 0.5, 1, 0.2, 0, 1, 2};
  for (const double start : {0.0, 1.0, -7.0}) {
    const OwlqnState end =
        minimize(to_the_end(), l1, std::vector<double>(a.size(), start), parabolas(a, c));
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double size = std::max(std::abs(c[i]) - l1[i] / a[i], 0.0);
      EXPECT_NEAR(end.x[i], std::copysign(size, c[i]), 1e-7) << i << " from " << start;
      EXPECT_EQ(end.x[i] == 0, size == 0) << i << " from " << start;
    }
  }
}

TEST(Owlqn, MeetsTheConditionsOfAnOptimum) {
  const LeastSquares function(30);
  const std::vector<double> l1(30, 1.5);
  const OwlqnState end = minimize(to_the_end(), l1, std::vector<double>(30), function);
  std::vector<double> g(30);
  function(end.x, g);
  std::size_t zeros = 0;
  for (std::size_t i = 0; i < 30; ++i) {
    if (end.x[i] == 0) {
      ++zeros;
      EXPECT_LE(std::abs(g[i]), 1.5 + 1e-6) << i;
    } else {
      EXPECT_NEAR(g[i], std::copysign(1.5, -end.x[i]), 1e-6) << i;
    }
  }
  EXPECT_GT(zeros, 3U);
  EXPECT_LT(zeros, 27U);
}

/// Elements without a penalty pass zero in one step.
TEST(Owlqn, FreeElementsAreNotHeldInTheirOrthant) {
  OwlqnOptions options = to_the_end();
  options.max_iterations = 1;
  const SmoothFunction function = parabolas({1, 1}, {-1, -1});
  const OwlqnState end = minimize(options, {0.1, 0}, {1e-3, 1e-3}, function);
  EXPECT_EQ(end.x[0], 0);
  EXPECT_LT(end.x[1], 0);
}

/// Where the smooth part does not fall, or hardly, its gradient says nothing of the first step.
TEST(Owlqn, BeginsWhereTheSmoothPartIsFlat) {
  for (const double offset : {0.0, 1e-12, -1e-12, 1e-9, 1e-7}) {
    const OwlqnState end = minimize({}, {0.1}, {1 + offset}, parabolas({2}, {1}));
    EXPECT_NEAR(end.x[0], 0.95, 1e-6) << offset;
    EXPECT_EQ(end.ending, Ending::kGradient) << offset;
  }
}

TEST(Lbfgs, FindsTheEndOfRosenbrocksValley) {
  for (const std::size_t size : {2, 10}) {
    std::vector<double> x(size, 1.0);
    for (std::size_t i = 0; i < size; i += 2) {
      x[i] = -1.2;
    }
    const OwlqnState end = minimize(to_the_end(), {}, x, rosenbrock);
    for (const double one : end.x) {
      EXPECT_NEAR(one, 1, 1e-6);
    }
    EXPECT_LT(end.iterations(), 150);
    EXPECT_TRUE(std::is_sorted(end.values.rbegin(), end.values.rend()));
  }
}

TEST(Lbfgs, PenaltiesOfZeroAreOnlyAnotherSearch) {
  const LeastSquares function(20);
  const OwlqnState without = minimize(to_the_end(), {}, std::vector<double>(20), function);
  const OwlqnState with =
      minimize(to_the_end(), std::vector<double>(20), std::vector<double>(20), function);
  EXPECT_TRUE(test::within(1e-6, Shape{20}, with.x, without.x));
}

TEST(Lbfgs, StepsBackFromWhereTheFunctionIsNotFinite) {
  const SmoothFunction barrier = [](std::span<const double> x, std::span<double> g) {
    g[0] = x[0] > 0 ? 1 - 1e-3 / x[0] : kNan;
    return x[0] > 0 ? x[0] - 1e-3 * std::log(x[0]) : kNan;
  };
  for (const std::vector<double>& l1 : {std::vector<double>{}, std::vector<double>{0.0}}) {
    const OwlqnState end = minimize(to_the_end(), l1, {0.9}, barrier);
    EXPECT_NEAR(end.x[0], 1e-3, 1e-8);
  }
}

TEST(Lbfgs, EvaluatesNoMoreOftenThanItMay) {
  for (const std::vector<double>& l1 : {std::vector<double>{}, std::vector<double>(10, 1e-3)}) {
    for (std::int64_t most = 1; most <= 30; ++most) {
      std::int64_t calls = 0;
      OwlqnOptions options = to_the_end();
      options.max_evaluations = most;
      const OwlqnState end = minimize(options, l1, std::vector<double>(10, -1.0),
                                      [&calls](std::span<const double> x, std::span<double> g) {
                                        ++calls;
                                        return rosenbrock(x, g);
                                      });
      EXPECT_EQ(calls, most);
      EXPECT_EQ(end.evaluations, most);
      EXPECT_EQ(end.ending, Ending::kEvaluations);
      EXPECT_TRUE(std::is_sorted(end.values.rbegin(), end.values.rend()));
      EXPECT_EQ(end.values.back() < end.values.front(), end.iterations() > 0);
      EXPECT_TRUE(most < 8 || end.iterations() > 1) << most;
    }
  }
}

/// A search that is cut short leaves the lowest point that it saw.
TEST(Lbfgs, ASearchThatIsCutShortCounts) {
  const SmoothFunction slope = parabolas({1e-6}, {1e6});
  OwlqnOptions options = to_the_end();
  options.max_evaluations = 4;  // steps 1, 1.5, 2.25 from 0
  const OwlqnState end = minimize(options, {}, {0}, slope);
  EXPECT_DOUBLE_EQ(end.x[0], 2.25);
  options.growth = 10;
  EXPECT_DOUBLE_EQ(minimize(options, {}, {0}, slope).x[0], 100);
  options = to_the_end();
  options.search_evaluations = 2;
  options.max_iterations = 1;
  EXPECT_DOUBLE_EQ(minimize(options, {}, {0}, slope).x[0], 1.5);
}

TEST(Owlqn, SaysWhyItEnds) {
  OwlqnOptions options;
  const std::vector<double> far(10, -1.0);
  options.max_iterations = 3;
  EXPECT_EQ(minimize(options, {}, far, rosenbrock).ending, Ending::kIterations);
  EXPECT_EQ(minimize(options, {}, far, rosenbrock).iterations(), 3);
  options.max_iterations = 0;
  const OwlqnState none = minimize(options, {}, far, rosenbrock);
  EXPECT_EQ(none.x, far);
  EXPECT_EQ(none.values.size(), 1U);
  options.max_iterations = 1000;
  EXPECT_EQ(minimize(options, {}, {1, 1}, rosenbrock).ending, Ending::kGradient);
  EXPECT_EQ(minimize(options, {}, {1, 1}, rosenbrock).iterations(), 0);
  const SmoothFunction upwards = [](std::span<const double> x, std::span<double> g) {
    g[0] = -1;  // it says that it falls where it rises
    return x[0];
  };
  const OwlqnState stuck = minimize(options, {}, {0}, upwards);
  EXPECT_EQ(stuck.ending, Ending::kSearch);
  EXPECT_EQ(stuck.x, std::vector<double>{0});
  for (const Ending ending : {Ending::kIterations, Ending::kEvaluations, Ending::kValues,
                              Ending::kGradient, Ending::kSearch}) {
    EXPECT_STRNE(name_of(ending), "");
  }
  EXPECT_STREQ(name_of(Ending::kNone), "");
}

/// x^4 falls slower and slower: its values are close together before its gradient is small.
TEST(Owlqn, ComparesTwentyValues) {
  const SmoothFunction flat = [](std::span<const double> x, std::span<double> g) {
    g[0] = 4e6 * std::pow(x[0], 3);
    g[1] = 1;  // and never ends to fall, by little
    return 1e6 * std::pow(x[0], 4) + x[1];
  };
  OwlqnOptions options;
  options.tolerance = 1e-3;
  options.search_evaluations = 1;
  options.max_iterations = 500;
  const OwlqnState end = minimize(options, {}, {1, 0}, flat);
  ASSERT_EQ(end.ending, Ending::kValues);
  ASSERT_GE(end.iterations(), 20);
  const auto newest = end.values.end() - 20;
  EXPECT_LE(*newest - end.values.back(), 1e-3 * end.values.front());
}

TEST(Owlqn, GoesOnFromAnyStateWithTheSameBits) {
  const LeastSquares function(12);
  for (const std::vector<double>& l1 : {std::vector<double>{}, std::vector<double>(12, 0.5)}) {
    OwlqnOptions options;
    options.tolerance = 0;
    options.memory = 4;
    options.max_iterations = 12;
    const OwlqnState whole = minimize(options, l1, std::vector<double>(12), function);
    EXPECT_EQ(whole.steps.size(), 4U);
    for (int stop = 0; stop <= 12; ++stop) {
      Owlqn first(options, l1, at(std::vector<double>(12)));
      for (int i = 0; i < stop; ++i) {
        first.step(function);
      }
      Owlqn second(options, l1, owlqn_state_from(to_bytes(first.state()), "a test"));
      EXPECT_EQ(second.state(), first.state());
      while (second.step(function)) {
      }
      EXPECT_EQ(second.state(), whole) << "stopped after " << stop;
    }
    OwlqnState forgetful = at(std::vector<double>(12));
    Owlqn first(options, l1, forgetful);
    first.step(function);
    first.step(function);
    forgetful = first.state();
    forgetful.steps.clear();
    forgetful.changes.clear();
    Owlqn second(options, l1, forgetful);
    while (second.step(function)) {
    }
    EXPECT_NE(second.state().x, whole.x);
  }
}

TEST(Owlqn, GoesOnBeyondALimitThatIsRaised) {
  OwlqnOptions options;
  options.max_iterations = 5;
  const OwlqnState five = minimize(options, {}, std::vector<double>(10, -1.0), rosenbrock);
  options.max_iterations = 9;
  Owlqn more(options, {}, five);
  while (more.step(rosenbrock)) {
  }
  EXPECT_EQ(more.state(), minimize(options, {}, std::vector<double>(10, -1.0), rosenbrock));
}

TEST(Owlqn, GoesOnWithASmallerMemory) {
  const LeastSquares function(12);
  OwlqnOptions options;
  options.tolerance = 0;
  options.max_iterations = 6;
  const OwlqnState large = minimize(options, {}, std::vector<double>(12), function);
  ASSERT_EQ(large.steps.size(), 6U);
  OwlqnState small = large;
  small.steps.erase(small.steps.begin(), small.steps.end() - 2);
  small.changes.erase(small.changes.begin(), small.changes.end() - 2);
  options.max_iterations = 12;
  Owlqn same(options, {}, large);
  options.memory = 2;
  Owlqn cut(options, {}, large);
  EXPECT_EQ(cut.state().steps, small.steps);
  EXPECT_EQ(cut.state().changes, small.changes);
  Owlqn by_hand(options, {}, small);
  while (cut.step(function)) {
    EXPECT_TRUE(by_hand.step(function));
    EXPECT_EQ(cut.state().steps.size(), 2U);
    EXPECT_EQ(cut.state().changes.size(), 2U);
  }
  EXPECT_FALSE(by_hand.step(function));
  EXPECT_EQ(cut.state().iterations(), 12);
  EXPECT_EQ(cut.state(), by_hand.state());
  while (same.step(function)) {
  }
  EXPECT_NE(cut.state().x, same.state().x);
}

TEST(Owlqn, ASearchThatFailedIsNotBegunAgain) {
  const SmoothFunction upwards = [](std::span<const double> x, std::span<double> g) {
    g[0] = -1;
    return x[0];
  };
  OwlqnState stuck = minimize({}, {}, {0}, upwards);
  ASSERT_EQ(stuck.ending, Ending::kSearch);
  OwlqnOptions options;
  options.max_iterations = 1000;
  Owlqn again(options, {}, owlqn_state_from(to_bytes(stuck), "a test"));
  EXPECT_FALSE(again.step(upwards));
  EXPECT_EQ(again.state(), stuck);
  options.max_iterations = 0;
  EXPECT_EQ(Owlqn(options, {}, stuck).state().ending, Ending::kIterations);
  OwlqnState unbegun = at({0});
  unbegun.ending = Ending::kSearch;
  EXPECT_EQ(Owlqn({}, {}, unbegun).state().ending, Ending::kNone);
  stuck.ending = Ending::kNone;
  Owlqn asked({}, {}, stuck);
  EXPECT_FALSE(asked.step(upwards));
  EXPECT_GT(asked.state().evaluations, stuck.evaluations);
  EXPECT_EQ(asked.state().ending, Ending::kSearch);
}

/// Errors in the search along the direction, and in the one without a memory after it.
TEST(Owlqn, AnErrorLeavesTheStateOfBefore) {
  const LeastSquares good(12);
  OwlqnOptions options;
  options.tolerance = 0;
  options.max_iterations = 8;
  options.search_evaluations = 3;
  for (const std::vector<double>& l1 : {std::vector<double>{}, std::vector<double>(12, 0.5)}) {
    int left = 0;  // evaluations that find nothing, until one throws
    const SmoothFunction broken = [&left](std::span<const double>, std::span<double>) {
      return left-- > 0 ? kNan : throw IoError("the disk is gone");
    };
    Owlqn minimizer(options, l1, at(std::vector<double>(12)));
    ASSERT_TRUE(minimizer.step(good));
    ASSERT_TRUE(minimizer.step(good));
    const OwlqnState before = minimizer.state();
    ASSERT_FALSE(before.steps.empty());
    std::int64_t more = 0;
    for (int evaluation = 0; evaluation < 6; ++evaluation) {
      left = evaluation;
      EXPECT_EQ(message_of<IoError>([&] { minimizer.step(broken); }), "the disk is gone");
      more += evaluation + 1;
      OwlqnState expected = before;
      expected.evaluations += more;
      EXPECT_EQ(minimizer.state(), expected) << evaluation;
    }
    while (minimizer.step(good)) {
    }
    OwlqnState whole = minimize(options, l1, std::vector<double>(12), good);
    whole.evaluations += more;
    EXPECT_EQ(minimizer.state(), whole);
  }
}

TEST(Owlqn, AnErrorInTheFirstIterationLeavesANewState) {
  for (const int last : {1, 2}) {
    int calls = 0;
    const SmoothFunction function = [&](std::span<const double> x, std::span<double> g) {
      if (++calls == last) {
        throw IoError("the disk is gone");
      }
      return rosenbrock(x, g);
    };
    Owlqn minimizer({}, {}, at({-1, 1}));
    EXPECT_EQ(message_of<IoError>([&] { minimizer.step(function); }), "the disk is gone");
    OwlqnState expected = at({-1, 1});
    expected.evaluations = last;
    EXPECT_EQ(minimizer.state(), expected);
  }
}

TEST(Owlqn, RefusesAStartThatIsNotFinite) {
  EXPECT_EQ(message_of<NumericError>([] { minimize({}, {}, {kNan}, parabolas({1}, {0})); }),
            "L-BFGS: at the start the function is nan and its gradient's norm nan: finite ones are "
            "needed");
}

std::string refusal(const OwlqnOptions& options, std::vector<double> l1 = {},
                    OwlqnState state = at({1, 2})) {
  return message_of<ShapeError>([&] { Owlqn(options, std::move(l1), std::move(state)); });
}

TEST(Owlqn, RefusesOptionsOutOfRange) {
  OwlqnOptions options;
  options.max_iterations = -1;
  EXPECT_EQ(refusal(options), "L-BFGS: max_iterations is -1, at least 0 is needed");
  options = {};
  options.tolerance = -0.5;
  EXPECT_EQ(refusal(options), "L-BFGS: tolerance is -0.5, at least 0 is needed");
  options = {};
  options.memory = 0;
  EXPECT_EQ(refusal(options), "L-BFGS: memory is 0, at least 1 is needed");
  options = {};
  options.search_evaluations = 0;
  EXPECT_EQ(refusal(options), "L-BFGS: search_evaluations is 0, at least 1 is needed");
  options = {};
  options.max_evaluations = -1;
  EXPECT_EQ(refusal(options), "L-BFGS: max_evaluations is -1, at least 0 is needed");
  options = {};
  options.growth = 1;
  EXPECT_EQ(refusal(options), "L-BFGS: growth is 1, more than 1 is needed");
}

TEST(Owlqn, RefusesWhatDoesNotFit) {
  EXPECT_EQ(refusal({}, {1}), "L-BFGS: 1 penalties for an x of 2 elements");
  EXPECT_EQ(refusal({}, {1, -1}), "L-BFGS: the penalty of element 1 is -1, at least 0 is needed");
  OwlqnState state = at({1, 2});
  state.values = {3};
  EXPECT_EQ(refusal({}, {}, state),
            "L-BFGS: a state's gradient has 0 elements, 2 are needed for an x of 2 and 1 values");
  state.gradient = {1, 2};
  state.steps = {{1, 2}};
  EXPECT_EQ(refusal({}, {}, state), "L-BFGS: a state has 1 differences of x but 0 of the gradient");
  state.changes = {{1, 2, 3}};
  EXPECT_EQ(refusal({}, {}, state), "L-BFGS: a state's x has 2 elements but a difference has 3");
}

TEST(OwlqnState, RefusesBytesThatAreNotOne) {
  OwlqnOptions options;
  options.max_iterations = 3;
  const std::vector<std::byte> good =
      to_bytes(minimize(options, {}, std::vector<double>(10, -1.0), rosenbrock));
  const auto message = [](const std::vector<std::byte>& bytes) {
    return message_of<IoError>([&] { owlqn_state_from(bytes, "state"); });
  };
  EXPECT_EQ(message({}), "state: 0 bytes that are no state of a minimisation");
  std::vector<std::byte> bad = good;
  bad[0] ^= std::byte{1};
  EXPECT_NE(message(bad).find("no state of a minimisation"), std::string::npos);
  bad = good;
  bad[48] = std::byte{99};  // why it has ended
  EXPECT_NE(message(bad).find("no state of a minimisation"), std::string::npos);
  for (const std::byte top : {std::byte{0x40}, std::byte{0x80}, std::byte{0xFF}}) {
    bad = good;
    bad[47] = top;  // evaluations
    EXPECT_NE(message(bad).find(" evaluations, at most 4611686018427387903 can be"),
              std::string::npos)
        << message(bad);
  }
  for (const std::size_t cut : {std::size_t{1}, sizeof(double)}) {
    bad.assign(good.begin(), good.end() - static_cast<std::ptrdiff_t>(cut));
    EXPECT_NE(message(bad).find("of 10 elements with 3 pairs and 4 values does not fit its "),
              std::string::npos)
        << message(bad);
  }
  for (std::size_t count = 8; count < 40; ++count) {  // sizes that cannot be
    bad = good;
    bad[count] ^= std::byte{0xFF};
    EXPECT_NE(message(bad).find("does not fit its"), std::string::npos) << count;
  }
}

}  // namespace
}  // namespace gentrain::optim
