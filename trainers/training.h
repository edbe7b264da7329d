// Training: one run from options to a trained model, the same life cycle on every rank.
#pragma once

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/communicator.h"
#include "trainers/data_source.h"
#include "trainers/evaluate.h"
#include "trainers/loop.h"
#include "trainers/model_io.h"
#include "trainers/objective.h"
#include "trainers/options.h"
#include "trainers/run_folder.h"

namespace gentrain {
class SharedBlocks;
}

namespace gentrain::trainers {

/// Whether a run goes on from a checkpoint.
struct ResumeOptions {
  /// kAuto: where the output holds an unfinished run of the same job.
  enum class Mode : std::uint8_t { kAuto, kNever, kPath };
  Mode mode = Mode::kAuto;
  std::filesystem::path path;  // kPath: a checkpoint, or a run's folder
};

/// What a run is told beside the options of training.
struct RunSetting {
  std::string job;       // name of the job
  std::string identity;  // text that is equal for equal jobs
  std::string same_job;  // as `identity`, but without when it stops: what a restart must have alike
  std::string resolved;  // the job with every key, for the run's folder
  std::filesystem::path output;
  bool overwrite = false;
  ResumeOptions resume;
  bool terminal = false;  // draw a progress bar
  std::chrono::system_clock::time_point process_start;
  /// The program's exit code for an error, for status.json.
  std::function<int(const std::exception&)> exit_code_of = [](const std::exception&) { return 1; };
  int stopped_code = 75;  // the program's exit code for a run that was asked to stop
  std::string version;    // of the program and its libraries, for environment.json
};

/// Everything of a run on one rank, ready to take steps: what train, check and bench share.
class TrainingRun {
 public:
  /// Loads the data, makes device, model and initial weights, and checks that all ranks have the
  /// same contract, program, job (`identity`, a text that is equal for equal jobs) and data.
  /// Collective. Throws JobError, IoError, DeviceError, CommError.
  TrainingRun(const TrainOptions& options, comm::Communicator& communicator,
              const std::string& identity = "");

  /// Makes the objective ready for training, once. Collective. Throws as Objective::prepare.
  void prepare();
  /// The stages with their passes, prepared; each stage's optimizer begins anew. `only` names one
  /// stage, or is empty for all. Throws as prepare(), stage() and Update.
  std::vector<Stage> make_stages(const std::string& only);
  /// What the job says of a stage. Throws JobError for a name that none has.
  [[nodiscard]] const StageOptions& stage(const std::string& name) const;

  [[nodiscard]] const TrainOptions& options() const { return options_; }
  [[nodiscard]] comm::Communicator& communicator() { return communicator_; }
  [[nodiscard]] Device& device() { return *device_; }
  [[nodiscard]] StepRunner& runner() { return *runner_; }
  /// Most shards that a worker computes side by side.
  [[nodiscard]] std::int64_t side_by_side() const;
  [[nodiscard]] const Objective& objective() const { return *objective_; }
  [[nodiscard]] ParameterSet& parameters() { return parameters_; }
  [[nodiscard]] const data::DataPair& data() const { return data_.pair; }
  /// As LoadedData::whole.
  [[nodiscard]] const std::shared_ptr<const data::Dataset>& whole_data() const {
    return data_.whole;
  }
  /// See data_identity() of data_source.h; made when first asked for.
  const std::string& data_identity();
  [[nodiscard]] const std::string& data_note() const { return data_.note; }
  [[nodiscard]] const std::string& data_fact() const { return data_.fact; }
  [[nodiscard]] const std::vector<image::BadFile>& left_out() const { return data_.left_out; }
  [[nodiscard]] data::Loader& loader() { return *loader_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Update>>& updates() const { return updates_; }
  [[nodiscard]] int workers() const { return runner_->pool().workers(); }
  [[nodiscard]] LoopOptions loop_options() const;
  [[nodiscard]] std::string contract() const;
  /// What the run's images are decoded, fitted or interpolated by, or faces were cut out of
  /// photographs: "OpenCV 4.6.0"; "" where none of this is done.
  [[nodiscard]] const std::string& image_library() const { return image_library_; }
  /// Memory for `bytes` of frozen weights, and what kernels make of them, that the ranks of a host
  /// have together. Collective. Throws CommError.
  std::shared_ptr<SharedBlocks> share_frozen(std::size_t bytes);
  /// How much of it is used so far, and whether the ranks really share it: where a host has no room
  /// for shared memory, each has its own.
  [[nodiscard]] std::int64_t shared_bytes() const;
  [[nodiscard]] bool shares() const { return shares_; }
  /// Bytes of all weights.
  [[nodiscard]] std::int64_t arena_bytes() const {
    return static_cast<std::int64_t>(sizeof(float)) * parameters_.arena_elements();
  }
  /// Images that evaluation takes at a time.
  [[nodiscard]] std::int64_t evaluation_chunk() const;
  /// What evaluation goes over.
  [[nodiscard]] EvaluationData evaluation_data() const {
    return {*data_.pair.test, data_.pair.test_normalization, evaluation_chunk(),
            std::clamp<std::int64_t>(options_.evaluate.top_k, 1,
                                     std::max(1, data_.pair.train->classes()))};
  }
  /// What the model file says beside the weights; `record` is the run's.
  [[nodiscard]] ModelDescription description(nlohmann::json record) const;

 private:
  TrainOptions options_;
  comm::Communicator& communicator_;
  LoadedData data_;
  std::string data_identity_;
  std::string image_library_;
  std::unique_ptr<Device> device_;
  std::vector<std::shared_ptr<SharedBlocks>> shared_;
  bool shares_ = true;
  std::unique_ptr<StepRunner> runner_;
  ParameterSet parameters_;
  std::unique_ptr<Objective> objective_;
  bool prepared_ = false;
  std::unique_ptr<data::Loader> loader_;
  std::vector<std::unique_ptr<Update>> updates_;
};

struct RunResult {
  enum class Kind : std::uint8_t { kFinished, kStopped, kNothingToDo };
  Kind kind = Kind::kFinished;
  nlohmann::json summary;  // kFinished; its data_sha256 and state_sha256 are known to rank 0 alone
};

/// Trains from wherever the run stands, evaluates, writes the run's folder. Collective.
RunResult train(const TrainOptions& options, const RunSetting& setting,
                comm::Communicator& communicator);

}  // namespace gentrain::trainers
