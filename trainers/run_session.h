// A run's hold of its output folder, whatever it computes: the lock, where it begins, the files
// that say what it is, and word of its failure.
#pragma once

#include <exception>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "comm/communicator.h"
#include "trainers/resume.h"
#include "trainers/run_folder.h"
#include "trainers/run_lock.h"
#include "trainers/training.h"

namespace gentrain::trainers {

class RunSession {
 public:
  /// Takes the lock, by rank 0, and chooses the beginning. A finished run is left as it is, down to
  /// the times of its files; an earlier run stands untouched until take_folder(). All must outlive
  /// it. Collective. Throws as RunFolder::prepare(), RunLock and choose_beginning().
  RunSession(const RunSetting& setting, const TrainOptions& options,
             comm::Communicator& communicator);
  ~RunSession() = default;
  RunSession(const RunSession&) = delete;
  RunSession& operator=(const RunSession&) = delete;

  /// Whether the folder holds this run, finished: then nothing else of the session is of use.
  [[nodiscard]] bool nothing_to_do() const { return beginning_.kind == Beginning::Kind::kFinished; }
  /// Where the run begins; its checkpoint may be let go once it stands restored.
  [[nodiscard]] Beginning& beginning() { return beginning_; }
  [[nodiscard]] RunFolder& folder() { return folder_; }
  /// The id under which the run holds the lock.
  [[nodiscard]] const std::string& id() const { return id_; }

  /// From here on the folder is this run's: its log, and errors of any rank. Once; an empty folder
  /// is taken from the start. Collective.
  void take_folder();
  /// run.json, status.json, job.yaml and environment.json, of a run behind so many steps. Rank 0.
  void write_records(TrainingRun& run, std::int64_t steps) const;
  /// Leaves word of this rank's error, unless the folder is not taken or another run's by now.
  void record_failure(std::int64_t steps, const std::exception& error) const;

 private:
  /// At its end the watchdog's words go to the folder no more, also where the constructor throws.
  struct Alarms {
    comm::Communicator& communicator;
    ~Alarms() { communicator.activity().set_log({}); }
  };

  void take_lock();
  void open_alarms();

  const RunSetting& setting_;
  comm::Communicator& communicator_;
  std::optional<RunLock> lock_;
  RunFolder folder_;
  Beginning beginning_;
  std::string id_;
  bool taken_ = false;
  Alarms alarms_;
};

/// Peak memory over the ranks, MiB.
struct PeakMemory {
  double largest = 0;  // resident, of a rank
  double all = 0;      // resident, of all ranks
  double tensors = 0;  // largest tensor memory of a rank
};
/// Collective.
PeakMemory memory_of_ranks(TrainingRun& run);

}  // namespace gentrain::trainers
