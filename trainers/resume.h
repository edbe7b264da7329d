// How a run begins: anew, from a checkpoint, or not at all because it is finished.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/io/array_file.h"
#include "trainers/loop.h"
#include "trainers/run_folder.h"
#include "trainers/training.h"

namespace gentrain::trainers {

struct Beginning {
  enum class Kind : std::uint8_t { kAnew, kGoesOn, kFinished };
  Kind kind = Kind::kAnew;
  RunFolder::Earlier earlier = RunFolder::Earlier::kGoes;  // of the folder's files
  std::string source;                                      // kGoesOn: the checkpoint's file
  std::string from;                                        // rank 0: what --resume named, once
  io::ArrayFile checkpoint;                                // kGoesOn
  std::vector<std::int64_t>
      passed_over;  // rank 0: steps of the folder's checkpoints that are no use
};

/// Whether the folder holds this run, finished, and it is not to be done again. Rank 0.
bool is_done(const RunSetting& setting, const TrainOptions& options, const RunFolder& folder);

/// Decides by what the output folder holds and what the setting asks for, and logs it. Collective:
/// rank 0 looks, reads and verifies, the others get the checkpoint from it. Of several checkpoints
/// the newest valid one of this job is taken; others are reported and passed over, those that a bad
/// sector hides too, but one that cannot be read for another reason is an error. A run that began
/// with a named checkpoint begins with it again as long as it has none of its own.
///
/// Throws JobError where a run lies that is not to be gone on with or is another job's, naming the
/// keys that differ; IoError for a named checkpoint that is damaged, or one that cannot be read.
Beginning choose_beginning(const RunSetting& setting, const TrainOptions& options,
                           const RunFolder& folder, comm::Communicator& communicator);

/// Puts a run that goes on to where its checkpoint stands. Throws
/// JobError if the data set is another one or `stop` lies before the checkpoint, IoError if the
/// checkpoint does not fit.
LoopPosition go_on(const Beginning& beginning, TrainingRun& run, const std::vector<Stage>& stages,
                   const std::vector<Observer*>& observers);

/// Logs from where a run goes on, and a warning if its contract was another one.
void say_going_on(const Beginning& beginning, const TrainingRun& run);

/// What every checkpoint of a run says beside its position.
nlohmann::json checkpoint_header(const RunSetting& setting, TrainingRun& run,
                                 const std::vector<Stage>& stages);

}  // namespace gentrain::trainers
