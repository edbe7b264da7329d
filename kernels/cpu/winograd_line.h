// Convolutions with 3, 5 or 7 weights along one axis by Winograd's method along that axis: which of
// them, and the way from a geometry to the vector kernels (kernels/cpu/simd/winograd_line.h).
#pragma once

#include "kernels/conv.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/queue.h"

namespace gentrain::simd {
struct LineCall;
struct LineShape;
struct WinogradLineTable;
}  // namespace gentrain::simd

namespace gentrain::cpu {

struct Packing;

/// The arguments of its routines are those of ConvKernels, checked already.
class WinogradLine {
 public:
  explicit WinogradLine(const Backend& backend);

  /// Of the forward pass of a convolution that it can compute.
  [[nodiscard]] static simd::LineShape shape_of(const ConvGeometry& g);
  /// Of its gradient by data: the convolution of dy with the turned weights.
  [[nodiscard]] static simd::LineShape turned_shape_of(const ConvGeometry& g);

  /// Whether a pass of a convolution is faster here than as oneDNN's direct one. The rule looks at
  /// the geometry alone. Gradients of weights are not among them.
  [[nodiscard]] static bool wins(Operation operation, const ConvGeometry& g);

  void forward(CpuQueue& queue, const ConvGeometry& g, ConstView x, const Weights& w,
               ConstView bias, Activation activation, View y) const;
  void backward_data(CpuQueue& queue, const ConvGeometry& g, ConstView dy, const Weights& w,
                     View dx) const;

 private:
  void convolve(CpuQueue& queue, const simd::LineShape& shape, const Packing& packing,
                simd::LineCall call) const;

  const simd::WinogradLineTable& table_;
  WeightsCache& weights_;
};

}  // namespace gentrain::cpu
