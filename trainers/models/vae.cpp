// The variational autoencoder.
#include "trainers/models/vae.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

constexpr std::uint64_t kNoise = 0x4E4F4953;  // its place among the random tensors of a step

/// What a job's reader has checked already; a model file's description has nobody else.
const VaeOptions& checked_latent(const VaeOptions& options) {
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

}  // namespace

Vae::Vae(const VaeOptions& options, const InitOptions& init, const Shape& image,
         ParameterSet& parameters, VaeKind kind)
    : image_(image),
      pixels_(image.elements()),
      latent_(checked_latent(options).latent),
      kind_(kind),
      networks_((kind == VaeKind::kConvolutional ? make_conv_vae : make_dense_vae)(
          options, {init.name, init.stddev}, image, parameters)) {}

std::span<const std::string_view> Vae::names() const {
  static constexpr std::array<std::string_view, 3> kNames = {"loss", "reconstruction",
                                                             "divergence"};
  return kNames;
}

ObjectiveTerms Vae::compute(Context& context, const Tensor& x, const Tensor& /*labels*/,
                            double scale) const {
  return compute_with_noise(
      context, x, ops::normal(context, {x.shape()[0], latent_}, kNoise, x.dtype()), scale);
}

ObjectiveTerms Vae::compute_with_noise(Context& context, const Tensor& x, const Tensor& noise,
                                       double scale) const {
  const std::int64_t images = x.shape()[0];
  const ops::GaussianSample sample =
      ops::gaussian_sample(context, networks_->encode(context, x), noise, scale);
  const ops::SigmoidCrossEntropy reconstruction =
      ops::sigmoid_cross_entropy(context, networks_->decode(context, sample.z),
                                 ops::reshape(context, x, {images, pixels_}), scale);
  const std::vector<double> pixels = sums_of_shards(context, reconstruction.rows);
  const std::vector<double> divergence = sums_of_shards(context, sample.rows);
  ObjectiveTerms terms{reconstruction.loss, {}};
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    terms.sums.insert(terms.sums.end(), {pixels[i] + divergence[i], pixels[i], divergence[i]});
  }
  return terms;
}

std::int64_t Vae::images_side_by_side() const {
  // What all of its ops know. More images than these gain nothing and leave the cache.
  constexpr std::int64_t kImages = 256;
  return kind_ == VaeKind::kDense ? kImages : 0;
}

void Vae::forward(Context& context, const Tensor& x) const {
  const Tensor noise = ops::normal(context, {x.shape()[0], latent_}, kNoise);
  networks_->decode(context,
                    ops::gaussian_sample(context, networks_->encode(context, x), noise, 0).z);
}

Tensor Vae::images_of_latent(Context& context, const Tensor& z) const {
  const Tensor pixels = ops::activate(context, networks_->decode(context, z), Activation::kSigmoid);
  return ops::reshape(context, pixels, {z.shape()[0], image_[0], image_[1], image_[2]});
}

Tensor Vae::sample(Context& context, std::int64_t count) const {
  return images_of_latent(context, ops::normal(context, {count, latent_}, kNoise));
}

namespace {

/// log((exp(x[0]) + exp(x[1]) + ...) / count)
double log_mean_exp(const std::vector<double>& x) {
  const double largest = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const double value : x) {
    sum += std::exp(value - largest);
  }
  return largest + std::log(sum / static_cast<double>(x.size()));
}

/// Of each image: log p(z) - log q(z | x). `latent` [n, 2 k], `noise` and `z` [n, k].
std::vector<double> log_ratios(const std::vector<double>& latent, const std::vector<double>& noise,
                               const std::vector<double>& z, std::size_t k) {
  std::vector<double> ratios(z.size() / k);
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    double twice = 0;
    for (std::size_t j = 0; j < k; ++j) {
      const double log_variance = latent[i * 2 * k + k + j];
      twice += noise[i * k + j] * noise[i * k + j] + log_variance - z[i * k + j] * z[i * k + j];
    }
    ratios[i] = twice / 2;
  }
  return ratios;
}

}  // namespace

double Vae::log_likelihood(Context& context, const Tensor& x, std::int64_t samples) const {
  const std::int64_t images = x.shape()[0];
  const Tensor targets = ops::reshape(context, x, {images, pixels_});
  const Tensor latent = networks_->encode(context, x);
  const std::vector<double> encoded = values_of(context, latent);
  std::vector<std::vector<double>> weights(static_cast<std::size_t>(images));
  const RngKey key = context.key;
  for (std::int64_t s = 0; s < samples; ++s) {
    context.key = key.fold(static_cast<std::uint64_t>(s));
    const Tensor noise = ops::normal(context, {images, latent_}, kNoise, x.dtype());
    const Tensor z = ops::gaussian_sample(context, latent, noise, 0).z;
    const std::vector<double> losses = values_of(
        context,
        ops::sigmoid_cross_entropy(context, networks_->decode(context, z), targets, 0).rows);
    const std::vector<double> ratios =
        log_ratios(encoded, values_of(context, noise), values_of(context, z),
                   static_cast<std::size_t>(latent_));
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i].push_back(ratios[i] - losses[i]);
    }
  }
  context.key = key;
  return std::accumulate(
      weights.begin(), weights.end(), 0.0,
      [](double sum, const std::vector<double>& one) { return sum + log_mean_exp(one); });
}

namespace {

/// The means of what encode() gives [n, 2 k].
std::vector<double> means_of(const std::vector<double>& latent, std::size_t k) {
  std::vector<double> means;
  for (std::size_t at = 0; at < latent.size(); at += 2 * k) {
    means.insert(means.end(), latent.begin() + static_cast<std::ptrdiff_t>(at),
                 latent.begin() + static_cast<std::ptrdiff_t>(at + k));
  }
  return means;
}

Tensor from_doubles(Context& context, const std::vector<double>& values, const Shape& shape) {
  Tensor tensor = Tensor::empty(context.device, shape);
  copy_from_host<float>(context.device, context.queue,
                        std::vector<float>(values.begin(), values.end()), tensor);
  return tensor;
}

/// Pairs of neighbouring samples with different labels, or any where there are none.
std::vector<std::int64_t> ends_of_lines(const data::Dataset& dataset, std::size_t lines) {
  std::vector<std::int64_t> ends;
  for (std::int64_t i = 0; i + 1 < dataset.size() && ends.size() < 2 * lines; ++i) {
    const std::int32_t label = dataset.label(i);
    if (label < 0 || label != dataset.label(i + 1)) {
      ends.insert(ends.end(), {i, i + 1});
      ++i;
    }
  }
  return ends;
}

}  // namespace

Picture Vae::reconstructions(const PictureSource& source) const {
  constexpr std::int64_t kAcross = 10;
  constexpr std::int64_t kRows = 3;
  Context& context = source.context;
  const std::int64_t across = std::clamp<std::int64_t>(source.test.size(), 1, kAcross);
  const std::int64_t shown = std::min(kRows, source.test.size() / across) * across;  // whole rows
  std::vector<std::int64_t> indices(static_cast<std::size_t>(shown));
  std::iota(indices.begin(), indices.end(), std::int64_t{0});
  const Tensor x = read_images(context, source.test, source.normalization, indices);
  const auto k = static_cast<std::size_t>(latent_);
  const std::vector<double> means = means_of(values_of(context, networks_->encode(context, x)), k);
  const std::vector<image::Image> originals = images_of(context, x);
  const std::vector<image::Image> copies = images_of(
      context, images_of_latent(context, from_doubles(context, means, {x.shape()[0], latent_})));
  std::vector<image::Image> rows;
  for (std::int64_t first = 0; first < shown; first += across) {
    rows.insert(rows.end(), originals.begin() + first, originals.begin() + first + across);
    rows.insert(rows.end(), copies.begin() + first, copies.begin() + first + across);
  }
  return {"reconstructions", sheet(rows, across)};
}

Picture Vae::line(const PictureSource& source) const {
  constexpr std::size_t kPoints = 10;
  constexpr std::size_t kLines = 5;
  Context& context = source.context;
  const std::vector<std::int64_t> ends = ends_of_lines(source.test, kLines);
  if (ends.empty()) {
    return {};
  }
  const Tensor x = read_images(context, source.test, source.normalization, ends);
  const auto k = static_cast<std::size_t>(latent_);
  const std::vector<double> means = means_of(values_of(context, networks_->encode(context, x)), k);
  std::vector<double> points;
  for (std::size_t from = 0; from < means.size(); from += 2 * k) {
    for (std::size_t p = 0; p < kPoints; ++p) {
      const double t = static_cast<double>(p) / (kPoints - 1);
      for (std::size_t j = from; j < from + k; ++j) {
        points.push_back((1 - t) * means[j] + t * means[j + k]);
      }
    }
  }
  const auto count = static_cast<std::int64_t>(points.size() / k);
  const Tensor z = from_doubles(context, points, {count, latent_});
  return {"line", sheet(images_of(context, images_of_latent(context, z)), kPoints)};
}

std::vector<Picture> Vae::pictures(const PictureSource& source) const {
  constexpr std::int64_t kSamples = 16;
  Picture samples{"samples", sheet(images_of(source.context, sample(source.context, kSamples)), 4)};
  std::vector<Picture> pictures{std::move(samples), reconstructions(source)};
  if (Picture between = line(source); !between.name.empty()) {
    pictures.push_back(std::move(between));
  }
  return pictures;
}

}  // namespace gentrain::trainers
