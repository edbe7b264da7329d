// A pretrained network as a fixed extractor: the outputs of one of its layers are features, on
// which a logistic regression is fitted; both become one model.
//
// Source: DeepImageFeaturizer and LogisticRegression of Spark's Deep Learning Pipelines; see
// logistic_regression.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "trainers/classification_report.h"
#include "trainers/image_features.h"
#include "trainers/logistic_model.h"
#include "trainers/logistic_regression.h"
#include "trainers/options.h"
#include "trainers/training.h"

namespace gentrain::trainers {

struct RegressionOptions {
  RegressionOptions() { fit.centre = true; }

  double train_share = 0.6;                // of the images, above 0 and below 1
  std::optional<std::int64_t> split_seed;  // which images; none: by the job's seed
  /// Features are centred: Spark's 20 iterations then come much nearer the optimum, which is the
  /// same. fit.shards are the run's shards.
  LogisticOptions fit;
  friend bool operator==(const RegressionOptions&, const RegressionOptions&) = default;
};

/// What of a job's options a run of this kind needs set: images of data.path (a folder, or a pack),
/// of which a share is set aside, the network with the top kRegression, and the shards.
TrainOptions feature_options(TrainOptions options, const RegressionOptions& regression);

/// Samples of one part of the split: their numbers in the whole data set, ascending, and their
/// labels.
struct FeatureSamples {
  std::vector<std::int64_t> numbers;
  std::vector<std::int32_t> labels;
};

/// The two parts: of each class the same share, by data::split_indices().
struct FeatureSplit {
  FeatureSamples train;
  FeatureSamples test;
};
/// Throws JobError naming the class if one has no image in one of the parts.
FeatureSplit split_features(const data::Dataset& images, double test_share, std::uint64_t seed);

/// What a model says of samples.
struct FeatureEvaluation {
  Evaluation evaluation;        // top_k 1
  ClassificationReport report;  // `worst` by the samples' places in the part
};
/// names: of the classes
FeatureEvaluation evaluate_features(const LogisticModel& model, const ImageFeatures& features,
                                    const FeatureSamples& samples,
                                    const std::vector<std::string>& names);

/// Weights [classes, d] and bias [classes] of a dense layer whose softmax is the model's
/// probabilities. Of two classes the first one's row is 0 and the second one's the log odds:
/// nothing is rounded but to f32.
struct DenseWeights {
  std::vector<float> weight;
  std::vector<float> bias;
};
DenseWeights dense_weights(const LogisticModel& model);

/// Features of all images, out of the cache where it has them; the fit on a share of them, a step
/// for each iteration; the evaluation on the others; a run's folder as a training run writes it.
/// The model file has the network up to the layer, and the regression as its node `regression`. A
/// run that goes on has the bytes of one that was not disturbed, on any number of ranks.
/// Collective.
///
/// Throws as RunSession, TrainingRun, load_features(), split_features() and LogisticFit;
/// DeviceError with how much memory features and fit need if that is not free; JobError if a run
/// that goes on was on other images or weights.
RunResult run_feature_regression(const TrainOptions& options, const RegressionOptions& regression,
                                 const RunSetting& setting, comm::Communicator& communicator);

/// What such a run will be, found without computing anything.
struct FeaturePlan {
  std::string missing;  // what is missing, empty if nothing is; then most below is unknown
  std::string data;     // where the images are from
  std::vector<std::string> classes;
  std::int64_t train = 0;  // images
  std::int64_t test = 0;
  std::vector<LayerInfo> layers;  // up to the regression
  std::int64_t parameters = 0;
  std::int64_t width = 0;          // numbers of an image
  std::int64_t feature_bytes = 0;  // of all, once a host
  std::int64_t fit_bytes = 0;      // of a rank: the fit, or loading the features if that is more
};
/// For a lone process. Throws what a run would throw before it computes, but for missing files.
FeaturePlan plan_feature_regression(const TrainOptions& options,
                                    const RegressionOptions& regression);

}  // namespace gentrain::trainers
