// LeNet-5 as BigDL has it.
#include <fmt/format.h>

#include "core/nn/layers.h"
#include "kernels/error.h"
#include "trainers/models/network.h"

namespace gentrain::trainers {

namespace {

constexpr std::int64_t kKernel = 5;
constexpr std::int64_t kMaps1 = 6;
constexpr std::int64_t kMaps2 = 12;
constexpr std::int64_t kHidden = 100;

std::int64_t after_block(std::int64_t extent) {
  return (extent - kKernel + 1) / 2;
}

class Lenet final : public Network {
 public:
  Lenet(const Initializer& init, const Shape& image, std::int64_t outputs, ParameterSet& parameters)
      : features_(after_block(after_block(image[0])) * after_block(after_block(image[1])) * kMaps2),
        conv1_(parameters, "conv1", conv(image[2], kMaps1, init)),
        conv2_(parameters, "conv2", conv(kMaps1, kMaps2, init)),
        fc1_(parameters, "fc1", features_, kHidden, true, init),
        fc2_(parameters, "fc2", kHidden, outputs, true, init) {
    const std::int64_t h1 = image[0] - kKernel + 1;
    const std::int64_t w1 = image[1] - kKernel + 1;
    const std::int64_t h2 = h1 / 2 - kKernel + 1;
    const std::int64_t w2 = w1 / 2 - kKernel + 1;
    const std::int64_t taps1 = kKernel * kKernel * image[2];
    const std::int64_t taps2 = kKernel * kKernel * kMaps1;
    const auto add = [&](const std::string& name, const Shape& output, std::int64_t weights,
                         std::int64_t products) {
      layers_.push_back({name, output, weights, products, parameter_names(parameters, name)});
    };
    add("conv1", {h1, w1, kMaps1}, (taps1 + 1) * kMaps1, h1 * w1 * kMaps1 * taps1);
    add("tanh, max_pool, tanh", {h1 / 2, w1 / 2, kMaps1}, 0, 0);
    add("conv2", {h2, w2, kMaps2}, (taps2 + 1) * kMaps2, h2 * w2 * kMaps2 * taps2);
    add("max_pool", {h2 / 2, w2 / 2, kMaps2}, 0, 0);
    add("fc1", {kHidden}, (features_ + 1) * kHidden, features_ * kHidden);
    add("tanh", {kHidden}, 0, 0);
    add("fc2", {outputs}, (kHidden + 1) * outputs, kHidden * outputs);
  }

  Tensor forward(Context& context, const Tensor& x) const override {
    Tensor y = conv1_.forward_max_pool(context, ops::into_network(context, x), Activation::kTanh);
    y = ops::activate(context, y, Activation::kTanh);
    y = conv2_.forward_max_pool(context, y, Activation::kNone);
    y = ops::reshape(context, y, {x.shape()[0], features_});
    y = fc1_.forward(context, y, Activation::kTanh);
    return ops::out_of_network(context, fc2_.forward(context, y, Activation::kNone));
  }

 private:
  static nn::Conv2dOptions conv(std::int64_t in, std::int64_t out, const Initializer& init) {
    return {.in = in,
            .out = out,
            .kernel_h = kKernel,
            .kernel_w = kKernel,
            .stride = {},
            .padding = {},
            .bias = true,
            .initializer = init};
  }

  std::int64_t features_;
  nn::Conv2d conv1_;
  nn::Conv2d conv2_;
  nn::Linear fc1_;
  nn::Linear fc2_;
};

}  // namespace

std::unique_ptr<Network> make_lenet(const InitOptions& init, const Shape& image,
                                    std::int64_t outputs, ParameterSet& parameters) {
  constexpr std::int64_t kSmallest = 16;
  if (image.rank() != 3 || image[0] < kSmallest || image[1] < kSmallest) {
    throw JobError(
        fmt::format("lenet takes images [h, w, c] of at least {}x{} pixels but the data has {}",
                    kSmallest, kSmallest, image.str()));
  }
  return std::make_unique<Lenet>(Initializer{init.name, init.stddev}, image, outputs, parameters);
}

}  // namespace gentrain::trainers
