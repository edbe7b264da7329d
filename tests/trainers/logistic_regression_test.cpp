// Logistic regression against what is known of its optimum: conditions, another solver, finite
// differences, cases with a solution in closed form.
#include "trainers/logistic_regression.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/compare.h"
#include "tests/trainers/logistic_problem.h"

namespace gentrain::trainers {
namespace {

using test::message_of;

/// The textbook's objective in plain loops over centred and standardised features, and FISTA on it.
/// Source: Beck and Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm".
class Reference {
 public:
  Reference(const LogisticProblem& problem, const LogisticOptions& options)
      : n_(problem.labels.size()),
        d_(static_cast<std::size_t>(problem.features)),
        rows_(problem.classes == 2 ? 1 : static_cast<std::size_t>(problem.classes)),
        labels_(problem.labels),
        l1_(options.reg_param * options.elastic_net),
        l2_(options.reg_param * (1 - options.elastic_net)),
        x_(n_ * d_) {
    for (std::size_t j = 0; j < d_; ++j) {
      double mean = 0;
      for (std::size_t i = 0; i < n_; ++i) {
        mean += static_cast<double>(problem.x[i * d_ + j]) / static_cast<double>(n_);
      }
      double squares = 0;
      for (std::size_t i = 0; i < n_; ++i) {
        squares += std::pow(static_cast<double>(problem.x[i * d_ + j]) - mean, 2);
      }
      const double deviation = std::sqrt(squares / static_cast<double>(n_ - 1));
      means.push_back(mean);
      deviations.push_back(deviation < 1e-12 ? 0 : deviation);
      for (std::size_t i = 0; i < n_; ++i) {
        x_[i * d_ + j] = deviations[j] > 0
                             ? (static_cast<double>(problem.x[i * d_ + j]) - mean) / deviations[j]
                             : 0;
      }
    }
  }

  /// Of the smooth part; the layout of variables is LogisticObjective's.
  [[nodiscard]] std::vector<double> gradient(const std::vector<double>& at) const {
    std::vector<double> g(at.size());
    for (std::size_t i = 0; i < n_; ++i) {
      const std::vector<double> wrong = errors_of(at, i);
      for (std::size_t r = 0; r < rows_; ++r) {
        for (std::size_t j = 0; j < d_; ++j) {
          g[r * d_ + j] += wrong[r] * x_[i * d_ + j] / static_cast<double>(n_);
        }
        g[rows_ * d_ + r] += wrong[r] / static_cast<double>(n_);
      }
    }
    for (std::size_t i = 0; i < rows_ * d_; ++i) {
      g[i] += l2_ * at[i];
    }
    return g;
  }

  [[nodiscard]] std::vector<double> solve() const {
    std::vector<double> at(rows_ * (d_ + 1));
    std::vector<double> ahead = at;
    const double step = 1.0 / (static_cast<double>(d_ + 1) + l2_);  // the trace is a bound
    double momentum = 1;
    for (int iteration = 0; iteration < 6000; ++iteration) {
      const std::vector<double> g = gradient(ahead);
      std::vector<double> next(at.size());
      double towards = 0;
      for (std::size_t i = 0; i < at.size(); ++i) {
        const double moved = ahead[i] - step * g[i];
        const double l1 = i < rows_ * d_ ? l1_ * step : 0;
        next[i] = std::copysign(std::max(std::abs(moved) - l1, 0.0), moved);
        towards += (ahead[i] - next[i]) * (next[i] - at[i]);
      }
      // Restarted where momentum points uphill: O'Donoghue and Candes 2015.
      const double then = towards > 0 ? 1 : (1 + std::sqrt(1 + 4 * momentum * momentum)) / 2;
      for (std::size_t i = 0; i < at.size(); ++i) {
        ahead[i] = next[i] + (towards > 0 ? 0 : (momentum - 1) / then) * (next[i] - at[i]);
      }
      momentum = then;
      at = next;
    }
    return at;
  }

  /// A model's variables: coefficients and intercepts of these features.
  [[nodiscard]] std::vector<double> variables_of(const LogisticModel& model) const {
    std::vector<double> at = model.coefficients;
    at.insert(at.end(), model.intercepts.begin(), model.intercepts.end());
    for (std::size_t i = 0; i < rows_ * d_; ++i) {
      at[rows_ * d_ + i / d_] += at[i] * means[i % d_];
      at[i] *= deviations[i % d_];
    }
    return at;
  }

  /// The largest amount by which the conditions of an optimum are missed.
  [[nodiscard]] double missed(const std::vector<double>& at) const {
    const std::vector<double> g = gradient(at);
    double most = 0;
    for (std::size_t i = 0; i < at.size(); ++i) {
      const double l1 = i < rows_ * d_ ? l1_ : 0;
      most = std::max(most,
                      at[i] == 0 ? std::abs(g[i]) - l1 : std::abs(g[i] + std::copysign(l1, at[i])));
    }
    return most;
  }

  std::vector<double> means, deviations;

 private:
  /// Derivatives of a sample's loss by its logits.
  [[nodiscard]] std::vector<double> errors_of(const std::vector<double>& at, std::size_t i) const {
    std::vector<double> logits(at.end() - static_cast<std::ptrdiff_t>(rows_), at.end());
    for (std::size_t r = 0; r < rows_; ++r) {
      for (std::size_t j = 0; j < d_; ++j) {
        logits[r] += at[r * d_ + j] * x_[i * d_ + j];
      }
    }
    if (rows_ == 1) {
      return {1 / (1 + std::exp(-logits[0])) - labels_[i]};
    }
    double sum = 0;
    for (double& logit : logits) {
      logit = std::exp(logit);
      sum += logit;
    }
    for (double& logit : logits) {
      logit /= sum;
    }
    logits[static_cast<std::size_t>(labels_[i])] -= 1;
    return logits;
  }

  std::size_t n_, d_, rows_;
  const std::vector<std::int32_t>& labels_;
  double l1_, l2_;
  std::vector<double> x_;
};

/// Classes, and whether features are centred.
class Logistic : public ::testing::TestWithParam<std::pair<int, bool>> {
 protected:
  [[nodiscard]] int classes() const { return GetParam().first; }
  [[nodiscard]] LogisticProblem problem() const { return {120, 14, classes(), 5}; }
  [[nodiscard]] LogisticOptions options(double elastic_net = 0.3) const {
    LogisticOptions result = to_the_optimum();
    result.elastic_net = elastic_net;
    result.centre = GetParam().second;
    return result;
  }
};

TEST_P(Logistic, MeetsTheConditionsOfTheOptimum) {
  const LogisticProblem data = problem();
  for (const double elastic_net : {0.0, 0.3, 1.0}) {
    const LogisticResult fit = fit_alone(data, options(elastic_net));
    const Reference reference(data, options(elastic_net));
    EXPECT_LT(reference.missed(reference.variables_of(fit.model)), 1e-6) << elastic_net;
    const std::int64_t rows = classes() == 2 ? 1 : classes();
    if (elastic_net == 0) {
      EXPECT_EQ(fit.model.nonzero(), rows * 13);  // all but the constant feature's
    } else {
      EXPECT_LT(fit.model.nonzero(), rows * 13);
      EXPECT_GT(fit.model.nonzero(), 0);
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      EXPECT_EQ(fit.model.coefficients[static_cast<std::size_t>(row * 14 + 13)], 0);
    }
  }
}

TEST_P(Logistic, IsWhereAnotherSolverEnds) {
  const LogisticProblem data = problem();
  const LogisticResult fit = fit_alone(data, options());
  const Reference reference(data, options());
  const std::vector<double> expected = reference.solve();
  ASSERT_LT(reference.missed(expected), 1e-9);
  std::vector<double> actual = reference.variables_of(fit.model);
  // Of several classes the intercepts may all be larger by the same.
  const std::size_t rows = fit.model.intercepts.size();
  const double shift = rows == 1 ? 0 : actual.back() - expected.back();
  for (std::size_t i = actual.size() - rows; i < actual.size(); ++i) {
    actual[i] -= shift;
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], 1e-6) << i;
    EXPECT_EQ(actual[i] == 0, expected[i] == 0) << i;
  }
}

TEST_P(Logistic, GradientIsThatOfFiniteDifferences) {
  const LogisticProblem data = problem();
  const auto single = comm::make_single();
  WorkerPool pool(1, true);
  const LabelledFeatures features = data.on(*single, 4);
  LogisticObjective objective(*single, pool, 4, features, 0.3, GetParam().second);
  std::vector<double> x;
  for (const float value : test::floats(static_cast<std::int64_t>(objective.variables()), 9)) {
    x.push_back(static_cast<double>(value));
  }
  std::vector<double> gradient(x.size());
  objective(x, gradient);
  std::vector<double> unused(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double kept = x[i];
    constexpr double kStep = 1e-5;
    x[i] = kept + kStep;
    const double above = objective(x, unused);
    x[i] = kept - kStep;
    const double below = objective(x, unused);
    x[i] = kept;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-8) << i;
  }
}

TEST_P(Logistic, StatisticsAreThoseOfTheFeatures) {
  const LogisticProblem data = problem();
  const auto single = comm::make_single();
  WorkerPool pool(1, true);
  const LabelledFeatures features = data.on(*single, 16);
  const LogisticObjective objective(*single, pool, 16, features, 0, GetParam().second);
  const Reference reference(data, options());
  EXPECT_TRUE(test::within(1e-13, Shape{14}, objective.deviations(), reference.deviations));
  EXPECT_TRUE(test::within(1e-13, Shape{14}, objective.means(), reference.means));
  EXPECT_EQ(objective.deviations()[13], 0);  // exactly
  EXPECT_EQ(objective.centres(), GetParam().second ? objective.means() : std::vector<double>(14));
}

/// Centred they come near the optimum, which they are still on their way to otherwise.
TEST_P(Logistic, TwentyIterationsFallAllTheWay) {
  LogisticOptions twenty;
  twenty.centre = GetParam().second;
  const LogisticResult fit = fit_alone(problem(), twenty);
  EXPECT_LE(fit.iterations, 20);
  EXPECT_EQ(fit.ending == optim::Ending::kIterations, fit.iterations == 20);
  EXPECT_EQ(fit.history.size(), static_cast<std::size_t>(fit.iterations) + 1);
  EXPECT_TRUE(std::is_sorted(fit.history.rbegin(), fit.history.rend()));
  const double least = fit_alone(problem(), options()).history.back();
  EXPECT_LT(least, fit.history.back());
  EXPECT_LT((fit.history.back() - least) / (fit.history.front() - least),
            twenty.centre ? 1e-4 : 0.2);
  EXPECT_EQ(fit_alone(problem(), twenty).model, fit.model);
}

INSTANTIATE_TEST_SUITE_P(All, Logistic,
                         ::testing::Values(std::pair(2, false), std::pair(2, true),
                                           std::pair(4, false), std::pair(4, true)));

TEST(LogisticRegression, DefaultsAreTheJobs) {
  const LogisticOptions options;
  EXPECT_EQ(options.max_iterations, 20);
  EXPECT_EQ(options.reg_param, 0.05);
  EXPECT_EQ(options.elastic_net, 0.3);
  EXPECT_EQ(options.tolerance, 1e-6);
  EXPECT_FALSE(options.centre);
}

/// A penalty that no coefficient is worth leaves the classes' frequencies.
TEST(LogisticRegression, ALargePenaltyLeavesTheFrequencies) {
  for (const int classes : {2, 3}) {
    const LogisticProblem data(90, 5, classes, 3);
    LogisticOptions options = to_the_optimum();
    options.reg_param = 100;
    const LogisticResult fit = fit_alone(data, options);
    EXPECT_EQ(fit.model.nonzero(), 0);
    const auto probabilities = fit.model.probabilities(std::span(data.x).first(5));
    for (int c = 0; c < classes; ++c) {
      EXPECT_NEAR(probabilities[static_cast<std::size_t>(c)],
                  static_cast<double>(std::count(data.labels.begin(), data.labels.end(), c)) / 90,
                  1e-7);
    }
    if (classes == 2) {  // which is where it begins
      EXPECT_EQ(fit.iterations, 0);
      EXPECT_EQ(fit.ending, optim::Ending::kGradient);
    }
  }
}

/// As many samples of either class: the first value is log 2; x = -1, 1 alone tells them apart, s
/// is known, and the optimum w solves 1 / (1 + exp(w / s)) / s = l2 w + l1.
TEST(LogisticRegression, TwoPointsInClosedForm) {
  LogisticProblem data(2, 1, 2, 1);
  data.x = {-1, 1};
  data.labels = {0, 1};
  LogisticOptions options = to_the_optimum();
  options.reg_param = 0.2;
  const LogisticResult fit = fit_alone(data, options);
  EXPECT_NEAR(fit.history.front(), std::log(2.0), 1e-15);
  const double deviation = std::sqrt(2.0);
  const double w = fit.model.coefficients[0] * deviation;
  EXPECT_NEAR(1 / (1 + std::exp(w / deviation)) / deviation, 0.2 * 0.7 * w + 0.2 * 0.3, 1e-7);
  EXPECT_GT(w, 0.1);
  EXPECT_NEAR(fit.model.intercepts[0], 0, 1e-7);
}

/// Without penalties the coefficients of several classes are centred, intercepts always.
TEST(LogisticRegression, SeveralClassesAreCentred) {
  LogisticOptions options;
  for (const double reg_param : {0.0, 0.05}) {
    options.reg_param = reg_param;
    const LogisticModel model = fit_alone(LogisticProblem(200, 3, 3, 8), options).model;
    EXPECT_NEAR(std::accumulate(model.intercepts.begin(), model.intercepts.end(), 0.0), 0, 1e-12);
    const double sum = model.coefficients[0] + model.coefficients[3] + model.coefficients[6];
    EXPECT_EQ(std::abs(sum) < 1e-12, reg_param == 0) << sum;
  }
}

TEST(LogisticRegression, TellsOfItselfAsJson) {
  LogisticResult result;
  result.model = {3, 2, {0, 1, 0, 0, 2, 3}, {0, 0, 0}};
  result.iterations = 1;
  result.history = {1.5, 0.5};
  result.ending = optim::Ending::kGradient;
  EXPECT_EQ(to_json(result).dump(),
            R"({"classes":3,"ended_by":"gradient converged","features":2,"iterations":1,)"
            R"("nonzero_weights":3,"objective_history":[1.5,0.5]})");
}

std::string refusal(const LogisticProblem& data, const LogisticOptions& options = {}) {
  const auto single = comm::make_single();
  WorkerPool pool(1, true);
  const LabelledFeatures features = data.on(*single, 16);
  return message_of<JobError>([&] { fit_logistic_regression(*single, pool, options, features); });
}

TEST(LogisticRegression, RefusesSamplesThatCannotBeFitted) {
  const std::string what = "logistic regression: ";
  LogisticProblem data(10, 3, 3, 1);
  data.labels.assign(10, 1);
  EXPECT_EQ(refusal(data), what + "all 10 samples are of class 1: two classes at least are needed");
  data.labels[3] = 3;
  EXPECT_EQ(refusal(data), what + "the label of sample 3 is 3: of 3 classes labels are 0 to 2");
  data.labels[3] = -1;
  EXPECT_EQ(refusal(data), what + "the label of sample 3 is -1: of 3 classes labels are 0 to 2");
  data.labels = {0, 1};
  EXPECT_EQ(refusal(data), what + "2 samples of 3 classes: one of each at least is needed");
  data.classes = 1;
  EXPECT_EQ(refusal(data), what + "there are 1 classes: two at least are needed");
  data.features = 0;
  EXPECT_EQ(refusal(data), what + "samples have 0 features: one at least is needed");
}

TEST(LogisticRegression, NamesTheFirstFeatureThatIsNotFinite) {
  LogisticProblem data(50, 6, 2, 1);
  data.x[40 * 6 + 2] = std::numeric_limits<float>::infinity();
  data.x[17 * 6 + 5] = std::numeric_limits<float>::quiet_NaN();
  const auto message = [&] { return message_of<NumericError>([&] { fit_alone(data, {}); }); };
  EXPECT_EQ(message(),
            "logistic regression: feature 5 of sample 17 is nan: finite numbers are needed");
  data.x[17 * 6 + 5] = 0;
  EXPECT_EQ(message(),
            "logistic regression: feature 2 of sample 40 is inf: finite numbers are needed");
}

TEST(LogisticRegression, RefusesOptionsOutOfRange) {
  const LogisticProblem data(10, 3, 2, 1);
  const std::string what = "logistic regression: ";
  EXPECT_EQ(refusal(data, {.max_iterations = -1}),
            what + "max_iterations is -1, at least 0 is needed");
  EXPECT_EQ(refusal(data, {.reg_param = -0.5}), what + "reg_param is -0.5, at least 0 is needed");
  EXPECT_EQ(refusal(data, {.elastic_net = 1.5}), what + "elastic_net is 1.5, 0 to 1 is needed");
  EXPECT_EQ(refusal(data, {.tolerance = -1}), what + "tolerance is -1, at least 0 is needed");
  EXPECT_EQ(refusal(data, {.shards = 0}), what + "shards is 0, at least 1 is needed");
}

}  // namespace
}  // namespace gentrain::trainers
