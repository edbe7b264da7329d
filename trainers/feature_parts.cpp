// The parts of a regression on features that need no run: options, split, evaluation, plan.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <system_error>

#include <fmt/format.h>

#include "kernels/error.h"
#include "trainers/classifier.h"
#include "trainers/feature_regression.h"
#include "trainers/models/graph_network.h"
#include "trainers/models/pretrained.h"
#include "trainers/pretrained_weights.h"
#include "trainers/regression_state.h"

namespace gentrain::trainers {

namespace {

FeatureSamples samples_of(const data::Dataset& images, std::vector<std::int64_t> numbers) {
  FeatureSamples samples{std::move(numbers), {}};
  for (const std::int64_t number : samples.numbers) {
    samples.labels.push_back(images.label(number));
  }
  return samples;
}

std::vector<std::vector<std::int64_t>> numbers_by_class(const data::Dataset& images) {
  std::vector<std::vector<std::int64_t>> numbers(static_cast<std::size_t>(images.classes()));
  for (std::int64_t i = 0; i < images.size(); ++i) {
    numbers.at(static_cast<std::size_t>(images.label(i))).push_back(i);
  }
  return numbers;
}

/// Of the images of one class, in ascending order.
data::SplitIndices split_class(std::vector<std::int64_t> images, double test_share,
                               std::uint64_t seed, const std::string& name) {
  const auto count = std::ssize(images);
  const auto for_test = std::llround(test_share * static_cast<double>(count));
  if (for_test == 0 || for_test == count) {
    throw JobError(fmt::format(
        "split: of the {} images of {} {} are for fitting and {} for testing: take another "
        "split.train, or more images of it",
        count, name, count - for_test, for_test));
  }
  data::SplitIndices split = data::split_indices(count, test_share, seed);
  for (std::vector<std::int64_t>* part : {&split.train, &split.validation}) {
    for (std::int64_t& index : *part) {
      index = images[static_cast<std::size_t>(index)];
    }
  }
  return split;
}

}  // namespace

TrainOptions feature_options(TrainOptions options, const RegressionOptions& regression) {
  options.data.source = DataOptions::Source::kFolder;
  if (std::error_code ignored; options.data.classes.empty() && !options.data.path.empty() &&
                               !std::filesystem::is_directory(options.data.path, ignored)) {
    options.data.folder = std::move(options.data.path);  // a pack
    options.data.path.clear();
  }
  options.data.validation = 1 - regression.train_share;
  if (regression.split_seed) {
    options.data.validation_seed = static_cast<std::uint64_t>(*regression.split_seed);
  }
  options.model.pretrained.top = PretrainedOptions::Top::kRegression;
  options.batch = {.global = kFeatureChunk * regression.fit.shards,
                   .shards = regression.fit.shards};
  return options;
}

FeatureSplit split_features(const data::Dataset& images, double test_share, std::uint64_t seed) {
  constexpr std::uint64_t kBetweenClasses = 0x9e3779b97f4a7c15;
  std::vector<std::int64_t> train;
  std::vector<std::int64_t> test;
  std::vector<std::vector<std::int64_t>> classes = numbers_by_class(images);
  for (std::size_t label = 0; label < classes.size(); ++label) {
    const data::SplitIndices of_class =
        split_class(std::move(classes[label]), test_share, seed + kBetweenClasses * label,
                    class_name(images.class_names(), static_cast<int>(label)));
    train.insert(train.end(), of_class.train.begin(), of_class.train.end());
    test.insert(test.end(), of_class.validation.begin(), of_class.validation.end());
  }
  std::ranges::sort(train);
  std::ranges::sort(test);
  return {samples_of(images, std::move(train)), samples_of(images, std::move(test))};
}

FeatureEvaluation evaluate_features(const LogisticModel& model, const ImageFeatures& features,
                                    const FeatureSamples& samples,
                                    const std::vector<std::string>& names) {
  FeatureEvaluation result;
  Evaluation& evaluation = result.evaluation;
  ClassificationReport& report = result.report;
  report.classes = model.classes;
  report.names = names;
  report.confusion.assign(static_cast<std::size_t>(model.classes * model.classes), 0);
  for (std::size_t i = 0; i < samples.numbers.size(); ++i) {
    const float* const row = features.row(samples.numbers[i]);
    const std::vector<double> all =
        model.probabilities({row, static_cast<std::size_t>(features.width)});
    const std::int32_t label = samples.labels[i];
    const auto predicted = static_cast<std::int32_t>(std::ranges::max_element(all) - all.begin());
    const double loss = -std::log(all[static_cast<std::size_t>(label)]);
    evaluation.loss += loss;
    evaluation.correct += predicted == label ? 1 : 0;
    ++report.confusion[static_cast<std::size_t>(label * model.classes + predicted)];
    if (predicted != label) {
      report.worst.push_back({static_cast<std::int64_t>(i), label, predicted, loss});
    }
  }
  evaluation.samples = std::ssize(samples.numbers);
  evaluation.loss /= static_cast<double>(std::max<std::int64_t>(1, evaluation.samples));
  std::ranges::stable_sort(report.worst, std::ranges::greater(), &Mistake::loss);
  report.worst.resize(std::min(report.worst.size(), kMostMistakes));
  return result;
}

DenseWeights dense_weights(const LogisticModel& model) {
  DenseWeights dense;
  if (model.classes == 2) {
    dense.weight.resize(static_cast<std::size_t>(model.features));
    dense.bias.resize(1);
  }
  for (const double value : model.coefficients) {
    dense.weight.push_back(static_cast<float>(value));
  }
  for (const double value : model.intercepts) {
    dense.bias.push_back(static_cast<float>(value));
  }
  return dense;
}

FeaturePlan plan_feature_regression(const TrainOptions& options,
                                    const RegressionOptions& regression) {
  TrainOptions whole = feature_options(options, regression);
  whole.data.on_bad_file = DataOptions::OnBadFile::kStop;  // nothing is decoded
  FeaturePlan plan;
  LoadedData loaded;
  try {
    loaded = load_data(whole, 1, *comm::make_single());
  } catch (const IoError& error) {
    plan.missing = error.what();
    return plan;
  }
  const data::Dataset& images = *loaded.whole;
  plan.data = images.description();
  plan.classes = images.class_names();
  plan.train = loaded.pair.train->size();
  plan.test = loaded.pair.test->size();
  split_features(images, whole.data.validation, whole.data.validation_seed.value_or(whole.seed));
  ParameterSet parameters;
  const auto network =
      make_pretrained(whole.model, whole.init, images.sample_shape(), images.classes(), parameters);
  plan.layers = network->layers();
  plan.parameters = parameters.count();
  const graph::Graph& graph = network->executor().graph();
  plan.width = graph.node(graph.index_of(kFeaturesNode)).shape.elements();
  plan.feature_bytes = static_cast<std::int64_t>(sizeof(float)) * images.size() * plan.width;
  plan.fit_bytes =
      std::max(feature_loader_bytes(images.size(), plan.width),
               regression_bytes(plan.width, images.classes(), regression.fit.shards, 1));
  plan.missing = missing_weights(whole);
  return plan;
}

}  // namespace gentrain::trainers
