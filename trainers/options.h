// Everything that trainers are told, without a word of YAML: the options of a training run with
// their defaults. jobs/cli reads them from a job file; tests fill them by hand.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/exchange.h"
#include "core/data/augment.h"
#include "core/data/dataset.h"
#include "core/image/face_preparation.h"
#include "core/image/folder.h"
#include "core/optim/options.h"
#include "core/parameters.h"
#include "trainers/models/options.h"
#include "trainers/patterns.h"

namespace gentrain::trainers {

enum class DeviceChoice : std::uint8_t { kAuto, kCpu, kCuda };
enum class IsaChoice : std::uint8_t { kAuto, kV3, kV4 };
/// What training computes in. kBf16Emulated: tensors of bf16, f32 arithmetic.
enum class Precision : std::uint8_t { kF32, kBf16, kBf16Emulated, kTf32 };
/// What early stop and the best model go by: a number of the evaluation.
enum class Metric : std::uint8_t { kNone, kTop1, kLoss };
/// Which way is better: of a loss less, of an accuracy more (kAuto).
enum class MetricMode : std::uint8_t { kAuto, kMin, kMax };

/// How much the images of a class count in the loss: all alike, or in inverse proportion to how
/// many there are.
enum class ClassWeight : std::uint8_t { kNone, kAuto };

/// The global batch and its cut into shards, the unit of work and of randomness.
struct BatchOptions {
  std::int64_t global = 64;  // images of one step, over all ranks; >= shards
  std::int64_t shards = 16;
  friend bool operator==(const BatchOptions&, const BatchOptions&) = default;
};

/// Whichever comes first ends a stage; at least one is set. steps == 0 skips the stage.
struct StopOptions {
  std::optional<std::int64_t> epochs;
  std::optional<std::int64_t> steps;
  friend bool operator==(const StopOptions&, const StopOptions&) = default;
};

/// Ends a stage when `metric` did not improve by more than min_delta in `patience` evaluations in a
/// row.
struct EarlyStopOptions {
  Metric metric = Metric::kNone;  // kNone: off
  std::int64_t patience = 3;
  double min_delta = 0;
  MetricMode mode = MetricMode::kAuto;
  friend bool operator==(const EarlyStopOptions&, const EarlyStopOptions&) = default;
};

/// Which weights become the trained model: those of the best evaluation, or the last ones (kNone).
struct BestOptions {
  Metric metric = Metric::kNone;
  MetricMode mode = MetricMode::kAuto;
  friend bool operator==(const BestOptions&, const BestOptions&) = default;
};

/// Constants that replace the data set's own. Only `train` given: it holds for the test set too.
struct NormalizeOptions {
  std::optional<data::Normalization> train;
  std::optional<data::Normalization> test;
};
inline bool operator==(const NormalizeOptions& a, const NormalizeOptions& b) {
  const auto equal = [](const auto& x, const auto& y) {
    return x.has_value() == y.has_value() && (!x || (x->mean == y->mean && x->stddev == y->stddev));
  };
  return equal(a.train, b.train) && equal(a.test, b.test);
}

struct DataOptions {
  /// kAuto: MNIST if it is found, else the built-in digits; with the model srgan photographs of
  /// faces (kLfw), else the built-in faces; the log says so.
  enum class Source : std::uint8_t { kAuto, kMnist, kDigits, kFaces, kLfw, kHdf5, kFolder };
  /// What a file means that is no image or a damaged one.
  enum class OnBadFile : std::uint8_t { kStop, kSkip };
  /// Whether a stage's steps start from features of what it leaves as it is, computed once; see
  /// CachedStage. kAuto: where nothing random stands before it, with files in the cache. No key
  /// gives kMemory: the same without files.
  enum class CacheFeatures : std::uint8_t { kAuto, kOff, kMemory };
  Source source = Source::kAuto;
  /// mnist, auto: the folder of the idx files. Empty: searched for in $GENTRAIN_DATA/mnist, then in
  /// data/mnist. lfw, auto with srgan: the folder of photographs, likewise, of the name lfw.
  /// folder: a folder of images, or a pack.
  std::string folder;
  std::string test_folder;  // folder; may be empty if `validation` is not 0
  /// folder: in place of both a folder that holds them; see folders_of() in image_source.h.
  std::string path;
  /// folder, with path: which files below it are of which class, in place of a folder for each; see
  /// list_by_patterns(). Empty: folders.
  std::vector<ClassPattern> classes;
  std::int64_t height = 0;                   // folder: of all images; 0: those of a pack
  std::int64_t width = 0;                    // folder; 0 with height alone
  image::Fit fit = image::Fit::kCrop;        // folder
  std::int64_t channels = 3;                 // folder: 3 or 1
  OnBadFile on_bad_file = OnBadFile::kStop;  // folder
  std::string train_file;                    // hdf5
  std::string test_file;                     // hdf5; as test_folder
  double validation = 0;  // fraction of the training set that is set aside, 0 <= x < 1; 0: none
  std::optional<std::uint64_t> validation_seed;  // which; none: by the job's seed
  std::optional<data::AugmentOptions> augment;   // of a classifier's training images
  /// digits, faces: which are drawn; not the job's seed, so that data stay.
  std::uint64_t seed = 1;
  std::int64_t train_count = 60000;  // digits, faces
  std::int64_t test_count = 10000;   // digits, faces
  image::FaceOptions faces;          // lfw
  /// Where prepared faces, maps and features are kept; empty: io::default_cache_folder(). Changes
  /// no result, as the two that follow.
  std::string cache;
  CacheFeatures cache_features = CacheFeatures::kAuto;  // of a pretrained network
  std::int64_t cache_features_mib = 1024;  // most features of a stage; of larger ones none are kept
  NormalizeOptions normalize;
  friend bool operator==(const DataOptions&, const DataOptions&) = default;
};

struct EvaluateOptions {
  std::int64_t every = 1;  // epochs; the last step of a stage is always followed by an evaluation
  std::int64_t batch = 0;  // images at a time over all ranks; 0: as batch.global
  /// Samples of each test image's latent numbers for the log-likelihood at the end of the run; 0:
  /// none.
  std::int64_t importance_samples = 0;
  /// Of a classifier: images count as right for top-k whose label is among so many of the likeliest
  /// classes; at least 1, and all of them if there are fewer. 1: top-1 alone.
  std::int64_t top_k = 5;
  /// Of a classifier: whether the end of the run writes confusion matrix, precision and recall of
  /// each class, and the worst mistakes.
  bool report = true;
  friend bool operator==(const EvaluateOptions&, const EvaluateOptions&) = default;
};

struct LogOptions {
  std::int64_t every = 10;  // steps
  friend bool operator==(const LogOptions&, const LogOptions&) = default;
};

struct CheckpointOptions {
  /// kEnd: a checkpoint and the trained model at the end, nothing before. kNever: not even that.
  enum class Unit : std::uint8_t { kSteps, kEpochs, kSeconds, kEnd, kNever };
  /// Between two checkpoints.
  struct Interval {
    Unit unit = Unit::kEpochs;
    std::int64_t count = 1;  // >= 1; of no meaning to kEnd and kNever
    friend bool operator==(const Interval&, const Interval&) = default;
  };
  Interval every;
  std::int64_t keep = 2;  // the newest so many, and the best evaluation's
  friend bool operator==(const CheckpointOptions&, const CheckpointOptions&) = default;
};

/// Pictures that a generative model draws while it is trained.
struct SampleOptions {
  CheckpointOptions::Interval every;  // never seconds; kEnd: at the end alone; kNever: none
  friend bool operator==(const SampleOptions&, const SampleOptions&) = default;
};

/// What a stage leaves as it is, of what `trainable` names.
struct FreezeOptions {
  /// A layer of a network that is a graph: all that it depends on and itself. Empty text: none.
  Pattern through = {"", ""};
  std::vector<Pattern> parameters;
  friend bool operator==(const FreezeOptions&, const FreezeOptions&) = default;
};

/// Part of a job with its own stop, optimizer and trainable parameters.
struct StageOptions {
  std::string name = "train";
  StopOptions stop;
  OptimizerOptions optimizer;
  // In its place:
  std::optional<OptimizerOptions> generator_optimizer;      // of parameters named generator/...
  std::optional<OptimizerOptions> discriminator_optimizer;  // of those named discriminator/...
  ScheduleOptions schedule;
  double clip_norm = 0;  // gradients are scaled down to this norm; 0: off
  std::vector<Pattern> trainable = {Pattern{}};
  FreezeOptions freeze;
  friend bool operator==(const StageOptions&, const StageOptions&) = default;
};

struct InitOptions {
  Initializer::Kind name = Initializer::Kind::kUniformFanIn;
  double stddev = 0;  // kNormal
  friend bool operator==(const InitOptions&, const InitOptions&) = default;
};

/// Initial weights out of a file.
struct InitFromOptions {
  std::string file;  // model or checkpoint; empty: none
  /// Parameters that are taken from it; the others are initialised as always.
  std::vector<Pattern> parameters = {Pattern{}};
  friend bool operator==(const InitFromOptions&, const InitFromOptions&) = default;
};

/// Weights of a pretrained network, read by layer name; see graph::KerasRules.
struct WeightsOptions {
  /// A Keras file; "random": none is read; empty: searched for in $GENTRAIN_DATA/weights, then in
  /// data/weights.
  std::string file;
  std::vector<Pattern> allow_missing;
  std::vector<Pattern> allow_extra;
  std::vector<Pattern> reinit;
  std::vector<Pattern> reinit_zeros;
  /// No keys. How far a run needs them: where their values are of no account no statistics are
  /// estimated anew, or nothing is read; those of a checkpoint, which restores them, are of the
  /// file that it calls `identity`.
  enum class Use : std::uint8_t { kWhole, kWithoutEstimates, kOfCheckpoint, kNothing };
  Use use = Use::kWhole;
  std::string identity;  // as PretrainedWeights has it
  friend bool operator==(const WeightsOptions&, const WeightsOptions&) = default;
};

/// A training run.
struct TrainOptions {
  std::uint64_t seed = 1;
  DeviceChoice device = DeviceChoice::kAuto;
  IsaChoice isa = IsaChoice::kAuto;
  Precision precision = Precision::kF32;
  std::int64_t threads = 0;     // of a rank; 0: max(1, allowed cores / ranks on this host)
  std::int64_t op_threads = 1;  // fixed parts that an operation is cut into
  comm::ExchangeMode exchange = comm::ExchangeMode::kCanonical;
  BatchOptions batch;
  DataOptions data;
  ClassWeight class_weight = ClassWeight::kNone;  // of a classifier
  ModelOptions model;
  InitOptions init;
  InitFromOptions init_from;
  WeightsOptions weights;            // of inception_v3, vgg16, vgg19 and squeezenet
  std::vector<StageOptions> stages;  // at least one, names differ
  EarlyStopOptions early_stop;
  BestOptions best;
  EvaluateOptions evaluate;
  LogOptions log;
  CheckpointOptions checkpoint;
  SampleOptions samples;
  ContentOptions content;          // of the model "srgan"
  AdversarialOptions adversarial;  // of it too
  friend bool operator==(const TrainOptions&, const TrainOptions&) = default;
};

}  // namespace gentrain::trainers
