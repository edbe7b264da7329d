// The two networks of SRGAN: a generator that makes an image four times as large, and a
// discriminator that tells its images from photographs.
// Source: Ledig et al. 2017, arXiv:1609.04802.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/nn/layers.h"
#include "core/parameters.h"
#include "trainers/models/network.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// Images become so many times as high and as wide.
inline constexpr std::int64_t kUpscale = 4;

/// A convolution without bias that keeps height and width, or halves both, rounding up.
struct SrganConv {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
};

/// kBook: 3x3 convolution to `width` channels, ReLU; residual blocks of convolution, batch norm,
/// ReLU, convolution, batch norm; convolution and batch norm, to which the first ReLU's result is
/// added; convolution to 4 width, pixel shuffle, ReLU; convolution to width, pixel shuffle, ReLU;
/// convolution to 3. kPaper: PReLU for ReLU, 9x9 kernels first and last, and 4 width channels
/// before the second pixel shuffle too. Parameters are named generator/...
class Generator {
 public:
  /// `parameters` must outlive it. Throws JobError for a width below 4 or not a multiple of 4, or
  /// fewer than 0 blocks.
  Generator(const SrganOptions& options, const Initializer& init, ParameterSet& parameters);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  /// low [n, h, w, 3]; result [n, 4 h, 4 w, 3], about -1..1.
  Tensor forward(Context& context, const Tensor& low) const;
  /// Outside training a pixel of the result is a function of the pixels of `low` at most so many
  /// rows and columns from the one that it lies in.
  [[nodiscard]] std::int64_t reach() const;
  /// Of images of h x w pixels.
  [[nodiscard]] std::vector<LayerInfo> layers(std::int64_t h, std::int64_t w) const;

 private:
  struct Layers;
  std::unique_ptr<Layers> layers_;
};

/// Eight 3x3 convolutions of width, width, 2, 2, 4, 4, 8, 8 times width channels, each second one
/// with stride 2; a leaky ReLU of 0.2 and batch norm behind each, the first without batch norm
/// (kPaper: batch norm before the leaky ReLU); a dense layer of 16 width, leaky ReLU, and one
/// number. Parameters are named discriminator/...
class Discriminator {
 public:
  /// For images of h x w pixels. `parameters` must outlive it.
  Discriminator(const SrganOptions& options, const Initializer& init, std::int64_t h,
                std::int64_t w, ParameterSet& parameters);
  ~Discriminator();
  Discriminator(const Discriminator&) = delete;
  Discriminator& operator=(const Discriminator&) = delete;

  /// images [n, h, w, 3]; result [n, 1]: the higher, the more like a photograph. `uses`: how often
  /// a recording calls this (BatchNormOptions::weight).
  Tensor forward(Context& context, const Tensor& images, int uses) const;
  [[nodiscard]] std::vector<LayerInfo> layers() const;

 private:
  struct Layers;
  std::unique_ptr<Layers> layers_;
};

}  // namespace gentrain::trainers
