// Losses: checks, then the vector kernels.
#include "kernels/loss.h"

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

class Loss final : public LossKernels {
 public:
  explicit Loss(const Backend& backend) : table_(backend.simd->loss) {}

  void softmax_cross_entropy(Queue& /*queue*/, ConstView logits, ConstView labels,
                             View probabilities, View sums) override {
    const Arguments arguments("softmax cross entropy");
    arguments.require_matrix("logits", logits);
    arguments.require("labels", labels, {logits.shape[0]}, DType::kI32);
    arguments.require("probabilities", probabilities, logits.shape);
    arguments.require("sums", sums, {2});
    table_.softmax_cross_entropy(logits.as<float>(), labels.as<std::int32_t>(), logits.shape[0],
                                 logits.shape[1], probabilities.as<float>(), sums.as<float>());
  }

  void softmax_cross_entropy_backward(Queue& /*queue*/, ConstView probabilities, ConstView labels,
                                      double scale, View dlogits) override {
    const Arguments arguments("softmax cross entropy backward");
    arguments.require_matrix("probabilities", probabilities);
    const Shape& shape = probabilities.shape;
    arguments.require("labels", labels, {shape[0]}, DType::kI32);
    arguments.require("dlogits", dlogits, shape);
    table_.softmax_cross_entropy_backward(probabilities.as<float>(), labels.as<std::int32_t>(),
                                          static_cast<float>(scale), shape[0], shape[1],
                                          dlogits.as<float>());
  }

  void softmax(Queue& /*queue*/, ConstView logits, View probabilities) override {
    const Arguments arguments("softmax");
    arguments.require_matrix("logits", logits);
    arguments.require("probabilities", probabilities, logits.shape);
    table_.softmax(logits.as<float>(), logits.shape[0], logits.shape[1], probabilities.as<float>());
  }

 private:
  const simd::LossTable& table_;
};

}  // namespace

std::unique_ptr<LossKernels> make_loss(const Backend& backend) {
  return std::make_unique<Loss>(backend);
}

}  // namespace gentrain::cpu
