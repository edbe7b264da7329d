// Objective: what a run minimises over images, the same in training and in evaluation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/context.h"
#include "core/data/dataset.h"
#include "core/data/loader.h"
#include "trainers/loop.h"
#include "trainers/models/network.h"
#include "trainers/pictures.h"

namespace gentrain::trainers {

class CachedStage;
class TrainingRun;

/// What an objective makes of some images.
struct ObjectiveTerms {
  /// []: scale * sum over the images; has the history. Undefined of an objective that has its own
  /// train().
  Tensor loss;
  /// By Objective::names(): sums over the images, unscaled; of shards side by side those of each,
  /// one behind the other.
  std::vector<double> sums;
};

/// The images of a shard, or of several side by side, in a step of training. `context` has a tape
/// on which nothing is recorded yet.
struct ShardStep {
  Context& context;
  ParameterGradients& gradients;
  std::string_view stage;  // name
  Tensor x;                // [n, h, w, c], normalised; or what `behind` takes
  Tensor labels;           // [n], i32
  double scale = 1;        // 1 / images of the global batch
  std::size_t pass = 0;    // of the step: index in Objective::passes()
  /// Of a stage that starts from features: what a classifier's network computes of them.
  const Network* behind = nullptr;
};

/// What pictures are made of: images of the test set, and the context's random key.
struct PictureSource {
  Context& context;
  const data::Dataset& test;
  data::Normalization normalization;
};

class Objective {
 public:
  virtual ~Objective() = default;
  /// Names of the sums. The first is "loss", in nats, or a mean square; a classifier's second one
  /// is "top1": images whose first largest number is the label's.
  [[nodiscard]] virtual std::span<const std::string_view> names() const = 0;
  /// x [n, h, w, c], normalised; labels [n], i32. Without labels (-1) a classifier must not be
  /// asked.
  virtual ObjectiveTerms compute(Context& context, const Tensor& x, const Tensor& labels,
                                 double scale) const = 0;
  /// Names of what train() gives in a stage.
  [[nodiscard]] virtual std::span<const std::string_view> names(std::string_view /*stage*/) const {
    return names();
  }
  /// The passes of a step of a stage, and the parameters that each can train: patterns as in
  /// StageOptions::trainable, no parameter in two passes. A pass sees the weights that the one
  /// before it left.
  [[nodiscard]] virtual std::vector<std::vector<Pattern>> passes(std::string_view /*stage*/) const {
    return {{Pattern{}}};
  }
  /// Makes ready for training, once, before the first train(): on every rank, with weights in
  /// place.
  virtual void prepare(TrainingRun& /*run*/) {}
  /// How many images of several shards may stand side by side in a recording of train(), and are
  /// computed faster so; 0: it takes one shard at a time.
  [[nodiscard]] virtual std::int64_t images_side_by_side() const { return 0; }
  /// What training depends on beside job and data, as a text; after prepare(). A run goes on only
  /// with the same.
  [[nodiscard]] virtual std::string identity() const { return ""; }
  /// What a run's log and record are to say of it; after prepare().
  [[nodiscard]] virtual std::vector<std::string> notes() const { return {}; }
  /// Forward and backward: gradients of scale * the sum over the images. By names(stage): sums over
  /// the images as ObjectiveTerms has them; what another pass tells is 0.
  virtual std::vector<double> train(ShardStep& step) const;
  /// The forward pass alone, its result thrown away.
  virtual void forward(Context& context, const Tensor& x) const = 0;
  [[nodiscard]] virtual const std::vector<LayerInfo>& layers() const = 0;
  /// Floating-point operations (multiply-adds count two) of one image in a step of a stage, in
  /// dense and convolution layers: forward, and backward as far as trainable parameters need it, by
  /// index. After prepare().
  [[nodiscard]] virtual double training_flops(std::string_view /*stage*/,
                                              const ParameterSet& parameters,
                                              const std::vector<bool>& trainable) const {
    return training_flops_per_image(layers(), parameters, trainable);
  }
  /// The same of forward().
  [[nodiscard]] virtual double forward_flops() const { return forward_flops_per_image(layers()); }
  /// The network of a classifier; null for any other objective.
  [[nodiscard]] virtual const Network* classifier() const { return nullptr; }

  /// Images [count, h, w, c] in 0..1 out of the noise that the context's key gives. Throws JobError
  /// of a model that makes none of noise.
  virtual Tensor sample(Context& context, std::int64_t count) const;
  /// The sum over images x of log p(x), nats, estimated with `samples` samples of each image's
  /// latent numbers (importance sampling). Throws JobError of a model that has none.
  /// Source: Burda et al. 2016, arXiv:1509.00519, equation 8.
  virtual double log_likelihood(Context& context, const Tensor& x, std::int64_t samples) const;
  /// Whether there are pictures().
  [[nodiscard]] virtual bool draws() const { return false; }
  /// Pictures of what the model can do.
  virtual std::vector<Picture> pictures(const PictureSource& source) const;
};

/// Index of the loss among statistics: there it is a mean over the global batch, the others are
/// sums.
inline constexpr std::size_t kLossMean = 0;

/// Registers the model's parameters and makes its objective. `image`, `classes`: of the data.
/// Throws as build_network.
std::unique_ptr<Objective> make_objective(const ModelOptions& model, const InitOptions& init,
                                          const Shape& image, int classes,
                                          ParameterSet& parameters);

/// Samples to train on.
struct TrainingData {
  data::Loader& loader;
  const data::Dataset& dataset;
  data::Normalization normalization;
  const CachedStage* cached = nullptr;  // where its steps may start from features
};

/// Makes the `index`-th pass of a step that trains an objective in a stage; everything given must
/// outlive it.
Pass make_pass(Update& update, const Objective& objective, const TrainingData& data,
               const std::string& stage, std::size_t index = 0);

/// Samples `indices` of a data set as a model wants them: x [indices, h, w, c] on the device.
Tensor read_images(Context& context, const data::Dataset& dataset,
                   const data::Normalization& normalization, std::span<const std::int64_t> indices);

/// [n, ...] of n things of one shape.
Shape batch_shape(std::int64_t n, const Shape& one);

/// The elements of a tensor, f32 or f64.
std::vector<double> values_of(Context& context, const Tensor& x);
/// Their sum, from the first to the last.
double sum_of(Context& context, const Tensor& x);
/// The same of the rows [n] of each of the shards side by side; one sum if there is one shard.
std::vector<double> sums_of_shards(Context& context, const Tensor& rows);

/// Pixels as a model wants them: x [samples, h, w, c] on the device.
Tensor normalized_images(Context& context, std::span<const std::uint8_t> pixels,
                         std::int64_t samples, const Shape& sample_shape,
                         const data::Normalization& normalization);

}  // namespace gentrain::trainers
