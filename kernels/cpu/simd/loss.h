// Losses behind LossKernels, whose comments say what the routines compute.
#pragma once

#include <cstdint>

namespace gentrain::simd {

struct LossTable {
  /// probabilities [n, k] = softmax(logits [n, k]); sums [2] as LossKernels::softmax_cross_entropy
  /// says. weights [n] or null.
  void (*softmax_cross_entropy)(const float* logits, const std::int32_t* labels,
                                const float* weights, std::int64_t n, std::int64_t k,
                                float* probabilities, float* sums);
  void (*softmax_cross_entropy_backward)(const float* probabilities, const std::int32_t* labels,
                                         const float* weights, float scale, std::int64_t n,
                                         std::int64_t k, float* dlogits);
  void (*softmax)(const float* logits, std::int64_t n, std::int64_t k, float* probabilities);
  void (*sigmoid_cross_entropy)(const float* logits, const float* targets, std::int64_t n,
                                std::int64_t k, float* losses);
  void (*sigmoid_cross_entropy_backward)(const float* logits, const float* targets, float scale,
                                         std::int64_t count, float* dlogits);
  void (*squared_error)(const float* x, const float* target, std::int64_t n, std::int64_t k,
                        float* losses);
  void (*squared_error_backward)(const float* x, const float* target, float scale,
                                 std::int64_t count, float* dx);
  void (*gaussian_sample)(const float* latent, const float* noise, std::int64_t n, std::int64_t k,
                          float* z, float* divergence);
  void (*gaussian_sample_backward)(const float* latent, const float* noise, const float* dz,
                                   float scale, std::int64_t n, std::int64_t k, float* dlatent);
};

}  // namespace gentrain::simd
