// The contract for routines that move the pixels of NHWC images. Determinism: as in conv.h.
#pragma once

#include <cstdint>

#include "kernels/view.h"

namespace gentrain {

class Queue;

/// f32 on every backend, f64 on the reference backend. Every routine throws ShapeError if a view is
/// missing or has another shape or type than is stated here, if an extent or r is below 1, or if
/// slope is not in [0, 1].
class PixelKernels {
 public:
  virtual ~PixelKernels() = default;

  /// Pixel shuffle: the channels of a pixel become a square of r x r pixels.
  ///
  /// x [n, h, w, c r r]
  /// y [n, h r, w r, c]: y[n, h r + i, w r + j, c] = f(x[n, h, w, (c r + i) r + j]),
  ///   f(z) = z above 0, slope * z elsewhere: 1 moves only, 0 is ReLU
  ///
  /// Source: Shi et al. 2016, arXiv:1609.05158; the order of channels is PyTorch's.
  virtual void shuffle(Queue& queue, std::int64_t r, double slope, ConstView x, View y) = 0;
  /// dx [n, h, w, c r r] from the result y, which may be absent where slope is 1, and dy, both
  /// [n, h r, w r, c]: dy * (y > 0 ? 1 : slope), moved back.
  virtual void shuffle_backward(Queue& queue, std::int64_t r, double slope, ConstView y,
                                ConstView dy, View dx) = 0;
};

}  // namespace gentrain
