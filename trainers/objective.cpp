// Objectives by model, and the pass of one.
#include "trainers/objective.h"

#include <numeric>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "trainers/classifier.h"
#include "trainers/models/vae.h"
#include "trainers/srgan.h"

namespace gentrain::trainers {

namespace {

Shape batch_shape(std::int64_t samples, const Shape& sample) {
  std::vector<std::int64_t> extents{samples};
  extents.insert(extents.end(), sample.extents().begin(), sample.extents().end());
  return Shape(extents);
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
  const std::vector<double> values = values_of(context, x);
  return std::accumulate(values.begin(), values.end(), 0.0);
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
  pass.shard = [&objective, data, shape = data.dataset.sample_shape(), stage,
                index](ShardRun& run) {
    if (run.samples.size() == 0) {
      return;  // a short last batch can leave a shard empty: its gradient is zero
    }
    Context& context = run.context;
    context.batch_share = static_cast<double>(run.samples.size()) / run.batch_images();
    data.loader.load({run.position.epoch, run.samples.first, run.samples.last}, run.worker.batch);
    const Tensor x = normalized_images(context, run.worker.batch.pixels, run.samples.size(), shape,
                                       data.normalization);
    const Tensor labels = Tensor::empty(context.device, {run.samples.size()}, DType::kI32);
    copy_from_host<std::int32_t>(context.device, context.queue, run.worker.batch.labels, labels);

    comm::ShardGradients& gradients = *run.gradients[0];
    ShardStep step{context, gradients, stage, x, labels, 1.0 / run.batch_images(), index};
    const std::vector<double> sums = objective.train(step);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      gradients.statistics()[i] = static_cast<float>(sums[i]);
    }
    gradients.statistics()[kLossMean] /= static_cast<float>(run.batch_images());
  };
  return pass;
}

}  // namespace gentrain::trainers
