// The two halves of a variational autoencoder, dense or with convolutions.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/context.h"
#include "core/parameters.h"
#include "core/tensor.h"
#include "trainers/models/network.h"
#include "trainers/options.h"

namespace gentrain::trainers {

class VaeNetworks {
 public:
  virtual ~VaeNetworks() = default;
  /// x [n, h, w, c]; result [n, 2 latent]: means, then logarithms of variances.
  virtual Tensor encode(Context& context, const Tensor& x) const = 0;
  /// z [n, latent]; result [n, h w c]: logits of the pixels.
  virtual Tensor decode(Context& context, const Tensor& z) const = 0;
  [[nodiscard]] const std::vector<LayerInfo>& layers() const { return layers_; }

 protected:
  std::vector<LayerInfo> layers_;
};

/// Pixels -> hidden, ReLU -> 2 latent; latent -> hidden, ReLU -> pixels. Parameters:
/// encoder/hidden, encoder/latent, decoder/hidden, decoder/output, each with weight and bias.
std::unique_ptr<VaeNetworks> make_dense_vae(const VaeOptions& options, const Initializer& init,
                                            const Shape& image, ParameterSet& parameters);

/// 3x3 convolutions of 32 and 64 channels, each with stride 2 and ReLU, in front of the dense
/// layers; behind them a third dense layer to h/4 x w/4 x 64, ReLU, and two 3x3 convolutions with a
/// pixel shuffle each. Parameters: encoder/conv1, encoder/conv2, encoder/hidden, encoder/latent,
/// decoder/hidden, decoder/maps, decoder/conv1, decoder/conv2, each with weight and bias.
/// Throws JobError unless height and width are multiples of 4.
std::unique_ptr<VaeNetworks> make_conv_vae(const VaeOptions& options, const Initializer& init,
                                           const Shape& image, ParameterSet& parameters);

}  // namespace gentrain::trainers
