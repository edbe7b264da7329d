// Checkpoints: all state of a run between two steps as one file. Taken between steps, written in
// the background while training goes on.
//
// A checkpoint depends on the run's job and position alone, not on ranks and threads. Names of its
// arrays: weights/PARAMETER, optimizer/STATE/PARAMETER, and those of the observers.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "core/io/array_file.h"
#include "trainers/loop.h"
#include "trainers/options.h"
#include "trainers/run_folder.h"

namespace gentrain::trainers {

class TrainingRun;

/// A checkpoint on its way to disk.
struct Snapshot {
  std::int64_t step = 0;       // steps taken over all stages
  std::int64_t best_step = 0;  // of the best evaluation, whose checkpoint is kept too; 0: none
  io::ArrayFile file;
};

/// Writes checkpoints, one at a time, by a thread of its own, and removes old ones once the new one
/// is safe. Rank 0; errors are logged with the newest checkpoint that stands.
class CheckpointWriter {
 public:
  /// Before anything is renamed, `check` may throw.
  CheckpointWriter(RunFolder& folder, std::int64_t keep, std::function<void()> check);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// The step whose checkpoint is being written, if one is.
  [[nodiscard]] std::optional<std::int64_t> writing() const;
  /// Begins to write. Waits for the one before.
  void start(Snapshot snapshot);
  /// Checkpoints of these steps, which are no use, go once the next one is safe.
  void discard(std::vector<std::int64_t> steps) { discarded_ = std::move(steps); }
  /// Waits for the end of writing. Throws IoError if the last checkpoint could not be written,
  /// naming the newest that stands.
  void finish();

 private:
  void write(const Snapshot& snapshot);

  RunFolder& folder_;
  std::int64_t keep_;
  std::vector<std::int64_t> discarded_;
  std::function<void()> check_;
  std::int64_t step_ = 0;
  std::future<std::string> result_;  // the error, or nothing
};

/// Takes checkpoints as often as the job says, and at the end. On every rank; the last observer.
class Checkpointer final : public Observer {
 public:
  /// `header`: of every checkpoint, beside its position. `observers`: whose state belongs to it.
  /// `writer`: of rank 0. `best_step`: steps taken before the best evaluation so far, which gets a
  /// checkpoint of its own.
  Checkpointer(TrainingRun& run, nlohmann::json header, std::vector<Observer*> observers,
               CheckpointWriter* writer, std::function<std::int64_t()> best_step);

  [[nodiscard]] Wishes wishes(const StepReport& to_come) override;
  void after_step(const StepReport& report) override;
  void end(const LoopPosition& position, LoopEnd end) override;
  /// The run goes on from a checkpoint at this step: there is no need for another one there.
  void resume_at(std::int64_t step) { last_step_ = step; }

 private:
  [[nodiscard]] bool due(const StepReport& to_come) const;
  void take(const LoopPosition& position);

  TrainingRun& run_;
  nlohmann::json header_;
  std::vector<Observer*> observers_;
  CheckpointWriter* writer_;
  std::function<std::int64_t()> best_step_;
  std::int64_t skipped_for_ = 0;  // the step whose writing made others skip, as was logged
  std::int64_t last_step_ = 0;    // of the last checkpoint
  std::chrono::steady_clock::time_point last_time_ = std::chrono::steady_clock::now();
};

/// Puts weights, optimizer and observers to where a checkpoint has them, and gives its position.
/// Throws IoError naming `source` and the array or key that is missing or does not fit.
LoopPosition restore(const io::ArrayFile& checkpoint, const std::string& source, TrainingRun& run,
                     const std::vector<Observer*>& observers);

}  // namespace gentrain::trainers
