// Encoders and decoders.
#include "trainers/models/vae_networks.h"

#include <string>

#include <fmt/format.h>

#include "core/nn/layers.h"
#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

LayerInfo dense_info(const ParameterSet& parameters, const std::string& name, std::int64_t in,
                     std::int64_t out) {
  return {name, {out}, (in + 1) * out, in * out, parameter_names(parameters, name)};
}

class DenseVae final : public VaeNetworks {
 public:
  DenseVae(const VaeOptions& options, const Initializer& init, const Shape& image,
           ParameterSet& parameters)
      : pixels_(image.elements()),
        encoder_hidden_(parameters, "encoder/hidden", pixels_, options.hidden, true, init),
        encoder_latent_(parameters, "encoder/latent", options.hidden, 2 * options.latent, true,
                        init),
        decoder_hidden_(parameters, "decoder/hidden", options.latent, options.hidden, true, init),
        decoder_output_(parameters, "decoder/output", options.hidden, pixels_, true, init) {
    layers_ = {dense_info(parameters, "encoder/hidden", pixels_, options.hidden),
               dense_info(parameters, "encoder/latent", options.hidden, 2 * options.latent),
               dense_info(parameters, "decoder/hidden", options.latent, options.hidden),
               dense_info(parameters, "decoder/output", options.hidden, pixels_)};
  }

  Tensor encode(Context& context, const Tensor& x) const override {
    const Tensor flat = ops::reshape(context, x, {x.shape()[0], pixels_});
    const Tensor hidden =
        encoder_hidden_.forward(context, ops::into_network(context, flat), Activation::kRelu);
    return ops::out_of_network(context,
                               encoder_latent_.forward(context, hidden, Activation::kNone));
  }

  Tensor decode(Context& context, const Tensor& z) const override {
    const Tensor hidden =
        decoder_hidden_.forward(context, ops::into_network(context, z), Activation::kRelu);
    return ops::out_of_network(context,
                               decoder_output_.forward(context, hidden, Activation::kNone));
  }

 private:
  std::int64_t pixels_;
  nn::Linear encoder_hidden_;
  nn::Linear encoder_latent_;
  nn::Linear decoder_hidden_;
  nn::Linear decoder_output_;
};

constexpr std::int64_t kVaeMaps1 = 32;
constexpr std::int64_t kVaeMaps2 = 64;

nn::Conv2dOptions conv_options(std::int64_t in, std::int64_t out, std::int64_t stride,
                               const Initializer& init) {
  return {.in = in,
          .out = out,
          .kernel_h = 3,
          .kernel_w = 3,
          .stride = {stride, stride},
          .padding = {1, 1, 1, 1},
          .bias = true,
          .initializer = init};
}

const Shape& checked_extents(const Shape& image) {
  if (image[0] % 4 != 0 || image[1] % 4 != 0) {
    throw JobError(
        fmt::format("model vae_conv takes images whose height and width are multiples "
                    "of 4, but they are {}",
                    image.str()));
  }
  return image;
}

class ConvVae final : public VaeNetworks {
 public:
  ConvVae(const VaeOptions& options, const Initializer& init, const Shape& image,
          ParameterSet& parameters)
      : image_(checked_extents(image)),
        features_(image[0] / 4 * (image[1] / 4) * kVaeMaps2),
        encoder_conv1_(parameters, "encoder/conv1", conv_options(image[2], kVaeMaps1, 2, init)),
        encoder_conv2_(parameters, "encoder/conv2", conv_options(kVaeMaps1, kVaeMaps2, 2, init)),
        encoder_hidden_(parameters, "encoder/hidden", features_, options.hidden, true, init),
        encoder_latent_(parameters, "encoder/latent", options.hidden, 2 * options.latent, true,
                        init),
        decoder_hidden_(parameters, "decoder/hidden", options.latent, options.hidden, true, init),
        decoder_maps_(parameters, "decoder/maps", options.hidden, features_, true, init),
        decoder_conv1_(parameters, "decoder/conv1",
                       conv_options(kVaeMaps2, 4 * kVaeMaps1, 1, init)),
        decoder_conv2_(parameters, "decoder/conv2",
                       conv_options(kVaeMaps1, 4 * image[2], 1, init)) {
    const std::int64_t h = image[0];
    const std::int64_t w = image[1];
    const auto conv = [&](const std::string& name, const Shape& output, std::int64_t in) {
      const std::int64_t taps = 9 * in;
      layers_.push_back({name, output, (taps + 1) * output[2],
                         output[0] * output[1] * output[2] * taps,
                         parameter_names(parameters, name)});
    };
    const auto dense = [&](const std::string& name, std::int64_t in, std::int64_t out) {
      layers_.push_back(dense_info(parameters, name, in, out));
    };
    conv("encoder/conv1", {h / 2, w / 2, kVaeMaps1}, image[2]);
    conv("encoder/conv2", {h / 4, w / 4, kVaeMaps2}, kVaeMaps1);
    dense("encoder/hidden", features_, options.hidden);
    dense("encoder/latent", options.hidden, 2 * options.latent);
    dense("decoder/hidden", options.latent, options.hidden);
    dense("decoder/maps", options.hidden, features_);
    conv("decoder/conv1", {h / 4, w / 4, 4 * kVaeMaps1}, kVaeMaps2);
    layers_.push_back({"pixel_shuffle", {h / 2, w / 2, kVaeMaps1}, 0, 0, {}});
    conv("decoder/conv2", {h / 2, w / 2, 4 * image[2]}, kVaeMaps1);
    layers_.push_back({"pixel_shuffle", {h, w, image[2]}, 0, 0, {}});
  }

  Tensor encode(Context& context, const Tensor& x) const override {
    Tensor y = encoder_conv1_.forward(context, ops::into_network(context, x), Activation::kRelu);
    y = encoder_conv2_.forward(context, y, Activation::kRelu);
    y = ops::reshape(context, y, {x.shape()[0], features_});
    y = encoder_hidden_.forward(context, y, Activation::kRelu);
    return ops::out_of_network(context, encoder_latent_.forward(context, y, Activation::kNone));
  }

  Tensor decode(Context& context, const Tensor& z) const override {
    const std::int64_t n = z.shape()[0];
    Tensor y = decoder_hidden_.forward(context, ops::into_network(context, z), Activation::kRelu);
    y = decoder_maps_.forward(context, y, Activation::kRelu);
    y = ops::reshape(context, y, {n, image_[0] / 4, image_[1] / 4, kVaeMaps2});
    y = decoder_conv1_.forward(context, y, Activation::kNone);
    y = ops::pixel_shuffle(context, y, 2, Activation::kRelu);
    y = decoder_conv2_.forward(context, y, Activation::kNone);
    y = ops::out_of_network(context, ops::pixel_shuffle(context, y, 2));
    return ops::reshape(context, y, {n, image_.elements()});
  }

 private:
  Shape image_;
  std::int64_t features_;
  nn::Conv2d encoder_conv1_;
  nn::Conv2d encoder_conv2_;
  nn::Linear encoder_hidden_;
  nn::Linear encoder_latent_;
  nn::Linear decoder_hidden_;
  nn::Linear decoder_maps_;
  nn::Conv2d decoder_conv1_;
  nn::Conv2d decoder_conv2_;
};

}  // namespace

std::unique_ptr<VaeNetworks> make_dense_vae(const VaeOptions& options, const Initializer& init,
                                            const Shape& image, ParameterSet& parameters) {
  return std::make_unique<DenseVae>(options, init, image, parameters);
}

std::unique_ptr<VaeNetworks> make_conv_vae(const VaeOptions& options, const Initializer& init,
                                           const Shape& image, ParameterSet& parameters) {
  return std::make_unique<ConvVae>(options, init, image, parameters);
}

}  // namespace gentrain::trainers
