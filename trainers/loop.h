// The loop over stages and steps, and what watches it. Logging, evaluation, samples and checkpoints
// are observers: the loop knows none of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/io/array_file.h"
#include "trainers/step.h"

namespace gentrain::trainers {

class CachedStage;

/// A part of a run: its passes, and when it ends.
struct Stage {
  std::string name;
  StopOptions stop;
  std::vector<Pass> passes;
  /// Of the statistics of the first update: the first is the loss, a mean, the others are sums over
  /// the images of a step.
  std::vector<std::string> statistics;
  /// Where its steps may start from features; it begins and ends with the stage. Null: it does not
  /// come to that.
  std::shared_ptr<CachedStage> cached = nullptr;
};

/// Where a run stands between two steps. Beside the values of parameters, optimizer and observers
/// it is all that the next steps depend on.
struct LoopPosition {
  std::int64_t stage = 0;        // index of the stage under way
  std::int64_t stage_step = 0;   // steps taken in it
  std::int64_t step = 0;         // steps taken over all stages
  std::int64_t first_epoch = 0;  // of the stage, over all stages, from 0
};

/// What observers see after a step.
struct StepReport {
  const Stage* stage = nullptr;
  std::int64_t stage_index = 0;
  std::int64_t stage_step = 0;    // of this step, from 0
  std::int64_t step = 0;          // over all stages, from 0
  std::int64_t first_epoch = 0;   // of the stage, over all stages, from 0
  std::int64_t epoch = 0;         // over all stages, from 0
  std::int64_t images = 0;        // of this step's global batch
  double seconds = 0;             // this step's wall time
  double learning_rate = 0;       // of the first update
  std::vector<float> statistics;  // of the first update, summed over the shard tree
  double gradient_norm = 0;       // 0 unless clipping needs it
  Wishes wishes;                  // what some rank wished before this step
  bool ends_epoch = false;
  bool ends_stage = false;

  /// Behind this step.
  [[nodiscard]] LoopPosition position() const {
    return {stage_index, stage_step + 1, step + 1, first_epoch};
  }
};

/// Values by name: what an observer must know to go on after a restart as if there had been none.
struct ObserverState {
  nlohmann::json values = nlohmann::json::object();
  std::vector<io::NamedArray> arrays;
  std::string source;  // restore(): the file, for messages
};

/// How a run came to its end.
enum class LoopEnd : std::uint8_t { kFinished, kStopped };

class Observer {
 public:
  virtual ~Observer() = default;
  /// `first_step` is above 0 where a stage goes on after a restart; then restore() was called.
  virtual void begin_stage(const Stage& /*stage*/, std::int64_t /*steps_planned*/,
                           std::int64_t /*first_step*/) {}
  /// What this rank wishes of the step to come, of which the report knows the place alone. What any
  /// rank wishes, all ranks know after the step.
  [[nodiscard]] virtual Wishes wishes(const StepReport& /*to_come*/) { return {}; }
  virtual void after_step(const StepReport& /*report*/) {}
  /// Whether the stage should end here; must be the same on every rank.
  [[nodiscard]] virtual bool wants_stop() const { return false; }
  /// After the last step, or after the one behind which all stop.
  virtual void end(const LoopPosition& /*position*/, LoopEnd /*end*/) {}

  /// Adds to a state, and takes from it what save() put there. Names are the observer's own.
  virtual void save(ObserverState& /*state*/) const {}
  virtual void restore(const ObserverState& /*state*/) {}
};

/// The data's extent, as far as the loop needs it.
struct LoopOptions {
  std::uint64_t seed = 1;
  std::int64_t samples = 0;       // of the training set
  std::int64_t batch_images = 0;  // of a full global batch
};

/// Steps of an epoch.
std::int64_t steps_per_epoch(const LoopOptions& options);

/// Steps that a stage takes if nothing ends it early.
std::int64_t planned_steps(const StopOptions& stop, const LoopOptions& options);

/// Whether the stage that a run stands in has steps left, if nothing ends it early.
bool goes_on_in(const std::vector<Stage>& stages, const LoopOptions& options,
                const LoopPosition& position);

/// Whether an interval of steps or epochs ends with this step; false for any other.
bool is_due(const CheckpointOptions::Interval& every, const StepReport& step);

/// Runs every stage from `start` on, until all have ended or some rank wishes to stop. `loader`
/// (may be null) is told which samples come next, once for all passes of a step, but in stages that
/// start from features.
LoopEnd run_stages(std::vector<Stage>& stages, const LoopOptions& options, StepRunner& runner,
                   data::Loader* loader, const std::vector<Observer*>& observers,
                   const LoopPosition& start = {});

}  // namespace gentrain::trainers
