// Logistic regression on features, fitted as Spark's LogisticRegression does it: elastic net,
// standardised features, OWL-QN; over the ranks, with the same bytes for any number of them.
// Source: Spark 2 to 3, org.apache.spark.ml.classification.LogisticRegression; Friedman, Hastie and
// Tibshirani 2010, "Regularization paths for generalized linear models via coordinate descent".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "comm/communicator.h"
#include "core/optim/owlqn.h"
#include "trainers/logistic_model.h"
#include "trainers/logistic_objective.h"
#include "trainers/worker_pool.h"

namespace gentrain::trainers {

/// The objective is LogisticObjective's with l2 = reg_param (1 - elastic_net), plus
/// reg_param * elastic_net times the sum of |w|: coefficients of standardised features are
/// penalised, intercepts are not.
struct LogisticOptions {
  std::int64_t max_iterations = 20;  // Spark's maxIter, >= 0
  double reg_param = 0.05;           // regParam, >= 0
  double elastic_net = 0.3;          // elasticNetParam, 0 to 1: the share of L1
  /// See optim::OwlqnOptions. With Spark's 1e-6 20 iterations end by their number, unless the
  /// gradient vanishes; for the optimum itself raise max_iterations and take 0.
  double tolerance = 1e-6;
  std::int64_t shards = 16;  // into which the samples are cut; part of the contract
  /// Whether features are centred as well, as later versions of Spark 3 do: the optimum is the
  /// same, the way there much shorter where means are not small beside the deviations.
  bool centre = false;
  friend bool operator==(const LogisticOptions&, const LogisticOptions&) = default;
};

/// A fit under way. Two classes: log odds of class 1, which begin at those of the classes'
/// frequencies. More: logits, which begin at log(1 + count); the intercepts' mean is taken off at
/// the end, without penalties that of each feature's coefficients too. Coefficients begin at 0.
class LogisticFit {
 public:
  /// All but the options must outlive it. Collective. Throws JobError for an option out of range,
  /// and as LogisticObjective.
  LogisticFit(comm::Communicator& communicator, WorkerPool& pool, const LogisticOptions& options,
              const LabelledFeatures& data);
  ~LogisticFit();
  LogisticFit(const LogisticFit&) = delete;
  LogisticFit& operator=(const LogisticFit&) = delete;

  /// One iteration; false once it has ended. Collective.
  bool step();

  /// What a checkpoint keeps: with it another fit to the same data goes on, with the same bits.
  /// `values` is the history of the objective.
  [[nodiscard]] const optim::OwlqnState& state() const;
  /// Goes on from there. Throws ShapeError if it is the state of other features or classes.
  void resume(optim::OwlqnState state);

  /// What has been fitted so far, for features as they are.
  [[nodiscard]] LogisticModel model() const;

 private:
  LogisticOptions options_;
  LogisticObjective objective_;
  std::unique_ptr<optim::Owlqn> minimizer_;
};

/// A fit at its end.
struct LogisticResult {
  LogisticModel model;
  std::int64_t iterations = 0;
  std::vector<double> history;  // of the objective: at the start, after each iteration
  optim::Ending ending = optim::Ending::kNone;
};

/// {"classes", "features", "nonzero_weights", "iterations", "ended_by", "objective_history"}
nlohmann::json to_json(const LogisticResult& result);

/// Fits from the start to the end. Collective. Throws as LogisticFit.
LogisticResult fit_logistic_regression(comm::Communicator& communicator, WorkerPool& pool,
                                       const LogisticOptions& options,
                                       const LabelledFeatures& data);

}  // namespace gentrain::trainers
