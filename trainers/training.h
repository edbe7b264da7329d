// Training a classifier: one run from options to a trained model, the same life cycle on every
// rank.
#pragma once

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
#include "trainers/loop.h"
#include "trainers/model_io.h"
#include "trainers/options.h"
#include "trainers/run_folder.h"

namespace gentrain::trainers {

/// What a run is told beside the options of training.
struct RunSetting {
  std::string job;       // name of the job
  std::string identity;  // text that is equal for equal jobs
  std::string resolved;  // the job with every key, for the run's folder
  std::filesystem::path output;
  bool overwrite = false;
  bool terminal = false;  // draw a progress bar
  std::chrono::system_clock::time_point process_start;
  /// The program's exit code for an error, for status.json.
  std::function<int(const std::exception&)> exit_code_of = [](const std::exception&) { return 1; };
  std::string version;  // of the program and its libraries, for environment.json
};

/// Everything of a classifier on one rank, ready to take steps: what train, check and bench share.
class ClassifierRun {
 public:
  /// Loads the data, makes device, network and initial weights, and checks that all ranks have the
  /// same contract, program, job (`identity`, a text that is equal for equal jobs) and data.
  /// Collective. Throws JobError, IoError, DeviceError, CommError.
  ClassifierRun(const TrainOptions& options, comm::Communicator& communicator,
                const std::string& identity = "");

  /// The stages with their passes; each stage's optimizer begins anew. `only` names one stage, or
  /// is empty for all.
  std::vector<Stage> make_stages(const std::string& only);

  [[nodiscard]] const TrainOptions& options() const { return options_; }
  [[nodiscard]] comm::Communicator& communicator() { return communicator_; }
  [[nodiscard]] Device& device() { return *device_; }
  [[nodiscard]] StepRunner& runner() { return *runner_; }
  [[nodiscard]] const Network& network() const { return *network_; }
  [[nodiscard]] ParameterSet& parameters() { return parameters_; }
  [[nodiscard]] const data::DataPair& data() const { return data_.pair; }
  [[nodiscard]] const std::string& data_note() const { return data_.note; }
  [[nodiscard]] data::Loader& loader() { return *loader_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Update>>& updates() const { return updates_; }
  [[nodiscard]] int workers() const { return runner_->pool().workers(); }
  [[nodiscard]] LoopOptions loop_options() const;
  [[nodiscard]] std::string contract() const;
  /// Images that evaluation takes at a time.
  [[nodiscard]] std::int64_t evaluation_chunk() const;
  /// What the model file says beside the weights; `record` is the run's.
  [[nodiscard]] ModelDescription description(nlohmann::json record) const;

 private:
  TrainOptions options_;
  comm::Communicator& communicator_;
  LoadedData data_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<StepRunner> runner_;
  ParameterSet parameters_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<data::Loader> loader_;
  std::vector<std::unique_ptr<Update>> updates_;
};

/// Trains, evaluates, writes the run's folder, and returns its summary; its data_sha256 is known to
/// rank 0 alone. Collective.
nlohmann::json train_classifier(const TrainOptions& options, const RunSetting& setting,
                                comm::Communicator& communicator);

/// Largest resident memory of this process so far, MiB.
double peak_rss_mib();

}  // namespace gentrain::trainers
