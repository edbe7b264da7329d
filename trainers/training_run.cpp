// TrainingRun: the parts of a run and how they fit together.
#include <algorithm>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"
#include "kernels/shared_blocks.h"
#include "trainers/cached_stage.h"
#include "trainers/classifier.h"
#include "trainers/contract.h"
#include "trainers/freezing.h"
#include "trainers/model_io.h"
#include "trainers/models/imported.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace {

constexpr std::uint64_t kInitialWeightsKey = 0x494E4954;

/// See TrainingRun::image_library(). Loads the module where the run will need it.
std::string image_library_of(const TrainOptions& options, const data::DataPair& data) {
  using Source = DataOptions::Source;
  const auto is_read = [](const auto& set) { return set != nullptr && !set->in_memory(); };
  const bool fits =
      options.data.source == Source::kFolder && (is_read(data.train) || is_read(data.test));
  const bool interpolates = is_srgan(options.model);  // in evaluations
  return fits || interpolates || options.data.source == Source::kLfw
             ? image::image_library().version()
             : "";
}

/// Images of a folder get the size that an imported network takes, where the job says none.
void take_size_of_file(TrainOptions& options) {
  DataOptions& data = options.data;
  if (is_imported(options.model) && data.source == DataOptions::Source::kFolder &&
      data.height == 0) {
    const Shape picture = picture_of(options.model.imported);
    data.height = picture[0];
    data.width = picture[1];
    if (data.channels == DataOptions().channels) {
      data.channels = picture[2];
    }
  }
}

/// Throws JobError for data that the model does not learn from.
void check_data_of_model(const ModelOptions& model, const data::DataPair& data) {
  const data::Dataset& train = *data.train;
  if (is_vae(model)) {
    check_pixels_are_probabilities(data);
  } else if (is_srgan(model)) {
    check_pixels_are_signed(data, model.name);
  } else if (train.classes() == 0) {
    throw JobError(fmt::format(
        "{}: there are no classes, as it holds no folders, but the model is a classifier",
        train.description()));
  } else if (is_pretrained(model) || is_imported(model)) {
    if (train.classes() == 1) {
      throw JobError(
          fmt::format("{}: {} is the one class there is, a classifier tells two or more "
                      "apart",
                      train.description(), class_name(train.class_names(), 0)));
    }
    check_pixels_are_signed(data, called(model));
  }
}

/// Throws JobError for what only a classifier has, of another model.
void check_is_classification(const TrainOptions& options) {
  if (!is_vae(options.model) && !is_srgan(options.model)) {
    return;
  }
  if (options.data.augment) {
    throw JobError(
        fmt::format("data.augment: model {} learns no classes; only a classifier's "
                    "labelled training images are augmented",
                    options.model.name));
  }
  if (options.class_weight != ClassWeight::kNone) {
    throw JobError(fmt::format("class_weight: model {} learns no classes", options.model.name));
  }
}

}  // namespace

TrainingRun::TrainingRun(const TrainOptions& options, comm::Communicator& communicator,
                         const std::string& identity)
    : options_(options), communicator_(communicator) {
  check_supported(options_, communicator.size());
  const int workers = worker_count(options_, communicator);
  device_ = make_device(options_);
  take_size_of_file(options_);
  check_same_on_all_ranks(communicator, contract(), identity);
  data_ = load_data(options_, workers, communicator);
  image_library_ = image_library_of(options_, data_.pair);
  check_equal_on_all_ranks(communicator, [&]() -> std::vector<NamedText> {
    const CheckpointOptions::Interval& every = options_.checkpoint.every;
    return {{"image library", image_library_},
            {"data set", data_identity()},
            {"checkpoint.every",
             fmt::format("{} in unit {}", every.count, static_cast<int>(every.unit))}};
  });
  if (data_.pair.train->size() == 0) {
    throw IoError(
        fmt::format("{}: there are no training samples", data_.pair.train->description()));
  }
  check_is_classification(options_);
  runner_ = std::make_unique<StepRunner>(communicator, *device_, workers, options_.batch.shards,
                                         options_.precision == Precision::kBf16Emulated);
  check_data_of_model(options_.model, data_.pair);
  objective_ = make_objective(options_.model, options_.init, data_.pair.train->sample_shape(),
                              data_.pair.train->classes(), parameters_);
  parameters_.allocate(*device_, runner_->queue());
  parameters_.initialize(*device_, runner_->queue(),
                         RngKey(options_.seed).fold(kInitialWeightsKey));
  if (!options_.init_from.file.empty()) {
    init_from(options_.init_from, *device_, runner_->queue(), parameters_);
    check_equal_on_all_ranks(communicator, [&]() -> std::vector<NamedText> {
      return {{"init_from file", weights_sha256(*device_, runner_->queue(), parameters_)}};
    });
  }
  // Decoding or augmenting images is worth a thread for each worker; HDF5 is read by one at a time.
  const auto augmentation = options_.data.augment.value_or(data::AugmentOptions{});
  const bool prepares =
      options_.data.source == DataOptions::Source::kFolder || data::augments(augmentation);
  loader_ = data::make_loader(data_.pair.train, options_.seed, true, prepares ? workers : 1,
                              augmentation);
}

void TrainingRun::prepare() {
  if (!prepared_) {
    objective_->prepare(*this);
    prepared_ = true;
  }
}

const StageOptions& TrainingRun::stage(const std::string& name) const {
  std::vector<std::string> names;
  for (const StageOptions& stage : options_.stages) {
    if (stage.name == name) {
      return stage;
    }
    names.push_back(stage.name);
  }
  throw JobError(
      fmt::format("there is no stage '{}' (there are {})", name, fmt::join(names, ", ")));
}

std::vector<Stage> TrainingRun::make_stages(const std::string& only) {
  if (!only.empty()) {
    static_cast<void>(stage(only));
  }
  prepare();
  std::vector<Stage> stages;
  const auto hashes = std::make_shared<RunImageHashes>();
  updates_.clear();
  const UpdateSetting setting{communicator_,         *device_,  options_.exchange,
                              options_.batch.shards, workers(), side_by_side()};
  for (const StageOptions& stage : options_.stages) {
    if (!only.empty() && stage.name != only) {
      continue;
    }
    const auto statistics = objective_->names(stage.name);
    const auto parts = objective_->passes(stage.name);
    updates_.push_back(
        std::make_unique<Update>(setting, runner_->queue(), parameters_,
                                 frozen_by_name(stage, options_.model, *objective_, parameters_),
                                 std::ssize(statistics), parts));
    stages.push_back({stage.name, stage.stop, {}, {statistics.begin(), statistics.end()}});
    StagePlan plan = plan_stage(*this, stage.name, updates_.back()->trainable(), options_.data);
    if (!plan.text.empty()) {
      stages.back().cached =
          std::make_shared<CachedStage>(*this, stage.name, std::move(plan), hashes);
    }
    const TrainingData data{*loader_, *data_.pair.train, data_.pair.train_normalization,
                            stages.back().cached.get()};
    for (std::size_t i = 0; i < parts.size(); ++i) {
      stages.back().passes.push_back(make_pass(*updates_.back(), *objective_, data, stage.name, i));
    }
  }
  return stages;
}

std::shared_ptr<SharedBlocks> TrainingRun::share_frozen(std::size_t bytes) {
  static_assert(comm::kHostMemoryZeros >= SharedBlocks::kTableBytes);
  const comm::HostMemory memory = communicator_.host_memory(SharedBlocks::room_for(bytes));
  shares_ = shares_ && (memory.shared || communicator_.ranks_on_host() == 1);
  shared_.push_back(std::make_shared<SharedBlocks>(memory.data, memory.bytes));
  return shared_.back();
}

std::int64_t TrainingRun::shared_bytes() const {
  std::size_t bytes = 0;
  for (const auto& blocks : shared_) {
    bytes += blocks->used();
  }
  return static_cast<std::int64_t>(bytes);
}

std::int64_t TrainingRun::side_by_side() const {
  const std::int64_t shards = options_.batch.shards;
  const std::int64_t images = (options_.batch.global + shards - 1) / shards;  // of a shard at most
  return std::clamp<std::int64_t>(objective_->images_side_by_side() / images, 1,
                                  kMostShardsSideBySide);
}

const std::string& TrainingRun::data_identity() {
  if (data_identity_.empty()) {
    data_identity_ = trainers::data_identity(data_.pair);
  }
  return data_identity_;
}

LoopOptions TrainingRun::loop_options() const {
  return {options_.seed, data_.pair.train->size(), options_.batch.global};
}

std::string TrainingRun::contract() const {
  return contract_text(options_, device_->identity(), image_library_);
}

std::int64_t TrainingRun::evaluation_chunk() const {
  const std::int64_t batch =
      options_.evaluate.batch > 0 ? options_.evaluate.batch : options_.batch.global;
  return std::max<std::int64_t>(1, batch / options_.batch.shards);
}

ModelDescription TrainingRun::description(nlohmann::json record) const {
  return {self_contained(options_.model, objective_->classifier()),
          data_.pair.train->sample_shape(),
          data_.pair.train->classes(),
          data_.pair.train_normalization,
          data_.pair.test_normalization,
          data_.pair.train->class_names(),
          options_.data.fit,
          std::move(record)};
}

}  // namespace gentrain::trainers
