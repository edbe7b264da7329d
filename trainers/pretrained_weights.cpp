// Finding and reading the file, and estimating statistics.
#include "trainers/pretrained_weights.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "core/data/memory_dataset.h"
#include "core/graph/imported.h"
#include "core/graph/keras_import.h"
#include "core/io/keras_weights.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "core/pattern.h"
#include "kernels/error.h"
#include "trainers/contract.h"
#include "trainers/imported_weights.h"
#include "trainers/models/pretrained.h"
#include "trainers/training.h"
#include "trainers/weight_files.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kStatisticsImages = 256;

std::vector<std::string> texts_of(const std::vector<Pattern>& patterns) {
  std::vector<std::string> texts;
  texts.reserve(patterns.size());
  for (const Pattern& pattern : patterns) {
    texts.push_back(pattern.text);
  }
  return texts;
}

/// Throws JobError for a pattern that matches none of the names. `among`: "no layer of x.h5".
void check_patterns(const char* key, const std::vector<Pattern>& patterns,
                    const std::vector<std::string>& names, const std::string& among) {
  for (const Pattern& pattern : patterns) {
    if (std::ranges::none_of(
            names, [&](const std::string& name) { return matches(pattern.text, name); })) {
      throw JobError(fmt::format("{}{}weights.{}: '{}' matches {} (there are {})", pattern.where,
                                 pattern.where.empty() ? "" : ": ", key, pattern.text, among,
                                 listed_near(pattern.text, names)));
    }
  }
}

/// A file's layers with weights, and its path.
struct FileLayers {
  fs::path path;
  std::vector<std::string> names;

  [[nodiscard]] bool has(const std::string& layer) const {
    return std::ranges::find(names, layer) != names.end();
  }
};

FileLayers layers_of(const io::KerasWeights& file) {
  FileLayers layers{file.path(), {}};
  for (const io::KerasLayer& layer : file.layers()) {
    layers.names.push_back(layer.name);
  }
  return layers;
}

FileLayers layers_of(const fs::path& path, const graph::ImportedModel& model) {
  FileLayers layers{path, {}};
  for (const graph::ImportedArray& array : model.arrays) {
    if (const std::string layer = layer_of(array.parameter); !layers.has(layer)) {
      layers.names.push_back(layer);
    }
  }
  return layers;
}

void check_patterns(const WeightsOptions& options, const ParameterSet& parameters,
                    const FileLayers& file) {
  std::vector<std::string> names;
  std::vector<std::string> layers;
  for (int i = 0; i < parameters.size(); ++i) {
    names.push_back(parameters.info(i).name);
    if (const std::string layer = layer_of(names.back());
        layers.empty() || layers.back() != layer) {
      layers.push_back(layer);
    }
  }
  names.insert(names.end(), layers.begin(), layers.end());
  const std::string among = "no parameter and no layer with parameters of the network";
  check_patterns("allow_missing", options.allow_missing, names, among);
  check_patterns("reinit", options.reinit, names, among);
  check_patterns("reinit_zeros", options.reinit_zeros, names, among);
  check_patterns("allow_extra", options.allow_extra, file.names,
                 "no layer of " + file.path.string());
}

/// The job's rules, and those that go without saying.
graph::KerasRules rules_of(const TrainOptions& options, const graph::Graph& graph,
                           const FileLayers& file) {
  const WeightsOptions& weights = options.weights;
  graph::KerasRules rules = {.allow_missing = texts_of(weights.allow_missing),
                             .allow_extra = texts_of(weights.allow_extra),
                             .reinit = texts_of(weights.reinit),
                             .reinit_zeros = texts_of(weights.reinit_zeros)};
  if (options.model.pretrained.top == PretrainedOptions::Top::kHead) {
    for (const char* layer : {"head_dense", "head_logits"}) {
      if (graph.find(layer) >= 0) {
        rules.allow_missing.emplace_back(layer);
      }
    }
  }
  if (options.model.pretrained.top == PretrainedOptions::Top::kRegression) {
    rules.allow_missing.emplace_back(kRegressionNode);
  }
  ModelOptions original = options.model;
  original.pretrained.top = PretrainedOptions::Top::kOriginal;
  const graph::Graph whole = make_graph(original, graph.node(graph.inputs()[0]).shape, 1);
  for (int i = 0; i < whole.size(); ++i) {
    const std::string& layer = whole.node(i).name;
    if (graph.find(layer) < 0 && file.has(layer)) {
      rules.allow_extra.push_back(layer);
    }
  }
  return rules;
}

std::string first_of(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 8;
  const std::size_t shown = std::min(names.size(), kShown);
  return fmt::format(
      "{}{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
      shown < names.size() ? ", ..." : "");
}

std::string note_of(const fs::path& file, const graph::KerasReport& report) {
  std::string text =
      fmt::format("weights: {} ({}): {} of {} parameters read", file.string(), report.file_sha256,
                  report.read.size(), report.read.size() + report.initialized.size());
  if (!report.initialized.empty()) {
    text += fmt::format("; {} initialised: {}", report.initialized.size(),
                        first_of(report.initialized));
  }
  std::vector<std::string> refilled;
  for (const graph::KerasReport::Refill& refill : report.refilled) {
    refilled.push_back(fmt::format("{} ({} values)", refill.parameter, with_commas(refill.values)));
  }
  if (!refilled.empty()) {
    text += fmt::format("; zeros initialised in {}", first_of(refilled));
  }
  if (!report.left.empty()) {
    text += fmt::format("; left in the file: {}", first_of(report.left));
  }
  return text;
}

/// Batch normalisations directly behind a convolution of which some value is not the file's.
std::vector<int> norms_behind(const graph::Graph& graph, const graph::KerasReport& report) {
  std::set<std::string> changed;
  for (const std::string& name : report.initialized) {
    changed.insert(layer_of(name));
  }
  for (const graph::KerasReport::Refill& refill : report.refilled) {
    changed.insert(layer_of(refill.parameter));
  }
  std::vector<int> norms;
  for (int i = 0; i < graph.size(); ++i) {
    if (!std::holds_alternative<graph::BatchNormalization>(graph.node(i).kind)) {
      continue;
    }
    const graph::Node& before = graph.node(graph.node(i).inputs[0]);
    if (std::holds_alternative<graph::Convolution>(before.kind) && changed.contains(before.name)) {
      norms.push_back(i);
    }
  }
  return norms;
}

/// Images that are decoded once, when they are first asked for: a rank keeps those of its chunks.
class KeptImages final : public data::HashedDataset {
 public:
  explicit KeptImages(std::shared_ptr<const data::Dataset> images)
      : images_(std::move(images)), kept_(static_cast<std::size_t>(images_->size())) {}

  [[nodiscard]] std::int64_t size() const override { return images_->size(); }
  [[nodiscard]] Shape sample_shape() const override { return images_->sample_shape(); }
  [[nodiscard]] int classes() const override { return images_->classes(); }
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return images_->label(index);
  }
  [[nodiscard]] bool in_memory() const override { return false; }
  [[nodiscard]] std::string description() const override { return images_->description(); }

  void read(std::int64_t index, std::uint8_t* pixels) const override {
    std::vector<std::uint8_t>& kept = kept_[static_cast<std::size_t>(index)];
    std::unique_lock lock(mutex_);
    if (kept.empty()) {
      lock.unlock();  // others decode meanwhile
      std::vector<std::uint8_t> decoded(static_cast<std::size_t>(sample_shape().elements()));
      images_->read(index, decoded.data());
      lock.lock();
      kept = std::move(decoded);
    }
    std::ranges::copy(kept, pixels);
  }

 private:
  std::shared_ptr<const data::Dataset> images_;
  mutable std::mutex mutex_;
  mutable std::vector<std::vector<std::uint8_t>> kept_;  // by index; empty: not decoded yet
};

std::shared_ptr<const data::Dataset> statistics_images(const TrainingRun& run) {
  const auto& train = run.data().train;
  std::vector<std::int64_t> first = data::sample_order(run.options().seed, 0, train->size());
  first.resize(std::min(first.size(), static_cast<std::size_t>(kStatisticsImages)));
  auto images = data::subset(train, std::move(first));
  return images->in_memory() ? images : std::make_shared<KeptImages>(std::move(images));
}

/// Batch normalisations, in ascending order, by passes over the images: those of a pass depend on
/// none but those of the passes before it.
std::vector<std::vector<int>> passes_of(const graph::Graph& graph, const std::vector<int>& norms) {
  std::vector<std::vector<int>> passes;
  std::vector<std::size_t> waits(static_cast<std::size_t>(graph.size()));  // for so many passes
  for (int i = 0; i < graph.size(); ++i) {
    std::size_t& own = waits[static_cast<std::size_t>(i)];
    for (const int input : graph.node(i).inputs) {
      own = std::max(own, waits[static_cast<std::size_t>(input)]);
    }
    if (std::ranges::binary_search(norms, i)) {
      passes.resize(std::max(passes.size(), own + 1));
      passes[own].push_back(i);
      ++own;
    }
  }
  return passes;
}

std::size_t channels_of(const Shape& shape) {
  return static_cast<std::size_t>(shape[shape.rank() - 1]);
}

/// Appends the sums of x and those of its squares, channel by channel.
void append_sums(Context& context, const Tensor& x, std::vector<double>& sums) {
  const std::size_t channels = channels_of(x.shape());
  const std::size_t at = sums.size();
  sums.resize(at + 2 * channels);
  const std::vector<double> values = values_of(context, x);
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums[at + i % channels] += values[i];
    sums[at + channels + i % channels] += values[i] * values[i];
  }
}

/// sums as append_sums() gives them, over so many images
void set_statistics(TrainingRun& run, const graph::Node& norm, std::span<const double> sums,
                    std::int64_t images) {
  const std::size_t channels = channels_of(norm.shape);
  const double count = static_cast<double>(images) * static_cast<double>(norm.shape.elements()) /
                       static_cast<double>(channels);
  std::vector<float> mean(channels);
  std::vector<float> variance(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    const double of_channel = sums[c] / count;
    mean[c] = static_cast<float>(of_channel);
    variance[c] =
        static_cast<float>(std::max(0.0, sums[channels + c] / count - of_channel * of_channel));
  }
  ParameterSet& parameters = run.parameters();
  Queue& queue = run.runner().queue();
  for (const auto& [name, values] :
       {std::pair{"running_mean", &mean}, std::pair{"running_var", &variance}}) {
    const int index = parameters.find(fmt::format("{}/{}", norm.name, name));
    copy_from_host<float>(run.device(), queue, *values, parameters[index]);
  }
  queue.wait();
}

/// The statistics of batch normalisations that do not depend on each other.
void estimate_pass(TrainingRun& run, const GraphNetwork& network, const data::Dataset& images,
                   const std::vector<int>& norms) {
  const graph::Graph& graph = network.executor().graph();
  std::vector<int> wanted;
  std::size_t channels = 0;
  for (const int norm : norms) {
    wanted.push_back(graph.node(norm).inputs[0]);
    channels += channels_of(graph.node(norm).shape);
  }
  const std::vector<double> sums = sum_over_chunks(
      run.communicator(), run.runner(),
      {images, run.data().train_normalization, run.evaluation_chunk()}, 2 * channels,
      [&](Context& context, const Tensor& x, const Tensor& /*labels*/) {
        std::vector<double> part;
        for (const Tensor& output : network.compute(context, x, wanted)) {
          append_sums(context, output, part);
        }
        return part;
      });
  std::size_t at = 0;
  for (const int norm : norms) {
    const std::size_t count = 2 * channels_of(graph.node(norm).shape);
    set_statistics(run, graph.node(norm), std::span(sums).subspan(at, count), images.size());
    at += count;
  }
  run.parameters().mark_changed();
}

std::string estimate(TrainingRun& run, const GraphNetwork& network, const std::vector<int>& norms) {
  const graph::Graph& graph = network.executor().graph();
  const auto images = statistics_images(run);
  const std::vector<std::vector<int>> passes = passes_of(graph, norms);
  spdlog::info(
      "weights: estimating the statistics of {} batch norms over {} training images, in {} passes",
      norms.size(), images->size(), passes.size());
  for (const std::vector<int>& pass : passes) {
    estimate_pass(run, network, *images, pass);
  }
  std::vector<std::string> names;
  names.reserve(norms.size());
  for (const int norm : norms) {
    names.push_back(graph.node(norm).name);
  }
  return fmt::format("weights: statistics estimated anew over {} training images: {}",
                     images->size(), first_of(names));
}

/// Whether a run takes anything from a file, or asks which one it is.
bool has_file(const TrainOptions& options) {
  return options.init_from.file.empty() && options.weights.use != WeightsOptions::Use::kNothing &&
         options.weights.file != "random";
}

fs::path file_of(const TrainOptions& options) {
  return options.weights.file.empty() ? find_weights_file(options.model.name)
                                      : fs::path(options.weights.file);
}

std::string identity_of(const std::string& file_sha256) {
  return "weights " + file_sha256;
}

/// Whether a file is a whole model in another form than HDF5.
bool is_whole_model(const fs::path& path) {
  constexpr std::string_view kHdf5 = "\x89HDF\r\n\x1a\n";
  std::string begin(kHdf5.size(), '\0');
  if (!io::is_there(path)) {
    return false;
  }
  io::PosixFile file(path, O_RDONLY);
  file.require_regular();
  begin.resize(file.read(begin.data(), begin.size()));
  return begin != kHdf5;
}

/// Reads the file by the job's rules.
graph::KerasReport read_weights(TrainingRun& run, const graph::Graph& graph, const fs::path& path) {
  const TrainOptions& options = run.options();
  if (is_whole_model(path)) {
    const graph::ImportedModel model = graph::import_model(path);
    const FileLayers layers = layers_of(path, model);
    check_patterns(options.weights, run.parameters(), layers);
    return read_imported({path, model, rules_of(options, graph, layers)}, run.parameters(),
                         run.device(), run.runner().queue());
  }
  const io::KerasWeights file(path);
  const FileLayers layers = layers_of(file);
  check_patterns(options.weights, run.parameters(), layers);
  return graph::read_keras_weights(graph, file, rules_of(options, graph, layers), run.parameters(),
                                   run.device(), run.runner().queue());
}

}  // namespace

PretrainedWeights weights_of_checkpoint(TrainingRun& run, const std::string& kind,
                                        const std::string& file) {
  const std::string& began = run.options().weights.identity;
  std::string identity = began;
  std::string unread;
  if (run.communicator().rank() == 0 && !file.empty()) {
    try {
      const io::Bytes bytes = io::read_file(file);
      identity = fmt::format(
          "{} {}", kind,
          io::sha256({reinterpret_cast<const std::byte*>(bytes.data.get()), bytes.size}));
    } catch (const IoError& error) {
      unread = fmt::format(" ({})", error.what());
    }
  }
  identity = run.communicator().all_gather_text(identity)[0];
  return {identity,
          {fmt::format("{}: {} of the checkpoint, of a run that began with {}{}", kind,
                       kind == "model" ? "that" : "those", began.empty() ? "none of a file" : began,
                       unread)}};
}

PretrainedWeights load_pretrained(TrainingRun& run, const GraphNetwork& network) {
  const TrainOptions& options = run.options();
  using Use = WeightsOptions::Use;
  if (!options.init_from.file.empty() || options.weights.use == Use::kNothing) {
    return {};
  }
  if (!has_file(options)) {
    return {"", {"weights: drawn at random"}};
  }
  if (options.weights.use == Use::kOfCheckpoint) {
    return weights_of_checkpoint(run, "weights", options.weights.file);
  }
  const fs::path path = file_of(options);
  const graph::Graph& graph = network.executor().graph();
  const graph::KerasReport report = read_weights(run, graph, path);
  check_equal_on_all_ranks(run.communicator(), [&]() -> std::vector<NamedText> {
    return {{"weights.file", report.file_sha256}};
  });
  PretrainedWeights result{identity_of(report.file_sha256), {note_of(path, report)}};
  if (const std::vector<int> norms = norms_behind(graph, report);
      !norms.empty() && options.weights.use == Use::kWhole) {
    result.notes.push_back(estimate(run, network, norms));
  }
  return result;
}

std::string missing_weights(const TrainOptions& options) {
  if (!is_pretrained(options.model) || !has_file(options)) {
    return "";
  }
  try {
    const io::PosixFile opened(file_of(options), O_RDONLY);
    return "";
  } catch (const IoError& error) {
    return error.what();
  }
}

}  // namespace gentrain::trainers
