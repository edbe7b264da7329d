// Convolutions as matrix products, one of whose factors is written block by block: the windows of
// x, or the results that a pixel belongs to. Any kernel and stride, and channels that need not fill
// a vector: kernel rows, kernel columns and channels do that together.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// Extents of ConvGeometry.
struct ConvColumnsShape {
  std::int64_t n, h, w, c, oh, ow, oc, kh, kw, stride_h, stride_w, top, left;
};

/// Products of a result: depth of the matrix product.
inline std::int64_t taps_of(const ConvColumnsShape& shape) {
  return shape.kh * shape.kw * shape.c;
}

/// y [n, oh, ow, oc] = activation(x w + bias), x [n, h, w, c]. Every element is one chain of fused
/// multiply-adds in the order of kernel row, kernel column and channel, beginning at 0; padding is
/// multiplied by 0.
struct ConvColumnsCall {
  const float* x = nullptr;
  const float* weights = nullptr;  // w [oc, kh * kw * c] by GemmTable::pack_transposed
  const float* bias = nullptr;     // [oc] or null
  int activation = 0;              // the value of enum Activation
  float* y = nullptr;
};

/// Scratch is in bytes, aligned to 64 bytes.
struct ConvColumnsTable {
  std::int64_t (*forward_scratch)(const ConvColumnsShape& shape);
  void (*forward)(const ConvColumnsShape& shape, const ConvColumnsCall& call, void* scratch);

  /// Floats that pack_turned writes.
  std::int64_t (*turned_floats)(const ConvColumnsShape& shape);
  /// w [oc, kh, kw, c] for backward_data.
  void (*pack_turned)(const ConvColumnsShape& shape, const float* w, float* packed);
  std::int64_t (*backward_data_scratch)(const ConvColumnsShape& shape);
  /// dx [n, h, w, c] from dy [n, oh, ow, oc]. Every element is one chain of fused multiply-adds
  /// over the kernel rows and columns that reach it in order, and their result channels, beginning
  /// at 0.
  void (*backward_data)(const ConvColumnsShape& shape, const float* dy, const float* turned,
                        float* dx, void* scratch);

  std::int64_t (*backward_weights_scratch)(const ConvColumnsShape& shape);
  /// dw [oc, kh, kw, c] and, unless null, dbias [oc] from x [n, h, w, c] and dy [n, oh, ow, oc].
  /// Sums go through blocks of results in the order of n, oh, ow.
  void (*backward_weights)(const ConvColumnsShape& shape, const float* x, const float* dy,
                           float* dw, float* dbias, void* scratch);
};

}  // namespace gentrain::simd
