// Convolution with few channels, fused with 2x2 max pooling: the routines behind
// ConvKernels::pool_*.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// Extents of ConvGeometry with stride 1 and no padding; oh and ow are those of the convolution.
struct ConvPoolShape {
  std::int64_t n, h, w, c, oc, kh, kw;
};

/// Bytes of scratch that a call of each routine needs at most; scratch is aligned to 64 bytes.
struct ConvPoolTable {
  bool (*takes)(const ConvPoolShape& shape);
  std::int64_t (*scratch_bytes)(const ConvPoolShape& shape);
  /// activation: the value of enum Activation. bias may be null.
  void (*forward)(const ConvPoolShape& shape, const float* x, const float* w, const float* bias,
                  int activation, float* y, std::uint8_t* argmax, void* scratch);
  void (*backward_data)(const ConvPoolShape& shape, const float* dp, const std::uint8_t* argmax,
                        const float* w, float* dx, void* scratch);
  /// dbias may be null.
  void (*backward_weights)(const ConvPoolShape& shape, const float* x, const float* dp,
                           const std::uint8_t* argmax, float* dw, float* dbias, void* scratch);
};

}  // namespace gentrain::simd
