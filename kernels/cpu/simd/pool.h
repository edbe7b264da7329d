// Pooling of any geometry behind PoolKernels, vectors along the channels.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// Extents as in PoolGeometry; oh and ow are those of the result.
struct PoolShape {
  std::int64_t n, h, w, c, oh, ow;
  std::int64_t kh, kw, stride_h, stride_w, top, left;
};

struct PoolTable {
  void (*max_forward)(const PoolShape& shape, const float* x, float* y, std::uint8_t* argmax);
  void (*max_backward)(const PoolShape& shape, const float* dy, const std::uint8_t* argmax,
                       float* dx);
  void (*average_forward)(const PoolShape& shape, const float* x, float* y);
  void (*average_backward)(const PoolShape& shape, const float* dy, float* dx);
};

}  // namespace gentrain::simd
