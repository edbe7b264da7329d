// Logistic regression: from options to the minimiser, from its variables to the model.
#include "trainers/logistic_regression.h"

#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

void check(bool good, const char* option, double value, const char* needed) {
  if (!good) {
    throw JobError(
        fmt::format("logistic regression: {} is {}, {} is needed", option, value, needed));
  }
}

const LogisticOptions& checked_fit(const LogisticOptions& options) {
  check(options.max_iterations >= 0, "max_iterations", static_cast<double>(options.max_iterations),
        "at least 0");
  check(options.reg_param >= 0 && std::isfinite(options.reg_param), "reg_param", options.reg_param,
        "at least 0");
  check(options.elastic_net >= 0 && options.elastic_net <= 1, "elastic_net", options.elastic_net,
        "0 to 1");
  check(options.tolerance >= 0 && std::isfinite(options.tolerance), "tolerance", options.tolerance,
        "at least 0");
  check(options.shards >= 1, "shards", static_cast<double>(options.shards), "at least 1");
  return options;
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Intercepts with which coefficients of 0 give the classes' frequencies, nearly so for several.
std::vector<double> first_intercepts(const std::vector<std::int64_t>& counts) {
  if (counts.size() == 2) {
    return {std::log(static_cast<double>(counts[1]) / static_cast<double>(counts[0]))};
  }
  std::vector<double> logits;
  for (const std::int64_t count : counts) {
    logits.push_back(std::log1p(static_cast<double>(count)));
  }
  const double centre = mean(logits);
  for (double& logit : logits) {
    logit -= centre;
  }
  return logits;
}

/// Takes the mean over the rows off each column.
void centre_columns(std::span<double> values, std::size_t rows) {
  const std::size_t columns = values.size() / rows;
  for (std::size_t j = 0; j < columns; ++j) {
    double sum = 0;
    for (std::size_t row = 0; row < rows; ++row) {
      sum += values[row * columns + j];
    }
    for (std::size_t row = 0; row < rows; ++row) {
      values[row * columns + j] -= sum / static_cast<double>(rows);
    }
  }
}

std::unique_ptr<optim::Owlqn> make_minimizer(const LogisticOptions& options,
                                             const LogisticObjective& objective,
                                             optim::OwlqnState state) {
  const std::size_t variables = objective.variables();
  const double l1 = options.reg_param * options.elastic_net;
  std::vector<double> penalties;
  if (l1 > 0) {
    penalties.assign(variables - objective.rows(), l1);
    penalties.resize(variables);
  }
  optim::OwlqnOptions own;
  own.max_iterations = options.max_iterations;
  own.tolerance = options.tolerance;
  return std::make_unique<optim::Owlqn>(own, std::move(penalties), std::move(state));
}

}  // namespace

LogisticFit::LogisticFit(comm::Communicator& communicator, WorkerPool& pool,
                         const LogisticOptions& options, const LabelledFeatures& data)
    : options_(checked_fit(options)),
      objective_(communicator, pool, options.shards, data,
                 options.reg_param * (1 - options.elastic_net), options.centre) {
  optim::OwlqnState start;
  start.x.resize(objective_.variables() - objective_.rows());
  const std::vector<double> intercepts = first_intercepts(objective_.counts());
  start.x.insert(start.x.end(), intercepts.begin(), intercepts.end());
  minimizer_ = make_minimizer(options_, objective_, std::move(start));
}

LogisticFit::~LogisticFit() = default;

bool LogisticFit::step() {
  return minimizer_->step([this](std::span<const double> x, std::span<double> gradient) {
    return objective_(x, gradient);
  });
}

const optim::OwlqnState& LogisticFit::state() const {
  return minimizer_->state();
}

void LogisticFit::resume(optim::OwlqnState state) {
  if (state.x.size() != objective_.variables()) {
    throw ShapeError(fmt::format(
        "logistic regression: a state of {} variables for a fit of {}: other features or classes",
        state.x.size(), objective_.variables()));
  }
  minimizer_ = make_minimizer(options_, objective_, std::move(state));
}

LogisticModel LogisticFit::model() const {
  const std::vector<double>& x = state().x;
  const std::size_t rows = objective_.rows();
  const std::size_t weights = x.size() - rows;
  const std::size_t features = weights / rows;
  LogisticModel model;
  model.classes = static_cast<int>(objective_.counts().size());
  model.features = static_cast<std::int64_t>(features);
  model.coefficients.resize(weights);
  model.intercepts.assign(x.end() - static_cast<std::ptrdiff_t>(rows), x.end());
  for (std::size_t i = 0; i < weights; ++i) {
    const std::size_t j = i % features;
    const double deviation = objective_.deviations()[j];
    model.coefficients[i] = deviation > 0 ? x[i] / deviation : 0;
    model.intercepts[i / features] -= model.coefficients[i] * objective_.centres()[j];
  }
  if (rows > 1) {
    centre_columns(model.intercepts, rows);
    if (options_.reg_param == 0) {
      centre_columns(model.coefficients, rows);
    }
  }
  return model;
}

nlohmann::json to_json(const LogisticResult& result) {
  return {{"classes", result.model.classes},           {"features", result.model.features},
          {"nonzero_weights", result.model.nonzero()}, {"iterations", result.iterations},
          {"ended_by", optim::name_of(result.ending)}, {"objective_history", result.history}};
}

LogisticResult fit_logistic_regression(comm::Communicator& communicator, WorkerPool& pool,
                                       const LogisticOptions& options,
                                       const LabelledFeatures& data) {
  LogisticFit fit(communicator, pool, options, data);
  while (fit.step()) {
  }
  return {fit.model(), fit.state().iterations(), fit.state().values, fit.state().ending};
}

}  // namespace gentrain::trainers
