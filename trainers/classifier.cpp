// The classifier's objective.
#include "trainers/classifier.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "trainers/imported_weights.h"
#include "trainers/pretrained_weights.h"
#include "trainers/training.h"

namespace gentrain::trainers {

std::string class_name(const std::vector<std::string>& names, std::int64_t index) {
  return index < std::ssize(names) ? names[static_cast<std::size_t>(index)]
                                   : fmt::format("class {}", index);
}

std::vector<float> balanced_class_weights(const data::Dataset& dataset) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(dataset.classes()));
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const std::int32_t label = dataset.label(i);
    if (label < 0 || label >= dataset.classes()) {
      throw JobError(fmt::format("class_weight: {}: label {} of sample {}, there are {} classes",
                                 dataset.description(), label, i, dataset.classes()));
    }
    ++counts[static_cast<std::size_t>(label)];
  }
  std::vector<float> weights;
  for (const std::int64_t count : counts) {
    if (count == 0) {
      throw JobError(fmt::format("class_weight auto: {} has no image of {}: set it to none",
                                 dataset.description(),
                                 class_name(dataset.class_names(), std::ssize(weights))));
    }
    weights.push_back(static_cast<float>(static_cast<double>(dataset.size()) /
                                         static_cast<double>(std::ssize(counts) * count)));
  }
  return weights;
}

std::span<const std::string_view> Classifier::names() const {
  static constexpr std::array<std::string_view, 2> kNames = {"loss", "top1"};
  return kNames;
}

void Classifier::prepare(TrainingRun& run) {
  auto* const graph = dynamic_cast<GraphNetwork*>(network_.get());
  if (graph != nullptr) {
    PretrainedWeights weights = is_imported(run.options().model) ? load_imported(run, *graph)
                                                                 : load_pretrained(run, *graph);
    identity_ = std::move(weights.identity);
    notes_ = std::move(weights.notes);
  }
  if (run.options().class_weight == ClassWeight::kNone) {
    return;
  }
  const data::Dataset& train = *run.data().train;
  set_class_weights(balanced_class_weights(train));
  constexpr std::size_t kShown = 10;
  std::string text = "class weights:";
  for (std::size_t i = 0; i < std::min(class_weights_.size(), kShown); ++i) {
    text += fmt::format("{} {} {:.4g}", i == 0 ? "" : ",",
                        class_name(train.class_names(), static_cast<std::int64_t>(i)),
                        class_weights_[i]);
  }
  notes_.push_back(text + (class_weights_.size() > kShown ? ", ..." : ""));
}

Tensor Classifier::row_weights(Context& context, const Tensor& labels) const {
  if (class_weights_.empty()) {
    return {};
  }
  std::vector<float> rows;
  for (const std::int32_t label :
       copy_to_host<std::int32_t>(context.device, context.queue, labels)) {
    rows.push_back(class_weights_.at(static_cast<std::size_t>(label)));
  }
  const Tensor weights = Tensor::empty(context.device, {std::ssize(rows)}, DType::kF32);
  copy_from_host<float>(context.device, context.queue, rows, weights);
  return weights;
}

ObjectiveTerms Classifier::terms(Context& context, const Tensor& logits, const Tensor& labels,
                                 double scale, const Tensor& weights) {
  const ops::CrossEntropy result =
      ops::softmax_cross_entropy(context, logits, labels, scale, weights);
  const std::vector<float> sums = copy_to_host<float>(context.device, context.queue, result.sums);
  return {result.loss, {static_cast<double>(sums[0]), static_cast<double>(sums[1])}};
}

ObjectiveTerms Classifier::compute(Context& context, const Tensor& x, const Tensor& labels,
                                   double scale) const {
  return terms(context, network_->forward(context, x), labels, scale, {});
}

std::vector<double> Classifier::train(ShardStep& step) const {
  Tape& tape = *step.context.tape;
  ParameterGradients* const sets[] = {&step.gradients};
  tape.begin(sets);
  const Tensor weights = row_weights(step.context, step.labels);
  const Network& network = step.behind == nullptr ? *network_ : *step.behind;
  ObjectiveTerms result =
      terms(step.context, network.forward(step.context, step.x), step.labels, step.scale, weights);
  tape.backward(result.loss);
  return std::move(result.sums);
}

void Classifier::forward(Context& context, const Tensor& x) const {
  network_->forward(context, x);
}

}  // namespace gentrain::trainers
