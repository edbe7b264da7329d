// The contract for convolutions: two-dimensional cross-correlation over NHWC images.
//
// Determinism, for every routine here: the result is a function of the arguments' values and
// shapes, the device kind and its instruction set; never of the queue, the thread or earlier calls.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/view.h"

namespace gentrain {

class Queue;

/// Extents of a convolution. Result extents: oh() = floor((h + top + bottom - covered_h()) /
/// stride_h) + 1, ow() likewise.
///
/// With groups, result channel k is a sum over the input channels of its own group alone: those
/// from k / (oc / groups) * (c / groups) on, c / groups of them. With dilation, neighbouring rows
/// or columns of the kernel lie on pixels so far apart.
struct ConvGeometry {
  std::int64_t n = 0, h = 0, w = 0, c = 0;  // images
  std::int64_t oc = 0, kh = 0, kw = 0;      // weights [oc, kh, kw, c / groups]
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;  // zero padding, pixels
  std::int64_t groups = 1;                                // divides c and oc
  std::int64_t dilation_h = 1, dilation_w = 1;

  /// Pixels from the kernel's first row or column to its last.
  [[nodiscard]] std::int64_t covered_h() const { return (kh - 1) * dilation_h + 1; }
  [[nodiscard]] std::int64_t covered_w() const { return (kw - 1) * dilation_w + 1; }
  [[nodiscard]] std::int64_t oh() const { return (h + top + bottom - covered_h()) / stride_h + 1; }
  [[nodiscard]] std::int64_t ow() const { return (w + left + right - covered_w()) / stride_w + 1; }
  /// Whether there is one group and no dilation.
  [[nodiscard]] bool plain() const { return groups == 1 && dilation_h == 1 && dilation_w == 1; }
  [[nodiscard]] Shape x_shape() const { return {n, h, w, c}; }
  [[nodiscard]] Shape w_shape() const { return {oc, kh, kw, c / groups}; }
  [[nodiscard]] Shape y_shape() const { return {n, oh(), ow(), oc}; }
  /// Of the result behind 2x2 max pooling with stride 2; extents are rounded down.
  [[nodiscard]] Shape pooled_shape() const { return {n, oh() / 2, ow() / 2, oc}; }
  friend bool operator==(const ConvGeometry&, const ConvGeometry&) = default;
};

/// Throws ShapeError if an extent, a stride, a dilation, the groups or a result extent is below 1,
/// a padding below 0, one of them above Shape::kMaxElements, or the groups do not divide the
/// channels of images and results.
void check(const ConvGeometry& geometry);

/// The results of a convolution fused with the max pooling behind it.
struct PooledViews {
  View y;
  View argmax;
};

/// f32 on every backend, f64 on the reference backend, bf16 on the CPU as struct Bf16 says. Every
/// routine throws ShapeError if check() does, or a view is missing or has another shape or type
/// than is stated here; the pool_ routines also where fuses_max_pool() is false.
///
/// Source: Dumoulin and Visin 2016, arXiv:1603.07285.
class ConvKernels {
 public:
  virtual ~ConvKernels() = default;

  /// y [n, oh, ow, oc] = activation(x [n, h, w, c] * w [oc, kh, kw, c / groups] + bias [oc]);
  /// bias may be absent.
  virtual void forward(Queue& queue, const ConvGeometry& geometry, ConstView x, const Weights& w,
                       ConstView bias, Activation activation, View y) = 0;

  /// dx [n, h, w, c] from dy [n, oh, ow, oc]: the transposed convolution.
  virtual void backward_data(Queue& queue, const ConvGeometry& geometry, ConstView dy,
                             const Weights& w, View dx) = 0;

  /// dw [oc, kh, kw, c / groups] and, where present, dbias [oc]: sums over n, oh, ow in a fixed
  /// order.
  virtual void backward_weights(Queue& queue, const ConvGeometry& geometry, ConstView x,
                                ConstView dy, View dw, View dbias) = 0;

  /// Whether the three routines below take this geometry. They fuse a convolution with the 2x2,
  /// stride 2 max pooling behind it, so that the convolution's own result is never stored.
  [[nodiscard]] virtual bool fuses_max_pool(const ConvGeometry& geometry) const = 0;

  /// result.y [n, oh/2, ow/2, oc] = activation(maxpool2x2(x * w + bias)), extents rounded down;
  /// result.argmax, u8, same shape: 2 * row + column of the first largest value in its window. In a
  /// window with NaN both are those of the first NaN.
  virtual void pool_forward(Queue& queue, const ConvGeometry& geometry, ConstView x,
                            const Weights& w, ConstView bias, Activation activation,
                            PooledViews result) = 0;

  /// dx from dp [n, oh/2, ow/2, oc], the gradient at the pooled values (before the activation).
  virtual void pool_backward_data(Queue& queue, const ConvGeometry& geometry, ConstView dp,
                                  ConstView argmax, const Weights& w, View dx) = 0;

  /// dw and, where present, dbias from dp and argmax; sums over n, then positions, in a fixed
  /// order.
  virtual void pool_backward_weights(Queue& queue, const ConvGeometry& geometry, ConstView x,
                                     ConstView dp, ConstView argmax, View dw, View dbias) = 0;
};

}  // namespace gentrain
