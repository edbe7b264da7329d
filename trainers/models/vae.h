// A variational autoencoder: images x -> a normal distribution of `latent` numbers z -> logits of
// x. The loss is the negative evidence lower bound (ELBO) with one sample of z: sigmoid cross
// entropy of the pixels, summed, plus the divergence of z's distribution from N(0, I).
// Source: Kingma and Welling 2014, arXiv:1312.6114.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "trainers/models/vae_networks.h"
#include "trainers/objective.h"

namespace gentrain::trainers {

enum class VaeKind : std::uint8_t { kDense, kConvolutional };

class Vae final : public Objective {
 public:
  /// image [h, w, c]; its values must lie in 0..1. Parameters as VaeNetworks has them.
  /// Throws JobError for extents below 1 or above 10,000,000, and as make_conv_vae.
  Vae(const VaeOptions& options, const InitOptions& init, const Shape& image,
      ParameterSet& parameters, VaeKind kind = VaeKind::kDense);

  /// "loss", "reconstruction" and "divergence", nats.
  [[nodiscard]] std::span<const std::string_view> names() const override;
  /// The noise is a function of the context's key and of the image's place in x.
  ObjectiveTerms compute(Context& context, const Tensor& x, const Tensor& labels,
                         double scale) const override;
  /// compute() with this noise, [images, latent].
  ObjectiveTerms compute_with_noise(Context& context, const Tensor& x, const Tensor& noise,
                                    double scale) const;
  void forward(Context& context, const Tensor& x) const override;
  [[nodiscard]] std::int64_t images_side_by_side() const override;
  [[nodiscard]] bool draws() const override { return true; }
  Tensor sample(Context& context, std::int64_t count) const override;
  double log_likelihood(Context& context, const Tensor& x, std::int64_t samples) const override;
  /// samples: 4 x 4 of the same noise each time. reconstructions: rows of test images, each above
  /// what comes back of them from the means of z. line: in each row ten images whose z lies on the
  /// line between the means of two test images, of two classes where there are labels.
  std::vector<Picture> pictures(const PictureSource& source) const override;
  [[nodiscard]] const std::vector<LayerInfo>& layers() const override {
    return networks_->layers();
  }
  [[nodiscard]] const VaeNetworks& networks() const { return *networks_; }

 private:
  /// Pixels in 0..1 of z [n, latent]: [n, h, w, c].
  Tensor images_of_latent(Context& context, const Tensor& z) const;
  [[nodiscard]] Picture reconstructions(const PictureSource& source) const;
  [[nodiscard]] Picture line(const PictureSource& source) const;

  Shape image_;
  std::int64_t pixels_;
  std::int64_t latent_;
  VaeKind kind_;
  std::unique_ptr<VaeNetworks> networks_;
};

}  // namespace gentrain::trainers
