// Convolutions as matrix products of windows: which of them, and the way from a geometry to the
// vector kernels (kernels/cpu/simd/conv_columns.h).
#pragma once

#include "kernels/conv.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/queue.h"

namespace gentrain::simd {
struct ConvColumnsShape;
struct ConvColumnsTable;
struct GemmTable;
}  // namespace gentrain::simd

namespace gentrain::cpu {

/// The arguments of its routines are those of ConvKernels, checked already.
class ConvColumns {
 public:
  explicit ConvColumns(const Backend& backend);

  [[nodiscard]] static simd::ConvColumnsShape shape_of(const ConvGeometry& g);

  /// Whether a pass of a convolution is faster here than as oneDNN's direct one. The rule looks at
  /// the geometry alone.
  [[nodiscard]] static bool wins(Operation operation, const ConvGeometry& g);

  void forward(CpuQueue& queue, const ConvGeometry& g, ConstView x, const Weights& w,
               ConstView bias, Activation activation, View y) const;
  void backward_data(CpuQueue& queue, const ConvGeometry& g, ConstView dy, const Weights& w,
                     View dx) const;
  void backward_weights(CpuQueue& queue, const ConvGeometry& g, ConstView x, ConstView dy, View dw,
                        View dbias) const;

 private:
  const simd::ConvColumnsTable& table_;
  const simd::GemmTable& gemm_;
  WeightsCache& weights_;
};

}  // namespace gentrain::cpu
