// Softmax and cross entropy behind LossKernels.
#pragma once

#include <cstdint>

namespace gentrain::simd {

struct LossTable {
  /// probabilities [n, k] = softmax(logits [n, k]); sums [2] as LossKernels::softmax_cross_entropy
  /// says.
  void (*softmax_cross_entropy)(const float* logits, const std::int32_t* labels, std::int64_t n,
                                std::int64_t k, float* probabilities, float* sums);
  void (*softmax_cross_entropy_backward)(const float* probabilities, const std::int32_t* labels,
                                         float scale, std::int64_t n, std::int64_t k,
                                         float* dlogits);
  void (*softmax)(const float* logits, std::int64_t n, std::int64_t k, float* probabilities);
};

}  // namespace gentrain::simd
