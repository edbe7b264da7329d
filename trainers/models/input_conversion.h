// What networks take that were not trained on RGB in -1..1, out of images that are.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "core/nn/layers.h"
#include "trainers/models/preprocessing.h"

namespace gentrain::trainers {

/// A preprocessing as an affine map of each pixel: a convolution with a 1x1 kernel whose weights
/// are constants, in no model's parameter set. It is not folded into the first layer, whose padding
/// stands for pixels of the mean colour. Thread-safe.
class InputConversion {
 public:
  /// channels 3, or 1 with kNone and kInception. Throws JobError for other images.
  InputConversion(Preprocessing preprocessing, std::int64_t channels);
  /// x, result [n, h, w, channels]; x in -1..1, RGB. With kInception x itself; kNone (x + 1) *
  /// 127.5; kCaffe and kTorch as Preprocessing has them. The constants are made when first asked
  /// for, of the type of x. Throws ShapeError for another number of channels.
  Tensor forward(Context& context, const Tensor& x) const;

  /// Whether the result is another tensor than x.
  [[nodiscard]] bool changes() const { return !conv_.empty(); }
  [[nodiscard]] std::int64_t channels() const { return channels_; }
  /// Constants of the convolution, if it changes anything: [out, in], row-major, and [out].
  struct Constants {
    std::vector<double> weights;
    std::vector<double> biases;
  };
  [[nodiscard]] Constants constants() const;

 private:
  Preprocessing preprocessing_;
  std::int64_t channels_;
  mutable std::once_flag made_;
  mutable ParameterSet constants_;
  std::vector<nn::Conv2d> conv_;  // one, or none with kInception
};

}  // namespace gentrain::trainers
