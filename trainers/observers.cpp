// Observers of a run.
#include "trainers/observers.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "trainers/cached_stage.h"
#include "trainers/model_io.h"
#include "trainers/objective.h"

namespace gentrain::trainers {

namespace {

double metric_of(const Evaluation& evaluation, Metric metric) {
  return metric == Metric::kLoss ? evaluation.loss : evaluation.top1();
}

std::size_t terminal_columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

nlohmann::json optional_to_json(const std::optional<Evaluation>& evaluation) {
  return evaluation ? to_json(*evaluation) : nlohmann::json(nullptr);
}

std::optional<Evaluation> optional_from_json(const nlohmann::json& json) {
  return json.is_null() ? std::nullopt : std::optional(evaluation_from_json(json));
}

/// Whether `value` is better than `reference` by more than `delta`.
bool better(double value, double reference, Metric metric, MetricMode mode, double delta) {
  const bool less =
      mode == MetricMode::kMin || (mode == MetricMode::kAuto && metric == Metric::kLoss);
  return less ? value < reference - delta : value > reference + delta;
}

/// The first parameter that is not finite; empty if all are.
std::string first_not_finite(StepRunner& runner, const ParameterSet& parameters) {
  Worker& worker = runner.worker(0);
  Context context{runner.device(), *worker.queue, nullptr, false, {}};
  for (int i = 0; i < parameters.size(); ++i) {
    if (!ops::all_finite(context, parameters[i])) {
      return parameters.info(i).name;
    }
  }
  return "";
}

}  // namespace

void check_finite(double loss, const std::string& what, const StepReport& report,
                  StepRunner& runner, const ParameterSet& parameters) {
  if (std::isfinite(loss)) {
    return;
  }
  const std::string first = first_not_finite(runner, parameters);
  throw NumericError(fmt::format(
      "the {} is {} at step {} (epoch {}); the first tensor that is not finite: "
      "{}. A lower learning rate or clip_norm may help",
      what, std::isnan(loss) ? std::fabs(loss) : loss, report.step + 1, report.epoch + 1,
      first.empty() ? "none of the parameters, so a layer's results" : first));
}

void FiniteCheck::after_step(const StepReport& report) {
  for (std::size_t i = 0; i < report.statistics.size(); ++i) {
    if (!std::isfinite(report.statistics[i])) {
      const std::string& name = report.stage->statistics.at(i);
      check_finite(report.statistics[i], i == kLossMean ? name : "term " + name, report, runner_,
                   parameters_);
    }
  }
}

void FiniteCheck::end(const LoopPosition& position, LoopEnd /*end*/) {
  if (const std::string first = first_not_finite(runner_, parameters_); !first.empty()) {
    throw NumericError(
        fmt::format("{} is not finite behind step {}. A lower learning rate or clip_norm may help",
                    first, position.step));
  }
}

void StepTimes::after_step(const StepReport& report) {
  if (seconds_.empty()) {
    startup_seconds_ =
        std::chrono::duration<double>(std::chrono::system_clock::now() - process_start_).count();
  }
  steps_ = report.step + 1;
  last_stage_ = report.stage_index;
  seconds_.push_back(report.seconds);
  images_.push_back(report.images);
  if (report.stage_step == 0) {
    losses_.clear();  // another stage's loss is another quantity
  }
  losses_.push_back(report.statistics[kLossMean]);
  if (losses_.size() > kKeptLosses) {
    losses_.pop_front();
  }
}

void StepTimes::save(ObserverState& state) const {
  state.values["steps"] = steps_;
  state.values["last_stage"] = last_stage_;
  state.values["losses"] = losses_.size();
  state.arrays.push_back(
      {"losses", {static_cast<std::int64_t>(losses_.size())}, {losses_.begin(), losses_.end()}});
}

void StepTimes::restore(const ObserverState& state) {
  steps_ = state.values.at("steps").get<std::int64_t>();
  last_stage_ = state.values.at("last_stage").get<std::int64_t>();
  const std::int64_t all = std::min<std::int64_t>(steps_, kKeptLosses);
  const Shape shape{std::clamp<std::int64_t>(state.values.value("losses", all), 0, all)};
  const std::vector<float>& losses = values_of(state.arrays, "losses", shape, state.source);
  losses_.assign(losses.begin(), losses.end());
}

double StepTimes::median_seconds() const {
  if (seconds_.empty()) {
    return 0;
  }
  std::vector<double> sorted(seconds_.begin() + (seconds_.size() > 1 ? 1 : 0), seconds_.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() / 2];
}

double StepTimes::images_per_second() const {
  if (seconds_.empty()) {
    return 0;
  }
  const auto skip = static_cast<std::ptrdiff_t>(seconds_.size() > 1 ? 1 : 0);
  const double time = std::accumulate(seconds_.begin() + skip, seconds_.end(), 0.0);
  const auto images = std::accumulate(images_.begin() + skip, images_.end(), std::int64_t{0});
  return static_cast<double>(images) / time;
}

double StepTimes::all_seconds() const {
  return std::accumulate(seconds_.begin(), seconds_.end(), 0.0);
}

double StepTimes::mean_loss(std::size_t count) const {
  const std::size_t taken = std::min(count, losses_.size());
  if (taken == 0) {
    return 0;
  }
  const double sum =
      std::accumulate(losses_.end() - static_cast<std::ptrdiff_t>(taken), losses_.end(), 0.0);
  return sum / static_cast<double>(taken);
}

StepLog::StepLog(RunFolder& folder, const LogOptions& options, bool terminal)
    : folder_(folder), options_(options), terminal_(terminal) {}

void StepLog::begin_stage(const Stage& stage, std::int64_t steps_planned, std::int64_t first_step) {
  planned_ = steps_planned;
  first_step_ = first_step;
  stage_start_ = std::chrono::steady_clock::now();
  last_draw_ = {};
  if (steps_planned == 0) {
    spdlog::info("stage {}: skipped", stage.name);
  } else if (first_step > 0) {
    spdlog::info("stage {}: {} steps, going on behind step {}", stage.name,
                 with_commas(steps_planned), with_commas(first_step));
  } else {
    spdlog::info("stage {}: {} steps", stage.name, with_commas(steps_planned));
  }
}

double StepLog::seconds_left(const StepReport& report) const {
  const double elapsed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - stage_start_).count();
  return elapsed / static_cast<double>(report.stage_step + 1 - first_step_) *
         static_cast<double>(planned_ - report.stage_step - 1);
}

void StepLog::print_line(const StepReport& report) const {
  spdlog::info("epoch {:>3}  step {:>6} of {}  loss {:.4f}  {:>9} images/s  {:.0f} s left",
               report.epoch + 1, with_commas(report.stage_step + 1), with_commas(planned_),
               report.statistics[kLossMean], with_digits(images_per_second_), seconds_left(report));
}

void StepLog::draw(const StepReport& report) {
  constexpr std::size_t kWidth = 20;
  const double done =
      static_cast<double>(report.stage_step + 1) / static_cast<double>(std::max(planned_, 1L));
  const std::string filled(static_cast<std::size_t>(done * kWidth), '#');
  const std::string text = fmt::format(
      "[{:.<{}}] step {} of {}  loss {:.4f}  {} images/s  {:.0f} s left", filled, kWidth,
      with_commas(report.stage_step + 1), with_commas(planned_), report.statistics[kLossMean],
      with_digits(images_per_second_), seconds_left(report));
  // Writing the last column may begin a new line.
  fmt::print("\r{:.{}}\033[K", text, terminal_columns() - 1);
  drawn_ = true;
  std::fflush(stdout);
}

void StepLog::erase() {
  if (drawn_) {
    fmt::print("\r\033[K");
    std::fflush(stdout);
    drawn_ = false;
  }
}

void StepLog::after_step(const StepReport& report) {
  window_seconds_ += report.seconds;
  window_images_ += report.images;
  const bool regular = (report.step + 1) % options_.every == 0 || report.step == 0;
  const bool due = regular || report.ends_stage;
  if (due || report.ends_epoch) {
    images_per_second_ = static_cast<double>(window_images_) / window_seconds_;
    window_seconds_ = 0;
    window_images_ = 0;
  }
  if (due) {
    nlohmann::json json = {{"step", report.step + 1},    {"stage", report.stage->name},
                           {"epoch", report.epoch + 1},  {"loss", report.statistics[kLossMean]},
                           {"lr", report.learning_rate}, {"images_per_s", images_per_second_}};
    for (std::size_t i = 1; i < report.stage->statistics.size(); ++i) {
      json[report.stage->statistics[i]] =
          static_cast<double>(report.statistics[i]) / static_cast<double>(report.images);
    }
    if (report.gradient_norm > 0) {
      json["gradient_norm"] = report.gradient_norm;
    }
    if (!regular) {
      json["ends_stage"] = true;
    }
    folder_.append_metrics(json);
  }
  const auto now = std::chrono::steady_clock::now();
  if (due && now - last_status_ > std::chrono::seconds(1)) {
    last_status_ = now;
    folder_.try_write_status(report.step + 1);
  }
  if (report.ends_epoch || report.ends_stage) {
    erase();
    print_line(report);
  } else if (terminal_ && now - last_draw_ > std::chrono::milliseconds(100)) {
    last_draw_ = now;
    draw(report);
  }
}

void EvaluationObserver::begin_stage(const Stage& /*stage*/, std::int64_t /*steps_planned*/,
                                     std::int64_t first_step) {
  if (first_step == 0) {
    stop_ = false;
    stop_reference_.reset();
    without_progress_ = 0;
  }
}

void EvaluationObserver::after_step(const StepReport& report) {
  const bool due = report.ends_epoch && (report.epoch + 1) % setting_.evaluate.every == 0;
  if (!due && !report.ends_stage) {
    return;
  }
  CachedStage* const cached = report.stage->cached.get();
  const Evaluation evaluation =
      evaluate(setting_.communicator, setting_.runner, setting_.objective,
               cached == nullptr ? setting_.data : cached->evaluation_data(setting_.data));
  check_finite(evaluation.loss, "loss of the evaluation", report, setting_.runner,
               setting_.parameters);
  last_ = evaluation;
  record(report, evaluation, due);
  keep_best(report, evaluation);
  watch_progress(evaluation);
}

void EvaluationObserver::keep_best(const StepReport& report, const Evaluation& evaluation) {
  const BestOptions& keep = setting_.best;
  if (keep.metric == Metric::kNone ||
      (best_ && !better(metric_of(evaluation, keep.metric), metric_of(*best_, keep.metric),
                        keep.metric, keep.mode, 0))) {
    return;
  }
  best_ = evaluation;
  best_step_ = report.step + 1;
  Device& device = setting_.runner.device();
  if (!best_weights_.defined()) {
    best_weights_ = Tensor::empty(device, setting_.parameters.arena().shape());
  }
  Context context{device, setting_.runner.queue(), nullptr, false, {}};
  ops::copy(context, setting_.parameters.arena(), best_weights_);
}

void EvaluationObserver::watch_progress(const Evaluation& evaluation) {
  const EarlyStopOptions& early = setting_.early_stop;
  if (early.metric == Metric::kNone) {
    return;
  }
  const double value = metric_of(evaluation, early.metric);
  if (!stop_reference_ ||
      better(value, *stop_reference_, early.metric, early.mode, early.min_delta)) {
    stop_reference_ = value;
    without_progress_ = 0;
  } else if (++without_progress_ >= early.patience) {
    stop_ = true;
    if (setting_.folder != nullptr) {
      spdlog::info("early stop: no progress in {} evaluations", without_progress_);
    }
  }
}

void EvaluationObserver::record(const StepReport& report, const Evaluation& evaluation, bool due) {
  if (setting_.folder == nullptr) {
    return;
  }
  spdlog::info("epoch {:>3}  evaluation: {}", report.epoch + 1, describe(evaluation));
  nlohmann::json json = {{"step", report.step + 1},
                         {"stage", report.stage->name},
                         {"epoch", report.epoch + 1},
                         {"evaluation", to_json(evaluation)}};
  if (!due) {
    json["ends_stage"] = true;
  }
  setting_.folder->append_metrics(json);
}

void EvaluationObserver::save(ObserverState& state) const {
  state.values["last"] = optional_to_json(last_);
  state.values["best"] = optional_to_json(best_);
  state.values["best_step"] = best_step_;
  state.values["early_stop"] = {{"stopped", stop_}, {"without_progress", without_progress_}};
  if (stop_reference_) {
    state.values["early_stop"]["reference"] = *stop_reference_;
  }
  if (!best_) {
    return;
  }
  const std::vector<float> arena =
      copy_to_host<float>(setting_.runner.device(), setting_.runner.queue(), best_weights_);
  add_arena(state.arrays, "best", setting_.parameters, arena);
}

void EvaluationObserver::restore(const ObserverState& state) {
  last_ = optional_from_json(state.values.at("last"));
  best_ = optional_from_json(state.values.at("best"));
  best_step_ = state.values.at("best_step").get<std::int64_t>();
  const nlohmann::json& early = state.values.at("early_stop");
  stop_ = early.at("stopped").get<bool>();
  without_progress_ = early.at("without_progress").get<std::int64_t>();
  if (early.contains("reference")) {
    stop_reference_ = early["reference"].get<double>();
  }
  if (!best_) {
    return;
  }
  const std::vector<float> arena =
      arena_of(state.arrays, "best", setting_.parameters, state.source);
  Device& device = setting_.runner.device();
  best_weights_ = Tensor::empty(device, setting_.parameters.arena().shape());
  copy_from_host<float>(device, setting_.runner.queue(), arena, best_weights_);
}

void EvaluationObserver::restore_best() {
  if (best_) {
    Context context{setting_.runner.device(), setting_.runner.queue(), nullptr, false, {}};
    ops::copy(context, best_weights_, setting_.parameters.arena());
    setting_.parameters.mark_changed();
  }
}

}  // namespace gentrain::trainers
