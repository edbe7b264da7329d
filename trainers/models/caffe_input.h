// What networks that were trained in Caffe take: BGR minus means, out of RGB in -1..1.
#pragma once

#include <array>
#include <mutex>
#include <vector>

#include "core/nn/layers.h"

namespace gentrain::trainers {

/// (x + 1) * 127.5 in the order BGR, minus the means 103.939, 116.779, 123.68: a convolution with a
/// 1x1 kernel whose weights are constants, in no model's parameter set. It is not folded into the
/// first layer, whose padding stands for pixels of the mean colour. Thread-safe.
class CaffeInput {
 public:
  CaffeInput();
  /// x, result [n, h, w, 3]. The constants are made when first asked for, of the type of x. Throws
  /// ShapeError for another number of channels.
  Tensor forward(Context& context, const Tensor& x) const;

  /// The convolution's constants: [out, in] and [out].
  static std::array<double, 9> weights();
  static std::array<double, 3> biases();

 private:
  mutable std::once_flag made_;
  mutable ParameterSet constants_;
  std::vector<nn::Conv2d> conv_;  // one
};

}  // namespace gentrain::trainers
