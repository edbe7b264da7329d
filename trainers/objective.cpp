// Objectives by model, and the pass of one.
#include "trainers/objective.h"

#include <numeric>

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "trainers/cached_stage.h"
#include "trainers/classifier.h"
#include "trainers/models/vae.h"
#include "trainers/srgan.h"

namespace gentrain::trainers {

namespace {

/// The images of a run, one shard behind the other.
struct Images {
  Tensor x;       // [n, h, w, c], normalised
  Tensor labels;  // [n]
};

Images load_images(ShardRun& run, const TrainingData& data) {
  Context& context = run.context;
  const std::int64_t images = run.samples.size();
  const Shape& shape = data.dataset.sample_shape();
  const Tensor bytes = Tensor::empty(context.device, batch_shape(images, shape), DType::kU8);
  const Tensor labels = Tensor::empty(context.device, {images}, DType::kI32);
  const data::ShardBatch& batch = run.worker.batch;
  const auto load = [&](std::int64_t first, std::int64_t count) {
    data.loader.load(
        {run.position.epoch, run.samples.first + first, run.samples.first + first + count},
        run.worker.batch);
    copy_from_host<std::uint8_t>(context.device, context.queue, batch.pixels,
                                 bytes.slice(first * shape.elements(), {count * shape.elements()}));
    copy_from_host<std::int32_t>(context.device, context.queue, batch.labels,
                                 labels.slice(first, {count}));
  };
  if (context.shards == nullptr) {
    load(0, images);
  } else {
    std::int64_t first = 0;
    for (const std::int64_t rows : context.shards->rows) {
      if (rows > 0) {
        load(first, rows);
      }
      first += rows;
    }
  }
  return {ops::from_bytes(context, bytes, data.normalization.factor(), data.normalization.shift()),
          labels};
}

/// The same of a stage that starts from features.
Images load_features(ShardRun& run, const CachedStage& cached) {
  Context& context = run.context;
  const std::int64_t images = run.samples.size();
  data::ShardBatch& batch = run.worker.batch;
  cached.loader().load({run.position.epoch, run.samples.first, run.samples.last}, batch);
  const Tensor labels = Tensor::empty(context.device, {images}, DType::kI32);
  copy_from_host<std::int32_t>(context.device, context.queue, batch.labels, labels);
  return {features_from(context, batch.pixels, images, cached.behind()->input()), labels};
}

/// Puts the sums of an objective into the statistics of each shard.
void tell(const std::vector<double>& sums, ShardRun& run) {
  comm::ShardGradients& gradients = *run.gradients[0];
  const auto shards = static_cast<std::size_t>(gradients.shards());
  if (sums.empty() || sums.size() % shards != 0) {
    throw Error(fmt::format("{} sums of {} shards side by side: as many of each are needed",
                            sums.size(), shards));
  }
  const std::size_t count = sums.size() / shards;
  for (std::int64_t shard = 0; shard < gradients.shards(); ++shard) {
    const std::span<float> statistics = gradients.statistics(shard);
    for (std::size_t i = 0; i < count; ++i) {
      statistics[i] = static_cast<float>(sums[static_cast<std::size_t>(shard) * count + i]);
    }
    statistics[kLossMean] /= static_cast<float>(run.batch_images());
  }
}

}  // namespace

std::unique_ptr<Objective> make_objective(const ModelOptions& model, const InitOptions& init,
                                          const Shape& image, int classes,
                                          ParameterSet& parameters) {
  if (is_vae(model)) {
    return std::make_unique<Vae>(
        model.vae, init, image, parameters,
        model.name == "vae_conv" ? VaeKind::kConvolutional : VaeKind::kDense);
  }
  if (is_srgan(model)) {
    return std::make_unique<Srgan>(model.srgan, init, image, parameters);
  }
  return std::make_unique<Classifier>(build_network(model, init, image, classes, parameters));
}

Shape batch_shape(std::int64_t n, const Shape& one) {
  std::vector<std::int64_t> extents{n};
  extents.insert(extents.end(), one.extents().begin(), one.extents().end());
  return Shape(extents);
}

Tensor normalized_images(Context& context, std::span<const std::uint8_t> pixels,
                         std::int64_t samples, const Shape& sample_shape,
                         const data::Normalization& normalization) {
  const Tensor bytes =
      Tensor::empty(context.device, batch_shape(samples, sample_shape), DType::kU8);
  copy_from_host<std::uint8_t>(context.device, context.queue, pixels, bytes);
  return ops::from_bytes(context, bytes, normalization.factor(), normalization.shift());
}

Tensor Objective::sample(Context& /*context*/, std::int64_t /*count*/) const {
  throw JobError("the model makes no images of noise: it is no autoencoder");
}

double Objective::log_likelihood(Context& /*context*/, const Tensor& /*x*/,
                                 std::int64_t /*samples*/) const {
  throw JobError("the model gives images no probability: it is no autoencoder");
}

std::vector<Picture> Objective::pictures(const PictureSource& /*source*/) const {
  return {};
}

Tensor read_images(Context& context, const data::Dataset& dataset,
                   const data::Normalization& normalization,
                   std::span<const std::int64_t> indices) {
  const auto bytes = static_cast<std::size_t>(dataset.sample_shape().elements());
  std::vector<std::uint8_t> pixels(bytes * indices.size());
  for (std::size_t i = 0; i < indices.size(); ++i) {
    dataset.read(indices[i], pixels.data() + i * bytes);
  }
  return normalized_images(context, pixels, std::ssize(indices), dataset.sample_shape(),
                           normalization);
}

std::vector<double> values_of(Context& context, const Tensor& x) {
  if (x.dtype() == DType::kF64) {
    return copy_to_host<double>(context.device, context.queue, x);
  }
  const std::vector<float> values = copy_to_host<float>(context.device, context.queue, x);
  return {values.begin(), values.end()};
}

double sum_of(Context& context, const Tensor& x) {
  one_shard_only(context, "sum_of");
  const std::vector<double> values = values_of(context, x);
  return std::accumulate(values.begin(), values.end(), 0.0);
}

std::vector<double> sums_of_shards(Context& context, const Tensor& rows) {
  if (context.shards == nullptr) {
    return {sum_of(context, rows)};
  }
  const std::vector<double> values = values_of(context, rows);
  std::vector<double> sums;
  auto first = values.begin();
  for (const std::int64_t count : context.shards->rows) {
    sums.push_back(std::accumulate(first, first + count, 0.0));
    first += count;
  }
  return sums;
}

std::vector<double> Objective::train(ShardStep& step) const {
  Tape& tape = *step.context.tape;
  ParameterGradients* const sets[] = {&step.gradients};
  tape.begin(sets);
  ObjectiveTerms terms = compute(step.context, step.x, step.labels, step.scale);
  tape.backward(terms.loss);
  return std::move(terms.sums);
}

Pass make_pass(Update& update, const Objective& objective, const TrainingData& data,
               const std::string& stage, std::size_t index) {
  Pass pass;
  pass.updates = {&update};
  pass.part = index;
  pass.shard = [&objective, data, stage, index](ShardRun& run) {
    if (run.samples.size() == 0) {
      return;  // a short last batch can leave a shard empty: its gradient is zero
    }
    Context& context = run.context;
    context.batch_share = static_cast<double>(run.samples.size()) / run.batch_images();
    const Network* const behind = data.cached == nullptr ? nullptr : data.cached->behind();
    const Images images =
        behind == nullptr ? load_images(run, data) : load_features(run, *data.cached);
    ShardStep step{context,       *run.gradients[0],        stage, images.x,
                   images.labels, 1.0 / run.batch_images(), index, behind};
    tell(objective.train(step), run);
  };
  return pass;
}

}  // namespace gentrain::trainers
