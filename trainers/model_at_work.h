// An opened model on this rank's device with the workers that compute with it.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "trainers/inference.h"
#include "trainers/opened_model.h"
#include "trainers/step.h"

namespace gentrain::trainers {

class ModelAtWork {
 public:
  /// Throws as OpenedModel and make_device().
  ModelAtWork(const ModelChoice& choice, const InferenceOptions& options,
              comm::Communicator& communicator);

  [[nodiscard]] const OpenedModel& model() const { return *model_; }
  [[nodiscard]] StepRunner& runner() { return *runner_; }
  /// Collective; throws CommError if the ranks have different models or contracts. `pictures`: they
  /// decode images, which counts too.
  void check_same_on_all_ranks(bool pictures);
  /// Probabilities [count, classes] of the first `count` samples, on this rank alone. Throws
  /// JobError as OpenedModel::classes(), and if the samples are not what the model takes.
  std::vector<float> predict(const data::Dataset& samples, std::int64_t count);

 private:
  comm::Communicator& communicator_;
  TrainOptions train_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<StepRunner> runner_;
  std::unique_ptr<OpenedModel> model_;
};

}  // namespace gentrain::trainers
