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
                             ConstView weights, View probabilities, View sums) override {
    const Arguments arguments("softmax cross entropy");
    arguments.require_matrix("logits", logits);
    arguments.require("labels", labels, {logits.shape[0]}, DType::kI32);
    arguments.require_if_present("weights", weights, {logits.shape[0]});
    arguments.require("probabilities", probabilities, logits.shape);
    arguments.require("sums", sums, {2});
    table_.softmax_cross_entropy(logits.as<float>(), labels.as<std::int32_t>(), weights.as<float>(),
                                 logits.shape[0], logits.shape[1], probabilities.as<float>(),
                                 sums.as<float>());
  }

  void softmax_cross_entropy_backward(Queue& /*queue*/, ConstView probabilities, ConstView labels,
                                      ConstView weights, double scale, View dlogits) override {
    const Arguments arguments("softmax cross entropy backward");
    arguments.require_matrix("probabilities", probabilities);
    const Shape& shape = probabilities.shape;
    arguments.require("labels", labels, {shape[0]}, DType::kI32);
    arguments.require_if_present("weights", weights, {shape[0]});
    arguments.require("dlogits", dlogits, shape);
    table_.softmax_cross_entropy_backward(probabilities.as<float>(), labels.as<std::int32_t>(),
                                          weights.as<float>(), static_cast<float>(scale), shape[0],
                                          shape[1], dlogits.as<float>());
  }

  void softmax(Queue& /*queue*/, ConstView logits, View probabilities) override {
    const Arguments arguments("softmax");
    arguments.require_matrix("logits", logits);
    arguments.require("probabilities", probabilities, logits.shape);
    table_.softmax(logits.as<float>(), logits.shape[0], logits.shape[1], probabilities.as<float>());
  }

  void sigmoid_cross_entropy(Queue& /*queue*/, ConstView logits, ConstView targets,
                             View losses) override {
    const Arguments arguments("sigmoid cross entropy");
    arguments.require_matrix("logits", logits);
    arguments.require("targets", targets, logits.shape);
    arguments.require("losses", losses, {logits.shape[0]});
    table_.sigmoid_cross_entropy(logits.as<float>(), targets.as<float>(), logits.shape[0],
                                 logits.shape[1], losses.as<float>());
  }

  void sigmoid_cross_entropy_backward(Queue& /*queue*/, ConstView logits, ConstView targets,
                                      double scale, View dlogits) override {
    const Arguments arguments("sigmoid cross entropy backward");
    arguments.require_matrix("logits", logits);
    arguments.require("targets", targets, logits.shape);
    arguments.require("dlogits", dlogits, logits.shape);
    table_.sigmoid_cross_entropy_backward(logits.as<float>(), targets.as<float>(),
                                          static_cast<float>(scale), logits.elements(),
                                          dlogits.as<float>());
  }

  void squared_error(Queue& /*queue*/, ConstView x, ConstView target, View losses) override {
    const Arguments arguments("squared error");
    arguments.require_matrix("x", x);
    arguments.require("target", target, x.shape);
    arguments.require("losses", losses, {x.shape[0]});
    table_.squared_error(x.as<float>(), target.as<float>(), x.shape[0], x.shape[1],
                         losses.as<float>());
  }

  void squared_error_backward(Queue& /*queue*/, ConstView x, ConstView target, double scale,
                              View dx) override {
    const Arguments arguments("squared error backward");
    arguments.require_matrix("x", x);
    arguments.require("target", target, x.shape);
    arguments.require("dx", dx, x.shape);
    table_.squared_error_backward(x.as<float>(), target.as<float>(), static_cast<float>(scale),
                                  x.elements(), dx.as<float>());
  }

  void gaussian_sample(Queue& /*queue*/, ConstView latent, ConstView noise, View z,
                       View divergence) override {
    const Arguments arguments("gaussian sample");
    const Shape& shape = noise.shape;
    arguments.require_matrix("noise", noise);
    arguments.require("latent", latent, {shape[0], 2 * shape[1]});
    arguments.require("z", z, shape);
    arguments.require("divergence", divergence, {shape[0]});
    table_.gaussian_sample(latent.as<float>(), noise.as<float>(), shape[0], shape[1], z.as<float>(),
                           divergence.as<float>());
  }

  void gaussian_sample_backward(Queue& /*queue*/, ConstView latent, ConstView noise, ConstView dz,
                                double scale, View dlatent) override {
    const Arguments arguments("gaussian sample backward");
    const Shape& shape = noise.shape;
    arguments.require_matrix("noise", noise);
    arguments.require("latent", latent, {shape[0], 2 * shape[1]});
    arguments.require("dz", dz, shape);
    arguments.require("dlatent", dlatent, {shape[0], 2 * shape[1]});
    table_.gaussian_sample_backward(latent.as<float>(), noise.as<float>(), dz.as<float>(),
                                    static_cast<float>(scale), shape[0], shape[1],
                                    dlatent.as<float>());
  }

 private:
  const simd::LossTable& table_;
};

}  // namespace

std::unique_ptr<LossKernels> make_loss(const Backend& backend) {
  return std::make_unique<Loss>(backend);
}

}  // namespace gentrain::cpu
