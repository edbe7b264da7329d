// The loop.
#include "trainers/loop.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "trainers/cached_stage.h"

namespace gentrain::trainers {

namespace {

/// Samples of step `step` of an epoch; the last one may be short.
comm::Range batch_at(const LoopOptions& options, std::int64_t step_in_epoch) {
  const std::int64_t first = step_in_epoch * options.batch_images;
  return {first, std::min(first + options.batch_images, options.samples)};
}

void announce(data::Loader* loader, const StepPosition& position, const Stage& stage,
              const StepRunner& runner) {
  if (loader == nullptr) {
    return;
  }
  std::vector<data::BatchRequest> requests;
  for (std::int64_t shard = runner.owned().first; shard < runner.owned().last; ++shard) {
    const comm::Range samples = shard_samples(position.samples, runner.shards(), shard);
    requests.push_back({position.epoch, samples.first, samples.last});
  }
  loader->announce(requests, static_cast<int>(stage.passes.size()));  // each pass asks for them
}

/// What a step tells of the first update of its first pass; a pass alone forward has none.
void report_update(const Pass& pass, StepReport& report) {
  if (pass.updates.empty()) {
    return;
  }
  Update& update = *pass.updates.front();
  report.learning_rate = update.learning_rate();
  report.statistics = update.statistics();
  report.wishes = update.wishes();
  report.gradient_norm = update.exchange().norm();
}

/// All passes of a step, and what it tells.
void take_step(Stage& stage, const StepPosition& position, StepRunner& runner, StepReport& report) {
  const auto start = std::chrono::steady_clock::now();
  std::int64_t index = 0;
  for (Pass& pass : stage.passes) {
    runner.run(pass, position, index++);
  }
  report_update(stage.passes.front(), report);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The loop and where it stands.
class Loop {
 public:
  Loop(const LoopOptions& options, StepRunner& runner, data::Loader* loader,
       const std::vector<Observer*>& observers, const LoopPosition& start)
      : options_(options),
        runner_(runner),
        loader_(loader),
        observers_(observers),
        start_(start),
        position_(start) {
    report_.first_epoch = start.first_epoch;
  }

  LoopEnd run(std::vector<Stage>& stages) {
    LoopEnd end = LoopEnd::kFinished;
    const auto count = static_cast<std::int64_t>(stages.size());
    for (std::int64_t i = start_.stage; i < count && end == LoopEnd::kFinished; ++i) {
      report_.stage_index = i;
      end = run_stage(stages[static_cast<std::size_t>(i)]);
    }
    for (Observer* observer : observers_) {
      observer->end(position_, end);
    }
    return end;
  }

 private:
  LoopEnd run_stage(Stage& stage) {
    const std::int64_t planned = planned_steps(stage.stop, options_);
    const std::int64_t first = report_.stage_index == start_.stage ? start_.stage_step : 0;
    report_.stage = &stage;
    for (Observer* observer : observers_) {
      observer->begin_stage(stage, planned, first);
    }
    LoopEnd end = LoopEnd::kFinished;
    bool ended = first >= planned || (first > 0 && any_wants_stop());
    data::Loader* loader = loader_;
    if (!ended) {
      loader = begin(stage);
      announce(loader, position_at(first), stage, runner_);
    }
    for (std::int64_t step = first; !ended && end == LoopEnd::kFinished; ++step) {
      if (step + 1 < planned) {
        announce(loader, position_at(step + 1), stage, runner_);
      }
      run_step(stage, step, planned);
      ended = report_.ends_stage || any_wants_stop();
      if (!ended && report_.wishes.stop) {
        end = LoopEnd::kStopped;
      }
    }
    for (const Pass& pass : stage.passes) {
      for (Update* update : pass.updates) {
        update->exchange().rest();  // the next stage's gradients take their place
      }
    }
    if (loader != nullptr) {
      loader->forget();  // a stage that ends early leaves a step announced
    }
    if (stage.cached != nullptr) {
      stage.cached->end();
    }
    if (planned > 0) {
      report_.first_epoch += (position_.stage_step - 1) / steps_per_epoch(options_) + 1;
    }
    return end;
  }

  /// What its samples come from.
  [[nodiscard]] data::Loader* begin(Stage& stage) const {
    data::Loader* const own = stage.cached == nullptr ? nullptr : stage.cached->begin();
    return own == nullptr ? loader_ : own;
  }

  void run_step(Stage& stage, std::int64_t step, std::int64_t planned) {
    const StepPosition at = position_at(step);
    report_.stage_step = step;
    report_.step = position_.step;
    report_.epoch = at.epoch;
    report_.images = at.samples.size();
    report_.ends_epoch = (step + 1) % steps_per_epoch(options_) == 0;
    report_.ends_stage = step + 1 == planned;
    Wishes wishes;
    for (Observer* observer : observers_) {
      const Wishes one = observer->wishes(report_);
      wishes = {wishes.stop || one.stop, wishes.checkpoint || one.checkpoint};
    }
    runner_.set_wishes(wishes);
    runner_.activity().set_step(report_.step + 1);
    take_step(stage, at, runner_, report_);
    position_ = report_.position();
    for (Observer* observer : observers_) {
      observer->after_step(report_);
    }
  }

  [[nodiscard]] StepPosition position_at(std::int64_t step) const {
    const std::int64_t per_epoch = steps_per_epoch(options_);
    return {options_.seed, report_.stage_index, step, report_.first_epoch + step / per_epoch,
            batch_at(options_, step % per_epoch)};
  }

  [[nodiscard]] bool any_wants_stop() const {
    return std::any_of(observers_.begin(), observers_.end(),
                       [](const Observer* observer) { return observer->wants_stop(); });
  }

  const LoopOptions& options_;
  StepRunner& runner_;
  data::Loader* loader_;
  const std::vector<Observer*>& observers_;
  const LoopPosition start_;
  LoopPosition position_;  // behind the last step
  StepReport report_;
};

}  // namespace

std::int64_t steps_per_epoch(const LoopOptions& options) {
  return (options.samples + options.batch_images - 1) / options.batch_images;
}

std::int64_t planned_steps(const StopOptions& stop, const LoopOptions& options) {
  constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();
  const std::int64_t per_epoch = steps_per_epoch(options);
  const std::int64_t by_epochs =
      stop.epochs && *stop.epochs <= kForever / per_epoch ? *stop.epochs * per_epoch : kForever;
  return std::min(by_epochs, stop.steps.value_or(kForever));
}

bool is_due(const CheckpointOptions::Interval& every, const StepReport& step) {
  switch (every.unit) {
    case CheckpointOptions::Unit::kSteps:
      return (step.step + 1) % every.count == 0;
    case CheckpointOptions::Unit::kEpochs:
      return step.ends_epoch && (step.epoch + 1) % every.count == 0;
    default:
      return false;
  }
}

bool goes_on_in(const std::vector<Stage>& stages, const LoopOptions& options,
                const LoopPosition& position) {
  return position.stage_step <
         planned_steps(stages[static_cast<std::size_t>(position.stage)].stop, options);
}

LoopEnd run_stages(std::vector<Stage>& stages, const LoopOptions& options, StepRunner& runner,
                   data::Loader* loader, const std::vector<Observer*>& observers,
                   const LoopPosition& start) {
  return Loop(options, runner, loader, observers, start).run(stages);
}

}  // namespace gentrain::trainers
