// Features of a frozen part: what a stage never changes of a network is computed once for each
// image, by all ranks together, and the stage's steps and evaluations start from there. The bytes
// of the training are those without it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/data/loader.h"
#include "trainers/evaluate.h"
#include "trainers/image_features.h"
#include "trainers/models/graph_tail.h"
#include "trainers/options.h"

namespace gentrain::trainers {

class TrainingRun;

/// Where the steps of a stage start.
struct StagePlan {
  int node = -1;           // from the output of this layer of the network's graph; -1: from images
  std::int64_t bytes = 0;  // of the features of all images, training and test set; 0: with -1
  std::string text;        // a line that says so, or why not; empty where there is no choice
};

/// From the last layer that all of the network before it leads through, if nothing of that part is
/// trained or random and it has layers that multiply; the network is a graph. From images where
/// they are augmented, the job says so (data.cache_features) or features would take too much
/// (data.cache_features_mib).
///
/// trainable  by index of the run's parameters
/// data       of the job: what it says of the cache
StagePlan plan_stage(TrainingRun& run, const std::string& stage, const std::vector<bool>& trainable,
                     const DataOptions& data);

/// The hashes of a run's images, made when first asked for: image_hashes().
struct RunImageHashes {
  std::string train;
  std::string test;
};

class CachedStage {
 public:
  /// plan    of the stage
  /// hashes  what the run's stages share
  CachedStage(TrainingRun& run, std::string stage, StagePlan plan,
              std::shared_ptr<RunImageHashes> hashes);

  /// With the weights in place that the stage begins with: brings the features of the training set
  /// into memory, out of data.cache or computed. From images after all, with a line in the log, if
  /// kernels give an image other bits in shards of other sizes. Returns what the steps' samples
  /// come from; null: from where those of other stages come. Collective. Throws as load_features().
  data::Loader* begin();
  /// What the features of a host take between begin() and end(), if it starts from some.
  [[nodiscard]] std::int64_t feature_bytes() const { return plan_.bytes; }
  /// Lets the features go; what the steps started from stays known.
  void end();

  /// Where the steps start from features: what they compute; else null.
  [[nodiscard]] const GraphTail* behind() const { return behind_.get(); }
  /// Between begin() and end(), where behind() is not null: their rows.
  [[nodiscard]] data::Loader& loader() const { return *loader_; }
  /// What an evaluation in the stage goes over in place of `images`, with the same result: features
  /// of the test set, which the first call brings as begin() does. Collective.
  EvaluationData evaluation_data(const EvaluationData& images);
  /// The layer whose features steps start from, behind begin(); empty: none.
  [[nodiscard]] const std::string& layer() const { return layer_; }
  /// The layers behind it, which steps compute.
  [[nodiscard]] const std::vector<LayerInfo>& layers() const { return layers_; }

 private:
  /// A part of the run's images, and what is computed of it at a time.
  struct Part {
    const char* name;
    std::shared_ptr<const data::Dataset> images;
    data::Normalization normalization;
    std::vector<std::int64_t> sizes;  // ascending
    std::string& hashes;
    bool bf16;
  };

  [[nodiscard]] const GraphNetwork& network() const;
  [[nodiscard]] bool is_independent(const Part& part) const;
  [[nodiscard]] std::string identity(const Part& part) const;
  [[nodiscard]] std::filesystem::path folder() const;
  [[nodiscard]] std::shared_ptr<const data::Dataset> rows_of(const Part& part) const;

  TrainingRun& run_;
  std::string stage_;
  StagePlan plan_;
  std::shared_ptr<RunImageHashes> hashes_;
  std::string layer_;
  std::vector<LayerInfo> layers_;
  std::unique_ptr<GraphTail> behind_;
  std::unique_ptr<data::Loader> loader_;
  std::shared_ptr<const data::Dataset> test_;  // null: evaluations are of images
  bool tried_test_ = false;
};

/// Rows of features as a data set gives them, on the device.
///
/// rows    the f32 numbers of n rows, as bytes
/// row     shape of one
/// result  [n, ...]
///
/// Throws ShapeError for another number of bytes.
Tensor features_from(Context& context, std::span<const std::uint8_t> rows, std::int64_t n,
                     const Shape& row);

/// Sizes, ascending, of the shards that are not empty of the steps of an epoch.
std::vector<std::int64_t> shard_sizes(std::int64_t samples, const BatchOptions& batch);

}  // namespace gentrain::trainers
