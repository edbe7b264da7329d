// Finding and reading the file, and estimating statistics.
#include "trainers/pretrained_weights.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/graph/keras_import.h"
#include "core/io/keras_weights.h"
#include "core/pattern.h"
#include "kernels/error.h"
#include "trainers/contract.h"
#include "trainers/data_source.h"
#include "trainers/models/pretrained.h"
#include "trainers/training.h"
#include "trainers/weight_files.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kStatisticsImages = 256;

fs::path find_file(const std::string& model) {
  const std::vector<fs::path> folders = data_folders({}, "weights");
  for (const fs::path& folder : folders) {
    const std::vector<fs::path> files = weight_files(folder, model);
    if (!files.empty()) {
      return files.front();
    }
  }
  throw IoError(fmt::format(
      "the weights of {0} are not there: {0}*.h5 was looked for in {1}. Put the file of Keras "
      "Applications into one of them, set GENTRAIN_DATA or weights.file, or take weights: random, "
      "which have learned nothing",
      model, joined(folders)));
}

/// Of a parameter NAME/weight; NAME may have slashes too.
std::string layer_of(const std::string& parameter) {
  return parameter.substr(0, parameter.rfind('/'));
}

std::vector<std::string> texts_of(const std::vector<Pattern>& patterns) {
  std::vector<std::string> texts;
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

void check_patterns(const WeightsOptions& options, const ParameterSet& parameters,
                    const io::KerasWeights& file) {
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
  std::vector<std::string> of_file;
  for (const io::KerasLayer& layer : file.layers()) {
    of_file.push_back(layer.name);
  }
  check_patterns("allow_extra", options.allow_extra, of_file,
                 "no layer of " + file.path().string());
}

/// The job's rules, and those that go without saying.
graph::KerasRules rules_of(const TrainOptions& options, const graph::Graph& graph,
                           const io::KerasWeights& file) {
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

/// The statistics of one batch normalisation over some images.
void estimate(TrainingRun& run, const GraphNetwork& network, const data::Dataset& images,
              const graph::Node& norm) {
  const int before = norm.inputs[0];
  const auto channels = static_cast<std::size_t>(norm.shape[norm.shape.rank() - 1]);
  const std::vector<double> sums = sum_over_chunks(
      run.communicator(), run.runner(),
      {images, run.data().train_normalization, run.evaluation_chunk()}, 2 * channels,
      [&](Context& context, const Tensor& x, const Tensor& /*labels*/) {
        std::vector<double> part(2 * channels);
        const std::vector<double> values =
            values_of(context, network.compute(context, x, {&before, 1})[0]);
        for (std::size_t i = 0; i < values.size(); ++i) {
          part[i % channels] += values[i];
          part[channels + i % channels] += values[i] * values[i];
        }
        return part;
      });
  const double count = static_cast<double>(images.size()) *
                       static_cast<double>(norm.shape.elements()) / static_cast<double>(channels);
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
  parameters.mark_changed();
}

std::string estimate(TrainingRun& run, const GraphNetwork& network, const std::vector<int>& norms) {
  const auto& train = run.data().train;
  std::vector<std::int64_t> first = data::sample_order(run.options().seed, 0, train->size());
  first.resize(std::min(first.size(), static_cast<std::size_t>(kStatisticsImages)));
  const auto images = data::subset(train, std::move(first));
  std::vector<std::string> names;
  for (const int norm : norms) {
    const graph::Node& node = network.executor().graph().node(norm);
    estimate(run, network, *images, node);
    names.push_back(node.name);
  }
  return fmt::format("weights: statistics estimated anew over {} training images: {}",
                     images->size(), first_of(names));
}

}  // namespace

PretrainedWeights load_pretrained(TrainingRun& run, const GraphNetwork& network) {
  const TrainOptions& options = run.options();
  if (!options.init_from.file.empty() || options.weights.use == WeightsOptions::Use::kNothing) {
    return {};
  }
  if (options.weights.file == "random") {
    return {"", {"weights: drawn at random"}};
  }
  const fs::path path =
      options.weights.file.empty() ? find_file(options.model.name) : fs::path(options.weights.file);
  const io::KerasWeights file(path);
  check_patterns(options.weights, run.parameters(), file);
  const graph::Graph& graph = network.executor().graph();
  const graph::KerasReport report =
      graph::read_keras_weights(graph, file, rules_of(options, graph, file), run.parameters(),
                                run.device(), run.runner().queue());
  check_equal_on_all_ranks(run.communicator(), [&]() -> std::vector<NamedText> {
    return {{"weights.file", report.file_sha256}};
  });
  PretrainedWeights result{report.file_sha256, {note_of(path, report)}};
  if (const std::vector<int> norms = norms_behind(graph, report);
      !norms.empty() && options.weights.use == WeightsOptions::Use::kWhole) {
    result.notes.push_back(estimate(run, network, norms));
  }
  return result;
}

}  // namespace gentrain::trainers
