// Gradients of the weights of convolutions with few input channels: one matrix product, whose right
// factor is written block by block from the windows of x. Few channels leave a convolution's own
// loops half empty; here kernel rows, kernel columns and channels fill the vectors together.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// Extents of ConvGeometry.
struct ConvColumnsShape {
  std::int64_t n, h, w, c, oh, ow, oc, kh, kw, stride_h, stride_w, top, left;
};

struct ConvColumnsTable {
  /// Bytes of scratch, aligned to 64 bytes.
  std::int64_t (*scratch_bytes)(const ConvColumnsShape& shape);
  /// dw [oc, kh, kw, c] and, unless null, dbias [oc] from x [n, h, w, c] and dy [n, oh, ow, oc].
  /// Sums go through blocks of results in the order of n, oh, ow.
  void (*backward_weights)(const ConvColumnsShape& shape, const float* x, const float* dy,
                           float* dw, float* dbias, void* scratch);
};

}  // namespace gentrain::simd
