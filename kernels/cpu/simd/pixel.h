// Pixel shuffle behind PixelKernels, whose comments say what the routines compute.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// Extents of the tensor with few pixels: [n, h, w, c r r].
struct ShuffleShape {
  std::int64_t n, h, w, c, r;
};

/// y of shuffle_backward may be null where slope is 1.
struct PixelTable {
  void (*shuffle)(const ShuffleShape& shape, float slope, const float* x, float* y);
  void (*shuffle_backward)(const ShuffleShape& shape, float slope, const float* y, const float* dy,
                           float* dx);
};

}  // namespace gentrain::simd
