// What watches a classifier's run: the step log, evaluation with best model and early stop, the
// check for numbers that are not finite.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "trainers/evaluate.h"
#include "trainers/loop.h"
#include "trainers/options.h"
#include "trainers/run_folder.h"

namespace gentrain::trainers {

/// Ends the run with NumericError when the loss is NaN or infinite; names the step and the first
/// parameter that is not finite. On every rank.
class FiniteCheck final : public Observer {
 public:
  FiniteCheck(StepRunner& runner, const ParameterSet& parameters)
      : runner_(runner), parameters_(parameters) {}
  void after_step(const StepReport& report) override;

 private:
  StepRunner& runner_;
  const ParameterSet& parameters_;
};

/// Counts steps, images and time, and keeps the last losses. On every rank.
class StepTimes final : public Observer {
 public:
  /// `process_start` is when the process began.
  explicit StepTimes(std::chrono::system_clock::time_point process_start)
      : process_start_(process_start) {}
  void after_step(const StepReport& report) override;

  [[nodiscard]] std::int64_t steps() const { return static_cast<std::int64_t>(seconds_.size()); }
  /// Median over all steps but the first.
  [[nodiscard]] double median_seconds() const;
  /// Images over the seconds of all steps but the first (the only one, if there is one).
  [[nodiscard]] double images_per_second() const;
  /// Process start to the end of the first step.
  [[nodiscard]] double startup_seconds() const { return startup_seconds_; }
  /// Mean over the last `count` steps (all, if fewer).
  [[nodiscard]] double mean_loss(std::size_t count) const;

 private:
  std::chrono::system_clock::time_point process_start_;
  double startup_seconds_ = 0;
  std::vector<double> seconds_;
  std::vector<std::int64_t> images_;
  std::vector<float> losses_;
};

/// Writes metrics.jsonl, and prints: a progress bar on a terminal, a line an epoch elsewhere. Rank
/// 0.
class StepLog final : public Observer {
 public:
  StepLog(RunFolder& folder, const LogOptions& options, bool terminal);
  void begin_stage(const Stage& stage, std::int64_t steps_planned) override;
  void after_step(const StepReport& report) override;

 private:
  void draw(const StepReport& report);
  [[nodiscard]] std::string line(const StepReport& report) const;

  RunFolder& folder_;
  LogOptions options_;
  bool terminal_;
  std::int64_t planned_ = 0;
  std::chrono::steady_clock::time_point stage_start_;
  std::chrono::steady_clock::time_point last_draw_;
  double window_seconds_ = 0;
  std::int64_t window_images_ = 0;
  double images_per_second_ = 0;
};

/// Evaluates every so many epochs and at the end; keeps the best weights, and asks for an early
/// stop. On every rank, with the same result.
class EvaluationObserver final : public Observer {
 public:
  struct Setting {
    comm::Communicator& communicator;
    StepRunner& runner;
    const Network& network;
    ParameterSet& parameters;
    const data::Dataset& dataset;
    data::Normalization normalization;
    std::int64_t chunk = 256;
    EvaluateOptions evaluate;
    EarlyStopOptions early_stop;
    BestOptions best;
    RunFolder* folder = nullptr;  // of rank 0, for metrics.jsonl
  };
  explicit EvaluationObserver(const Setting& setting) : setting_(setting) {}

  void begin_stage(const Stage& stage, std::int64_t steps_planned) override;
  void after_step(const StepReport& report) override;
  [[nodiscard]] bool wants_stop() const override { return stop_; }

  /// The last evaluation; none if no stage had a step.
  [[nodiscard]] const std::optional<Evaluation>& last() const { return last_; }
  /// The best evaluation where a best model is kept, and its step.
  [[nodiscard]] const std::optional<Evaluation>& best() const { return best_; }
  [[nodiscard]] std::int64_t best_step() const { return best_step_; }
  /// Puts the best weights back, where a best model is kept.
  void restore_best();

 private:
  void record(const StepReport& report, const Evaluation& evaluation);

  Setting setting_;
  std::optional<Evaluation> last_;
  std::optional<Evaluation> best_;
  std::int64_t best_step_ = -1;
  Tensor best_weights_;
  std::optional<double> stop_reference_;
  std::int64_t without_progress_ = 0;
  bool stop_ = false;
};

/// 9832 as "9,832".
std::string with_commas(std::int64_t number);

}  // namespace gentrain::trainers
