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
#include <mutex>
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
  /// Arena-shaped values that become the arrays PREFIX/PARAMETER.
  struct Arena {
    std::string prefix;
    std::vector<float> values;
  };
  std::int64_t step = 0;       // steps taken over all stages
  std::int64_t best_step = 0;  // of the best evaluation; 0: none
  nlohmann::json header;
  std::vector<Arena> arenas;              // in the order of the file
  std::vector<io::NamedArray> observers;  // behind them
};

/// Writes checkpoints, one at a time, by a thread of its own, and removes old ones once the new one
/// is safe: but for the newest `keep` and the first one behind the best evaluation. Rank 0; errors
/// are logged with the newest checkpoint that stands.
///
/// Once the lock is lost, every call throws LostLockError.
class CheckpointWriter {
 public:
  /// `parameters`: how arenas are divided; must outlive the writer.
  CheckpointWriter(RunFolder& folder, const ParameterSet& parameters, std::int64_t keep);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// The step whose checkpoint is being written, if one is.
  [[nodiscard]] std::optional<std::int64_t> writing();
  /// Begins to write. Waits for the one before.
  void start(Snapshot snapshot);
  /// A vector to take an arena into: of a snapshot that is written, where there is one, since fresh
  /// memory costs as much as the copy; else an empty one.
  [[nodiscard]] std::vector<float> spare();
  /// Checkpoints of these steps, which are no use, go once the next one is safe.
  void discard(std::vector<std::int64_t> steps) { discarded_ = std::move(steps); }
  /// Waits for the end of writing and gives the spare memory back. Throws IoError if the last
  /// checkpoint could not be written, naming the newest that stands.
  void finish();

 private:
  std::string write(Snapshot snapshot);
  [[nodiscard]] io::ArrayViews views_of(const Snapshot& snapshot) const;
  void remove_old(const Snapshot& snapshot);
  std::string failed(std::int64_t step, const std::exception& error) const;
  void collect();

  RunFolder& folder_;
  const ParameterSet& parameters_;
  std::int64_t keep_;
  std::vector<std::int64_t> discarded_;
  std::int64_t step_ = 0;
  std::future<std::string> result_;  // of the one under way: the error, or nothing
  std::string error_;                // of the last one
  std::mutex mutex_;                 // guards what follows
  std::vector<std::vector<float>> spare_;
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
  void resume_at(std::int64_t step) { last_step_ = taken_ = step; }

 private:
  [[nodiscard]] bool due(const StepReport& to_come) const;
  void skip(std::int64_t step, std::int64_t writing);
  void take(const LoopPosition& position, bool even_if_writing);

  TrainingRun& run_;
  nlohmann::json header_;
  std::vector<Observer*> observers_;
  CheckpointWriter* writer_;
  std::function<std::int64_t()> best_step_;
  std::int64_t skipped_for_ = 0;  // the step whose writing made others skip, as was logged
  bool best_is_owed_ = false;     // rank 0: that of the best evaluation was skipped
  std::int64_t last_step_ = 0;    // of the last checkpoint that all ranks know of
  std::int64_t taken_ = 0;        // rank 0: of the last one
  std::chrono::steady_clock::time_point last_time_ = std::chrono::steady_clock::now();
};

/// Bytes of a checkpoint, but for its header, in rank 0's memory and on disk; 0 where the job wants
/// none.
std::int64_t checkpoint_bytes(const TrainingRun& run);

/// Puts weights, optimizer and observers to where a checkpoint has them, and gives its position.
/// Throws IoError naming `source` and the array or key that is missing or does not fit.
LoopPosition restore(const io::ArrayFile& checkpoint, const std::string& source, TrainingRun& run,
                     const std::vector<Observer*>& observers);

}  // namespace gentrain::trainers
