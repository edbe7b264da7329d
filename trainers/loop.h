// The loop over stages and steps, and what watches it. Logging, evaluation, samples and checkpoints
// are observers: the loop knows none of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainers/step.h"

namespace gentrain::trainers {

/// A part of a run: its passes, and when it ends.
struct Stage {
  std::string name;
  StopOptions stop;
  std::vector<Pass> passes;
};

/// What observers see after a step.
struct StepReport {
  const Stage* stage = nullptr;
  std::int64_t stage_index = 0;
  std::int64_t stage_step = 0;    // of this step, from 0
  std::int64_t step = 0;          // over all stages, from 0
  std::int64_t epoch = 0;         // over all stages, from 0
  std::int64_t images = 0;        // of this step's global batch
  double seconds = 0;             // this step's wall time
  double learning_rate = 0;       // of the first update
  std::vector<float> statistics;  // of the first update, summed over the shard tree
  double gradient_norm = 0;       // 0 unless clipping needs it
  bool ends_epoch = false;
  bool ends_stage = false;
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void begin_stage(const Stage& /*stage*/, std::int64_t /*steps_planned*/) {}
  virtual void after_step(const StepReport& /*report*/) {}
  /// Whether the stage should end here; must be the same on every rank.
  [[nodiscard]] virtual bool wants_stop() const { return false; }
};

/// The data's extent, as far as the loop needs it.
struct LoopOptions {
  std::uint64_t seed = 1;
  std::int64_t samples = 0;       // of the training set
  std::int64_t batch_images = 0;  // of a full global batch
};

/// Steps that a stage takes if nothing ends it early.
std::int64_t planned_steps(const StopOptions& stop, const LoopOptions& options);

/// Runs every stage. `loader` (may be null) is told which samples come next.
void run_stages(std::vector<Stage>& stages, const LoopOptions& options, StepRunner& runner,
                data::Loader* loader, const std::vector<Observer*>& observers);

}  // namespace gentrain::trainers
