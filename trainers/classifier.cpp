// The classifier's shard: load, normalise, forward, loss, backward.
#include "trainers/classifier.h"

#include "core/ops/ops.h"
#include "trainers/evaluate.h"

namespace gentrain::trainers {

Pass make_classifier_pass(Update& update, const Network& network, data::Loader& loader,
                          const data::Dataset& dataset, const data::Normalization& normalization) {
  Pass pass;
  pass.updates = {&update};
  pass.shard = [&network, &loader, shape = dataset.sample_shape(), normalization](ShardRun& run) {
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
    const auto result = ops::softmax_cross_entropy(context, network.forward(context, x), labels,
                                                   1.0 / run.batch_images());
    tape.backward(result.loss);
    const std::vector<float> sums = copy_to_host<float>(context.device, context.queue, result.sums);
    gradients.statistics()[kLossMean] = sums[0] / static_cast<float>(run.batch_images());
    gradients.statistics()[kCorrect] = sums[1];
  };
  return pass;
}

}  // namespace gentrain::trainers
