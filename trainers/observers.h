// What watches a classifier's run: the step log, evaluation with best model and early stop, the
// check for numbers that are not finite.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "trainers/evaluate.h"
#include "trainers/loop.h"
#include "trainers/options.h"
#include "trainers/run_folder.h"
#include "trainers/stop_signal.h"

namespace gentrain::trainers {

/// Throws NumericError unless a loss, or `what` it is, is finite after a step; names the step and
/// the first parameter that is not finite.
void check_finite(double loss, const std::string& what, const StepReport& report,
                  StepRunner& runner, const ParameterSet& parameters);

/// Ends the run when something that a step tells, its loss or another term, is NaN or infinite, and
/// when a parameter is at the run's end: a discriminator's last step shows in nothing else. On
/// every rank.
class FiniteCheck final : public Observer {
 public:
  FiniteCheck(StepRunner& runner, const ParameterSet& parameters)
      : runner_(runner), parameters_(parameters) {}
  void after_step(const StepReport& report) override;
  void end(const LoopPosition& position, LoopEnd end) override;

 private:
  StepRunner& runner_;
  const ParameterSet& parameters_;
};

/// Wishes to stop once this process was asked to by a signal. On every rank.
class StopOnSignal final : public Observer {
 public:
  [[nodiscard]] Wishes wishes(const StepReport& /*to_come*/) override {
    return {.stop = stop_asked(), .checkpoint = false};
  }
};

/// Counts steps, images and time, and keeps the last losses. On every rank.
class StepTimes final : public Observer {
 public:
  /// `process_start` is when the process began.
  explicit StepTimes(std::chrono::system_clock::time_point process_start)
      : process_start_(process_start) {}
  void after_step(const StepReport& report) override;
  void save(ObserverState& state) const override;
  void restore(const ObserverState& state) override;

  /// Steps taken over all stages, those before a restart too.
  [[nodiscard]] std::int64_t steps() const { return steps_; }
  /// The stage of the last step, from 0.
  [[nodiscard]] std::int64_t last_stage() const { return last_stage_; }
  // Times are those since this process began, and without a step there are none.
  [[nodiscard]] bool took_steps() const { return !seconds_.empty(); }
  /// Median over all steps but the first.
  [[nodiscard]] double median_seconds() const;
  /// Images over the seconds of all steps but the first (the only one, if there is one).
  [[nodiscard]] double images_per_second() const;
  /// Of all steps.
  [[nodiscard]] double all_seconds() const;
  /// Process start to the end of the first step.
  [[nodiscard]] double startup_seconds() const { return startup_seconds_; }
  /// Mean over the last `count` steps of the last stage that had any (all of it, if fewer), at most
  /// kKeptLosses.
  [[nodiscard]] double mean_loss(std::size_t count) const;
  static constexpr std::size_t kKeptLosses = 500;

 private:
  std::chrono::system_clock::time_point process_start_;
  double startup_seconds_ = 0;
  std::int64_t steps_ = 0;
  std::int64_t last_stage_ = 0;
  std::vector<double> seconds_;
  std::vector<std::int64_t> images_;
  std::deque<float> losses_;  // the last ones of the stage
};

/// Writes metrics.jsonl and, once a second at most, status.json; prints a line an epoch, and on a
/// terminal a progress bar below it. Rank 0.
class StepLog final : public Observer {
 public:
  StepLog(RunFolder& folder, const LogOptions& options, bool terminal);
  ~StepLog() override { erase(); }
  StepLog(const StepLog&) = delete;
  StepLog& operator=(const StepLog&) = delete;
  void begin_stage(const Stage& stage, std::int64_t steps_planned,
                   std::int64_t first_step) override;
  void after_step(const StepReport& report) override;

 private:
  void draw(const StepReport& report);
  void erase();
  void print_line(const StepReport& report) const;
  [[nodiscard]] double seconds_left(const StepReport& report) const;

  RunFolder& folder_;
  LogOptions options_;
  bool terminal_;
  bool drawn_ = false;  // a bar stands on the terminal's last line
  std::int64_t planned_ = 0;
  std::int64_t first_step_ = 0;  // of the stage in this process
  std::chrono::steady_clock::time_point stage_start_;
  std::chrono::steady_clock::time_point last_draw_;
  std::chrono::steady_clock::time_point last_status_;
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
    const Objective& objective;
    ParameterSet& parameters;
    EvaluationData data;
    EvaluateOptions evaluate;
    EarlyStopOptions early_stop;
    BestOptions best;
    RunFolder* folder = nullptr;  // of rank 0, for metrics.jsonl
  };
  explicit EvaluationObserver(const Setting& setting) : setting_(setting) {}

  void begin_stage(const Stage& stage, std::int64_t steps_planned,
                   std::int64_t first_step) override;
  void after_step(const StepReport& report) override;
  [[nodiscard]] bool wants_stop() const override { return stop_; }
  void save(ObserverState& state) const override;
  void restore(const ObserverState& state) override;

  /// The last evaluation; none if no stage had a step.
  [[nodiscard]] const std::optional<Evaluation>& last() const { return last_; }
  /// The best evaluation where a best model is kept, and the steps taken before it; 0: there is
  /// none.
  [[nodiscard]] const std::optional<Evaluation>& best() const { return best_; }
  [[nodiscard]] std::int64_t best_step() const { return best_step_; }
  /// Puts the best weights back, where a best model is kept.
  void restore_best();

 private:
  void record(const StepReport& report, const Evaluation& evaluation, bool due);
  void keep_best(const StepReport& report, const Evaluation& evaluation);
  void watch_progress(const Evaluation& evaluation);

  Setting setting_;
  std::optional<Evaluation> last_;
  std::optional<Evaluation> best_;
  std::int64_t best_step_ = 0;
  Tensor best_weights_;
  std::optional<double> stop_reference_;
  std::int64_t without_progress_ = 0;
  bool stop_ = false;
};

}  // namespace gentrain::trainers
