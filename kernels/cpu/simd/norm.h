// Batch normalisation and PReLU behind NormKernels, whose comments say what the routines compute.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// Pointers that NormSources lets be absent are null.
struct NormalizeCall {
  std::int64_t rows, c;
  const float *x, *mean, *variance, *gamma, *beta, *residual;
  float epsilon, slope;
  float* y;
};

/// Pointers that NormGradientSources and NormGradients let be absent are null.
struct NormGradientCall {
  std::int64_t rows, c;
  const float *x, *y, *dy, *mean, *variance, *gamma;
  float epsilon, slope;
  bool of_batch;
  float *dx, *dgamma, *dbeta, *dresidual;
};

/// dx and dalpha may be null.
struct PreluGradientCall {
  std::int64_t rows, c;
  const float *x, *alpha, *dy;
  float *dx, *dalpha;
};

/// `scratch` is scratch_bytes(c) bytes, aligned to 64.
struct NormTable {
  std::int64_t (*scratch_bytes)(std::int64_t c);
  void (*statistics)(const float* x, std::int64_t rows, std::int64_t c, float* mean,
                     float* variance, void* scratch);
  void (*normalize)(const NormalizeCall& call, void* scratch);
  void (*normalize_backward)(const NormGradientCall& call, void* scratch);
  void (*prelu)(const float* x, const float* alpha, std::int64_t rows, std::int64_t c, float* y);
  void (*prelu_backward)(const PreluGradientCall& call, void* scratch);
};

}  // namespace gentrain::simd
