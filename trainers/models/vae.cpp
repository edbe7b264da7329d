// The variational autoencoder.
#include "trainers/models/vae.h"

#include <array>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

constexpr std::uint64_t kNoise = 0x4E4F4953;  // its place among the random tensors of a step

/// What a job's reader has checked already; a model file's description has nobody else.
const VaeOptions& checked(const VaeOptions& options) {
  constexpr std::int64_t kMost = 10'000'000;
  for (const auto& [name, extent] :
       {std::pair("latent", options.latent), std::pair("hidden", options.hidden)}) {
    if (extent < 1 || extent > kMost) {
      throw JobError(fmt::format("model vae: {} is {} but must be at least 1 and at most {}", name,
                                 extent, kMost));
    }
  }
  return options;
}

double sum_of(Context& context, const Tensor& rows) {
  const auto sum = [](const auto& values) {
    return std::accumulate(values.begin(), values.end(), 0.0);
  };
  return rows.dtype() == DType::kF64
             ? sum(copy_to_host<double>(context.device, context.queue, rows))
             : sum(copy_to_host<float>(context.device, context.queue, rows));
}

}  // namespace

Vae::Vae(const VaeOptions& options, const InitOptions& init, const Shape& image,
         ParameterSet& parameters)
    : pixels_(image.elements()),
      latent_(checked(options).latent),
      encoder_hidden_(parameters, "encoder/hidden", pixels_, options.hidden, true,
                      {init.name, init.stddev}),
      encoder_latent_(parameters, "encoder/latent", options.hidden, 2 * latent_, true,
                      {init.name, init.stddev}),
      decoder_hidden_(parameters, "decoder/hidden", latent_, options.hidden, true,
                      {init.name, init.stddev}),
      decoder_output_(parameters, "decoder/output", options.hidden, pixels_, true,
                      {init.name, init.stddev}) {
  const auto add = [&](const char* name, std::int64_t in, std::int64_t out) {
    layers_.push_back({name, {out}, (in + 1) * out, in * out, parameter_names(parameters, name)});
  };
  add("encoder/hidden", pixels_, options.hidden);
  add("encoder/latent", options.hidden, 2 * latent_);
  add("decoder/hidden", latent_, options.hidden);
  add("decoder/output", options.hidden, pixels_);
}

std::span<const std::string_view> Vae::names() const {
  static constexpr std::array<std::string_view, 3> kNames = {"loss", "reconstruction",
                                                             "divergence"};
  return kNames;
}

Tensor Vae::encode(Context& context, const Tensor& x) const {
  const Tensor flat = ops::reshape(context, x, {x.shape()[0], pixels_});
  const Tensor hidden = encoder_hidden_.forward(context, flat, Activation::kRelu);
  return encoder_latent_.forward(context, hidden, Activation::kNone);
}

Tensor Vae::decode(Context& context, const Tensor& z) const {
  const Tensor hidden = decoder_hidden_.forward(context, z, Activation::kRelu);
  return decoder_output_.forward(context, hidden, Activation::kNone);
}

ObjectiveTerms Vae::compute(Context& context, const Tensor& x, const Tensor& /*labels*/,
                            double scale) const {
  const std::int64_t images = x.shape()[0];
  const Tensor noise = ops::normal(context, {images, latent_}, kNoise, x.dtype());
  const ops::GaussianSample sample =
      ops::gaussian_sample(context, encode(context, x), noise, scale);
  const ops::SigmoidCrossEntropy reconstruction = ops::sigmoid_cross_entropy(
      context, decode(context, sample.z), ops::reshape(context, x, {images, pixels_}), scale);
  const double pixels = sum_of(context, reconstruction.rows);
  const double divergence = sum_of(context, sample.rows);
  return {reconstruction.loss, {pixels + divergence, pixels, divergence}};
}

void Vae::forward(Context& context, const Tensor& x) const {
  const Tensor noise = ops::normal(context, {x.shape()[0], latent_}, kNoise);
  decode(context, ops::gaussian_sample(context, encode(context, x), noise, 0).z);
}

}  // namespace gentrain::trainers
