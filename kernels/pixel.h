// The contract for routines that move the pixels or channels of NHWC images. Determinism: as in
// conv.h.
#pragma once

#include <cstdint>

#include "kernels/view.h"

namespace gentrain {

class Queue;

/// What gaussian_shrink takes at most as r and as sigma.
inline constexpr std::int64_t kLargestShrink = 64;
/// Its least sigma; with far less all weights would round to zero.
inline constexpr double kLeastSigma = 0.1;

/// f32 on every backend, f64 on the reference backend, bf16 on the CPU as struct Bf16 says. Every
/// routine throws ShapeError if a view is missing or has another shape or type than is stated here,
/// if an extent or r is below 1, or if slope is not in [0, 1].
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

  /// Along one axis: means of r neighbours in turn, weighted by a Gaussian around their middle.
  ///
  /// x [a, l, b], r divides l
  /// y [a, l / r, b]: y[a, i, b] = sum of weight(j) x[a, j, b] / sum of weight(j) over the j inside
  ///   the axis with |d| <= 3 sigma + r / 2, where d = j - (i r + (r - 1) / 2) and
  ///   weight(j) = exp(-d d / (2 sigma sigma)); ascending j
  ///
  /// Throws ShapeError too if r is above kLargestShrink or sigma is not in
  /// [kLeastSigma, kLargestShrink].
  virtual void gaussian_shrink(Queue& queue, std::int64_t r, double sigma, ConstView x, View y) = 0;

  /// Channels into a range of another tensor's: y[..., first + j] = x[..., j]; the other channels
  /// of y stay as they are. Values are moved only.
  ///
  /// x [..., c]
  /// y [..., width], the extents before the last as those of x; 0 <= first <= width - c
  virtual void put_channels(Queue& queue, std::int64_t first, ConstView x, View y) = 0;
  /// The way back: y [..., c] from a range of x's channels, y[..., j] = x[..., first + j].
  virtual void take_channels(Queue& queue, std::int64_t first, ConstView x, View y) = 0;
};

/// How rows of channels lie in wider ones.
struct ChannelRange {
  std::int64_t rows = 0;   // all extents but the last, multiplied
  std::int64_t few = 0;    // channels of a row that is moved
  std::int64_t width = 0;  // of a row that they are a range of
};

/// The range of `few`, [..., c], from channel `first` on in `many`, [..., width]. Throws ShapeError
/// naming the routine if it does not lie inside, or a tensor has no axis or no elements.
ChannelRange channel_range(const char* routine, std::int64_t first, const Shape& few,
                           const Shape& many);

}  // namespace gentrain
