// A model, its device and its workers.
#include "trainers/model_at_work.h"

#include <algorithm>

#include <fmt/format.h>

#include "kernels/error.h"
#include "trainers/contract.h"

namespace gentrain::trainers {

namespace {

/// More than a host has cores: ranks and threads are not bound by the shards of a training run.
constexpr std::int64_t kMostShards = 65536;
/// Samples at a time, part of what the last bits depend on: as trainers::predict().
constexpr std::int64_t kMostAtOnce = 256;

TrainOptions train_options(const InferenceOptions& options) {
  TrainOptions train;
  train.isa = options.isa;
  train.threads = options.threads;
  train.batch.shards = kMostShards;
  return train;
}

}  // namespace

ModelAtWork::ModelAtWork(const ModelChoice& choice, const InferenceOptions& options,
                         comm::Communicator& communicator)
    : communicator_(communicator), train_(train_options(options)) {
  device_ = make_device(train_);
  runner_ = std::make_unique<StepRunner>(communicator, *device_, worker_count(train_, communicator),
                                         kMostShards);
  model_ = std::make_unique<OpenedModel>(choice, *device_, runner_->queue());
}

void ModelAtWork::check_same_on_all_ranks(bool pictures) {
  check_equal_on_all_ranks(communicator_, [&]() -> std::vector<NamedText> {
    const std::string library = pictures ? image::image_library().version() : "";
    return {{"contract", contract_text(train_, device_->identity(), library)},
            {"model", model_->sha256()}};
  });
}

std::vector<float> ModelAtWork::predict(const data::Dataset& samples, std::int64_t count) {
  const auto classes = static_cast<std::size_t>(model_->classes());
  const Shape& needed = model_->image();
  if (samples.sample_shape() != needed) {
    throw JobError(fmt::format("{} takes images of {} but {} holds images of {}", model_->name(),
                               needed.str(), samples.description(), samples.sample_shape().str()));
  }
  Context context{*device_, *runner_->worker(0).queue, nullptr, false, {}};
  const auto bytes = static_cast<std::size_t>(needed.elements());
  std::vector<std::uint8_t> pixels;
  std::vector<float> all;
  all.reserve(static_cast<std::size_t>(count) * classes);
  for (std::int64_t first = 0; first < count; first += kMostAtOnce) {
    const std::int64_t n = std::min(kMostAtOnce, count - first);
    pixels.resize(static_cast<std::size_t>(n) * bytes);
    for (std::int64_t i = 0; i < n; ++i) {
      samples.read(first + i, pixels.data() + static_cast<std::size_t>(i) * bytes);
    }
    const std::vector<float> rows = model_->probabilities(context, pixels, n);
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

}  // namespace gentrain::trainers
