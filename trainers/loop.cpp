// The loop.
#include "trainers/loop.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace gentrain::trainers {

namespace {

/// Samples of step `step` of an epoch; the last one may be short.
comm::Range batch_at(const LoopOptions& options, std::int64_t step_in_epoch) {
  const std::int64_t first = step_in_epoch * options.batch_images;
  return {first, std::min(first + options.batch_images, options.samples)};
}

std::int64_t steps_per_epoch(const LoopOptions& options) {
  return (options.samples + options.batch_images - 1) / options.batch_images;
}

void announce(data::Loader* loader, const StepPosition& position, const StepRunner& runner) {
  if (loader == nullptr) {
    return;
  }
  std::vector<data::BatchRequest> requests;
  for (std::int64_t shard = runner.owned().first; shard < runner.owned().last; ++shard) {
    const comm::Range samples = shard_samples(position.samples, runner.shards(), shard);
    requests.push_back({position.epoch, samples.first, samples.last});
  }
  loader->announce(requests);
}

/// What a step tells of the first update of its first pass; a pass alone forward has none.
void report_update(const Pass& pass, StepReport& report) {
  if (pass.updates.empty()) {
    return;
  }
  Update& update = *pass.updates.front();
  report.learning_rate = update.learning_rate();
  report.statistics = update.exchange().statistics();
  report.gradient_norm = update.exchange().norm();
}

/// Where a step of a stage stands whose first epoch is `first_epoch`.
StepPosition position_of(const LoopOptions& options, std::int64_t stage, std::int64_t first_epoch,
                         std::int64_t step) {
  const std::int64_t per_epoch = steps_per_epoch(options);
  return {options.seed, stage, step, first_epoch + step / per_epoch,
          batch_at(options, step % per_epoch)};
}

/// All passes of a step, and what it tells.
void take_step(Stage& stage, const StepPosition& position, StepRunner& runner, StepReport& report) {
  const auto start = std::chrono::steady_clock::now();
  std::int64_t index = 0;
  for (Pass& pass : stage.passes) {
    runner.run(pass, position, index++);
  }
  report_update(stage.passes.front(), report);
  report.stage_step = position.stage_step;
  report.epoch = position.epoch;
  report.images = position.samples.size();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool any_wants_stop(const std::vector<Observer*>& observers) {
  return std::any_of(observers.begin(), observers.end(),
                     [](const Observer* observer) { return observer->wants_stop(); });
}

}  // namespace

std::int64_t planned_steps(const StopOptions& stop, const LoopOptions& options) {
  constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();
  const std::int64_t per_epoch = steps_per_epoch(options);
  const std::int64_t by_epochs =
      stop.epochs && *stop.epochs <= kForever / per_epoch ? *stop.epochs * per_epoch : kForever;
  return std::min(by_epochs, stop.steps.value_or(kForever));
}

void run_stages(std::vector<Stage>& stages, const LoopOptions& options, StepRunner& runner,
                data::Loader* loader, const std::vector<Observer*>& observers) {
  StepReport report;
  std::int64_t first_epoch = 0;
  for (auto& stage : stages) {
    const std::int64_t planned = planned_steps(stage.stop, options);
    const auto position = [&](std::int64_t step) {
      return position_of(options, report.stage_index, first_epoch, step);
    };
    report.stage = &stage;
    for (Observer* observer : observers) {
      observer->begin_stage(stage, planned);
    }
    bool stop = planned == 0;
    if (!stop) {
      announce(loader, position(0), runner);
    }
    for (std::int64_t step = 0; !stop; ++step, ++report.step) {
      if (step + 1 < planned) {
        announce(loader, position(step + 1), runner);
      }
      runner.activity().set_step(report.step + 1);
      take_step(stage, position(step), runner, report);
      report.ends_epoch = (step + 1) % steps_per_epoch(options) == 0;
      report.ends_stage = step + 1 == planned;
      for (Observer* observer : observers) {
        observer->after_step(report);
      }
      stop = report.ends_stage || any_wants_stop(observers);
    }
    if (loader != nullptr) {
      loader->forget();  // a stage that ends early leaves a step announced
    }
    if (planned > 0) {
      first_epoch = report.epoch + 1;
    }
    ++report.stage_index;
  }
}

}  // namespace gentrain::trainers
