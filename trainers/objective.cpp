// Objectives by model, and the pass of one.
#include "trainers/objective.h"

#include "core/ops/ops.h"
#include "trainers/classifier.h"
#include "trainers/models/vae.h"

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
    return std::make_unique<Vae>(model.vae, init, image, parameters);
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

Pass make_pass(Update& update, const Objective& objective, data::Loader& loader,
               const data::Dataset& dataset, const data::Normalization& normalization) {
  Pass pass;
  pass.updates = {&update};
  pass.shard = [&objective, &loader, shape = dataset.sample_shape(), normalization](ShardRun& run) {
    if (run.samples.size() == 0) {
      return;  // a short last batch can leave a shard empty: its gradient is zero
    }
    Context& context = run.context;
    Tape& tape = run.worker.tape;
    loader.load({run.position.epoch, run.samples.first, run.samples.last}, run.worker.batch);
    const Tensor x = normalized_images(context, run.worker.batch.pixels, run.samples.size(), shape,
                                       normalization);
    const Tensor labels = Tensor::empty(context.device, {run.samples.size()}, DType::kI32);
    copy_from_host<std::int32_t>(context.device, context.queue, run.worker.batch.labels, labels);

    comm::ShardGradients& gradients = *run.gradients[0];
    ParameterGradients* const sets[] = {&gradients};
    tape.begin(sets);
    const ObjectiveTerms terms = objective.compute(context, x, labels, 1.0 / run.batch_images());
    tape.backward(terms.loss);
    for (std::size_t i = 0; i < terms.sums.size(); ++i) {
      gradients.statistics()[i] = static_cast<float>(terms.sums[i]);
    }
    gradients.statistics()[kLossMean] /= static_cast<float>(run.batch_images());
  };
  return pass;
}

}  // namespace gentrain::trainers
