// The contract for pooling over NHWC images. Determinism: as in conv.h.
#pragma once

#include <cstdint>

#include "kernels/view.h"

namespace gentrain {

class Queue;

/// Extents of a pooling. Result extents as for a convolution; windows are cut at the border,
/// padding never counts.
struct PoolGeometry {
  std::int64_t n = 0, h = 0, w = 0, c = 0;
  std::int64_t kh = 0, kw = 0;
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;

  [[nodiscard]] std::int64_t oh() const { return (h + top + bottom - kh) / stride_h + 1; }
  [[nodiscard]] std::int64_t ow() const { return (w + left + right - kw) / stride_w + 1; }
  [[nodiscard]] Shape x_shape() const { return {n, h, w, c}; }
  [[nodiscard]] Shape y_shape() const { return {n, oh(), ow(), c}; }
  friend bool operator==(const PoolGeometry&, const PoolGeometry&) = default;
};

/// Throws ShapeError if an extent, a stride or a result extent is below 1, a padding below 0 or not
/// smaller than the window, the window larger than 255 pixels, or an extent or a stride above
/// Shape::kMaxElements.
void check(const PoolGeometry& geometry);

/// f32 on every backend, f64 on the reference backend, bf16 on the CPU as struct Bf16 says. Every
/// routine throws ShapeError if check() does, or a view is missing or has another shape or type
/// than is stated here.
class PoolKernels {
 public:
  virtual ~PoolKernels() = default;

  /// y [n, oh, ow, c]: the largest value of each window; argmax, u8, same shape: kw * row + column
  /// inside the window (of the uncut window) of the first largest value. In a window with NaN both
  /// are those of the first NaN.
  virtual void max_forward(Queue& queue, const PoolGeometry& geometry, ConstView x, View y,
                           View argmax) = 0;
  /// dx [n, h, w, c]: dy [n, oh, ow, c] summed at each window's argmax, windows in row-major order.
  virtual void max_backward(Queue& queue, const PoolGeometry& geometry, ConstView dy,
                            ConstView argmax, View dx) = 0;

  /// y [n, oh, ow, c]: the mean over the pixels of each window that lie inside the image.
  virtual void average_forward(Queue& queue, const PoolGeometry& geometry, ConstView x, View y) = 0;
  /// dx [n, h, w, c]: dy [n, oh, ow, c], divided by the number of a window's pixels inside the
  /// image, summed over the windows that hold a pixel, in row-major order.
  virtual void average_backward(Queue& queue, const PoolGeometry& geometry, ConstView dy,
                                View dx) = 0;
};

}  // namespace gentrain
