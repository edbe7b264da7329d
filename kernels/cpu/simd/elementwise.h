// Pointwise routines behind ElementwiseKernels, and the bias and activation of a layer.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// `activation` is the value of enum Activation. A destination may be one of the sources.
struct ElementwiseTable {
  void (*activate)(int activation, const float* x, float* y, std::int64_t count);
  void (*activate_backward)(int activation, const float* y, const float* dy, float* dx,
                            std::int64_t count);
  void (*leaky_relu)(float slope, const float* x, float* y, std::int64_t count);
  void (*leaky_relu_backward)(float slope, const float* y, const float* dy, float* dx,
                              std::int64_t count);
  void (*add_activate)(int activation, const float* a, const float* b, float* y,
                       std::int64_t count);
  void (*add)(const float* a, const float* b, float* y, std::int64_t count);
  void (*multiply)(const float* a, const float* b, float* y, std::int64_t count);
  void (*scale)(float factor, const float* x, float* y, std::int64_t count);
  void (*fill)(float value, float* y, std::int64_t count);
  void (*cast_u8)(const std::uint8_t* x, float factor, float shift, float* y, std::int64_t count);
};

}  // namespace gentrain::simd
