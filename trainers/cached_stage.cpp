// Stages that start from features. Whether one does is decided by what all ranks know alike, but
// for the comparison of bits, which rank 0 makes for all.
#include "trainers/cached_stage.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "core/graph/cut.h"
#include "core/graph/graph_json.h"
#include "core/graph/part_of.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "trainers/contract.h"
#include "trainers/data_source.h"
#include "trainers/map_cache.h"
#include "trainers/training.h"
#include "trainers/units.h"

namespace gentrain::trainers {

namespace {

using Use = DataOptions::CacheFeatures;

const GraphNetwork* graph_network(const TrainingRun& run) {
  return dynamic_cast<const GraphNetwork*>(run.objective().classifier());
}

/// Whether a node computes the same of a sample in each step.
bool is_fixed(const graph::Graph& graph, int node, const ParameterSet& parameters,
              const std::vector<bool>& trainable) {
  const graph::Node& of = graph.node(node);
  if (const auto* const dropout = std::get_if<graph::Dropout>(&of.kind)) {
    return dropout->rate == 0;
  }
  return std::ranges::none_of(graph::parameters_of(graph, of), [&](const auto& parameter) {
    const std::string name = fmt::format("{}/{}", of.parameters, graph::name_of(parameter.part));
    return trainable.at(static_cast<std::size_t>(parameters.find(name)));
  });
}

/// Of layers up to a node.
bool multiplies(const GraphNetwork& network, int node) {
  const std::vector<bool> before = graph::needed_for(network.executor().graph(), {&node, 1});
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i] && network.layers()[i].products > 0) {
      return true;
    }
  }
  return false;
}

/// Rows of features as samples: the bytes of their numbers, with the labels of their images.
class FeatureRows final : public data::Dataset {
 public:
  FeatureRows(std::shared_ptr<const data::Dataset> images, ImageFeatures features)
      : images_(std::move(images)), features_(std::move(features)) {}

  [[nodiscard]] std::int64_t size() const override { return features_.samples; }
  [[nodiscard]] Shape sample_shape() const override { return {bytes()}; }
  [[nodiscard]] int classes() const override { return images_->classes(); }
  [[nodiscard]] std::vector<std::string> class_names() const override {
    return images_->class_names();
  }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    std::memcpy(pixels, features_.row(index), static_cast<std::size_t>(bytes()));
  }
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return images_->label(index);
  }
  [[nodiscard]] bool in_memory() const override { return true; }
  [[nodiscard]] std::string sha256(const std::stop_token& stop) const override {
    return images_->sha256(stop);
  }
  [[nodiscard]] std::string description() const override {
    return "features of " + images_->description();
  }

 private:
  [[nodiscard]] std::int64_t bytes() const {
    return static_cast<std::int64_t>(sizeof(float)) * features_.width;
  }

  std::shared_ptr<const data::Dataset> images_;
  ImageFeatures features_;
};

/// SHA-256 of names and values of what a node depends on.
std::string hash_of_parameters(TrainingRun& run, const graph::Executor& executor,
                               const std::string& node) {
  ParameterSet& parameters = run.parameters();
  io::Sha256 hash;
  for (const std::string& name : executor.parameters_through(node)) {
    const std::vector<float> values =
        copy_to_host<float>(run.device(), run.runner().queue(), parameters[parameters.find(name)]);
    hash.update(name.data(), name.size() + 1);
    hash.update(values.data(), values.size() * sizeof(float));
  }
  return hash.finish();
}

/// What stands between images and the graph, in full.
std::string conversion_of(const GraphNetwork& network) {
  if (network.conversion() == nullptr) {
    return "";
  }
  const InputConversion::Constants constants = network.conversion()->constants();
  return fmt::format(" converted by {} and {}", constants.weights, constants.biases);
}

/// Sizes of chunks of `size` samples.
std::vector<std::int64_t> chunk_sizes(std::int64_t samples, std::int64_t chunk) {
  std::set<std::int64_t> sizes = {std::min(chunk, samples), samples % chunk};
  sizes.erase(0);
  return {sizes.begin(), sizes.end()};
}

}  // namespace

StagePlan plan_stage(TrainingRun& run, const std::string& stage, const std::vector<bool>& trainable,
                     const DataOptions& data) {
  const GraphNetwork* const network = graph_network(run);
  if (network == nullptr || data.cache_features == Use::kOff) {
    return {};
  }
  const graph::Graph& graph = network->executor().graph();
  const int node = graph::last_fixed(graph, network->logits(), [&](int at) {
    return is_fixed(graph, at, run.parameters(), trainable);
  });
  if (node < 0 || !multiplies(*network, node)) {
    return {};
  }
  const std::string& name = graph.node(node).name;
  if (data::augments(data.augment.value_or(data::AugmentOptions{}))) {
    return {-1, 0,
            fmt::format("stage {}: computes its frozen part, up to {}, in each step, as "
                        "data.augment changes the images in each epoch",
                        stage, name)};
  }
  const std::int64_t images = run.data().train->size() + run.data().test->size();
  const std::int64_t width = graph.node(node).shape.elements();
  const std::int64_t bytes = static_cast<std::int64_t>(sizeof(float)) * images * width;
  const double size = mib(bytes);
  if (size > static_cast<double>(data.cache_features_mib)) {
    return {-1, 0,
            fmt::format("stage {}: computes its frozen part, up to {}, in each step, as its "
                        "features of all images would take {:.1f} MiB, more than the {} of "
                        "data.cache_features_mib",
                        stage, name, size, data.cache_features_mib)};
  }
  return {node, bytes,
          fmt::format("stage {}: starts from features of {}, computed once: {} numbers of each of "
                      "{} images, {:.1f} MiB on each host",
                      stage, name, with_commas(width), with_commas(images), size)};
}

CachedStage::CachedStage(TrainingRun& run, std::string stage, StagePlan plan,
                         std::shared_ptr<RunImageHashes> hashes)
    : run_(run), stage_(std::move(stage)), plan_(std::move(plan)), hashes_(std::move(hashes)) {}

const GraphNetwork& CachedStage::network() const {
  return *graph_network(run_);
}

data::Loader* CachedStage::begin() {
  if (run_.communicator().rank() == 0 && !plan_.text.empty()) {
    spdlog::info("{}", plan_.text);
  }
  if (plan_.node < 0) {
    return nullptr;
  }
  const comm::PhaseScope phase(run_.communicator().activity(), comm::Phase::kEvaluating);
  const TrainOptions& options = run_.options();
  const Part part{"training",
                  run_.data().train,
                  run_.data().train_normalization,
                  shard_sizes(run_.data().train->size(), options.batch),
                  hashes_->train,
                  options.precision == Precision::kBf16Emulated};
  if (!is_independent(part)) {
    return nullptr;
  }
  behind_ = std::make_unique<GraphTail>(network(), plan_.node, run_.parameters());
  layer_ = network().executor().graph().node(plan_.node).name;
  layers_ = behind_->layers();
  loader_ = data::make_loader(rows_of(part), options.seed, true);
  return loader_.get();
}

void CachedStage::end() {
  test_.reset();
  tried_test_ = false;
  loader_.reset();
  behind_.reset();
}

EvaluationData CachedStage::evaluation_data(const EvaluationData& images) {
  if (behind_ == nullptr || run_.data().test->size() == 0) {
    return images;
  }
  if (!std::exchange(tried_test_, true)) {
    const comm::PhaseScope phase(run_.communicator().activity(), comm::Phase::kEvaluating);
    const Part part{"test",
                    run_.data().test,
                    images.normalization,
                    chunk_sizes(run_.data().test->size(), images.chunk),
                    hashes_->test,
                    false};
    if (is_independent(part)) {
      test_ = rows_of(part);
    }
  }
  return test_ == nullptr ? images
                          : EvaluationData{*test_, images.normalization, images.chunk, images.top_k,
                                           behind_.get()};
}

/// Whether an image's features have the same bits in all sizes of shards: those among as many as
/// the largest has are kept.
bool CachedStage::is_independent(const Part& part) const {
  std::string difference;
  if (run_.communicator().rank() == 0) {
    Context context{run_.device(), run_.runner().queue(), nullptr, false, {}};
    context.bf16 = part.bf16;
    const std::vector<std::int64_t> two{0, std::min<std::int64_t>(1, part.images->size() - 1)};
    const Tensor images = read_images(context, *part.images, part.normalization, two);
    const auto compute = [this](Context& on, const Tensor& x) {
      return network().compute(on, x, {&plan_.node, 1});
    };
    if (const auto found =
            find_dependence(context, images, part.sizes.back(), part.sizes, compute)) {
      difference = fmt::format("{} images as among {}", found->images, part.sizes.back());
      spdlog::info(
          "stage {}: of the {} set it computes its frozen part after all, as features "
          "have not the same bits among {}",
          stage_, part.name, difference);
    }
  }
  return run_.communicator().all_gather_text(difference)[0].empty();
}

/// All that features depend on beside the images: the program's own kernels too.
std::string CachedStage::identity(const Part& part) const {
  const graph::Executor& executor = network().executor();
  const graph::Graph& graph = executor.graph();
  const std::string& name = graph.node(plan_.node).name;
  const DeviceIdentity& device = run_.device().identity();
  const graph::Graph before =
      graph::part_of(graph, {&name, 1}, graph.node(graph.inputs()[0]).shape);
  return fmt::format(
      "program {}, {} of {}{}, mean {}, std {}, {} {} {} {}, weights {}", program_hash(),
      graph::to_json(before).dump(), part.images->sample_shape().str(), conversion_of(network()),
      part.normalization.mean, part.normalization.stddev, device.kind, device.isa, device.libraries,
      part.bf16 ? "bf16" : "f32", hash_of_parameters(run_, executor, name));
}

/// Where features are kept; empty: nowhere.
std::filesystem::path CachedStage::folder() const {
  if (run_.options().data.cache_features == Use::kMemory) {
    return {};
  }
  try {
    return cache_folder(run_.options().data);
  } catch (const IoError& error) {
    spdlog::warn("data.cache: features are not kept: {}", error.what());
    return {};
  }
}

std::shared_ptr<const data::Dataset> CachedStage::rows_of(const Part& part) const {
  const auto start = std::chrono::steady_clock::now();
  comm::Communicator& communicator = run_.communicator();
  const bool first = communicator.rank() == 0;
  const std::filesystem::path cache = first ? folder() : std::filesystem::path();
  const bool keeps = !cache.empty();
  if (communicator.all_gather_text(keeps ? "keeps" : "")[0] == "keeps" && part.hashes.empty()) {
    part.hashes = image_hashes(*part.images, run_.workers(), communicator);
  }
  const FeatureSource source{*part.images,     part.normalization,          network(),
                             plan_.node,       keeps ? identity(part) : "", part.bf16,
                             part.sizes.back()};
  ImageFeatures features = load_features(communicator, run_.runner(), source, part.hashes, cache);
  if (first) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    spdlog::info(
        "stage {}: features of the {} set: {} computed, {}, in {:.1f} s", stage_, part.name,
        with_commas(features.computed),
        keeps ? fmt::format("{} taken from {}", with_commas(features.samples - features.computed),
                            cache.string())
              : "kept in memory alone",
        seconds.count());
  }
  return std::make_shared<FeatureRows>(part.images, std::move(features));
}

Tensor features_from(Context& context, std::span<const std::uint8_t> rows, std::int64_t n,
                     const Shape& row) {
  const Tensor x = Tensor::empty(context.device, batch_shape(n, row));
  if (std::ssize(rows) != static_cast<std::ptrdiff_t>(x.bytes())) {
    throw ShapeError(fmt::format("{} bytes of features came, {} x {} numbers need {}", rows.size(),
                                 n, row.str(), x.bytes()));
  }
  context.device.to_device(context.queue, rows.data(), x.data(), x.bytes());
  return x;
}

std::vector<std::int64_t> shard_sizes(std::int64_t samples, const BatchOptions& batch) {
  std::set<std::int64_t> sizes;
  for (const std::int64_t images : {std::min(batch.global, samples), samples % batch.global}) {
    for (std::int64_t shard = 0; shard < batch.shards; ++shard) {
      sizes.insert(shard_samples({0, images}, batch.shards, shard).size());
    }
  }
  sizes.erase(0);
  return {sizes.begin(), sizes.end()};
}

}  // namespace gentrain::trainers
