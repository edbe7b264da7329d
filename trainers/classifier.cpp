// The classifier's objective.
#include "trainers/classifier.h"

#include <array>

#include "core/ops/ops.h"

namespace gentrain::trainers {

std::span<const std::string_view> Classifier::names() const {
  static constexpr std::array<std::string_view, 2> kNames = {"loss", "top1"};
  return kNames;
}

ObjectiveTerms Classifier::compute(Context& context, const Tensor& x, const Tensor& labels,
                                   double scale) const {
  const ops::CrossEntropy result =
      ops::softmax_cross_entropy(context, network_->forward(context, x), labels, scale);
  const std::vector<float> sums = copy_to_host<float>(context.device, context.queue, result.sums);
  return {result.loss, {static_cast<double>(sums[0]), static_cast<double>(sums[1])}};
}

void Classifier::forward(Context& context, const Tensor& x) const {
  network_->forward(context, x);
}

}  // namespace gentrain::trainers
