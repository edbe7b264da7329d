// Optimizer steps behind UpdateKernels, with their constants worked out in double and rounded to
// f32.
#pragma once

#include <cstdint>

namespace gentrain::simd {

struct SgdConstants {
  float lr, momentum, weight_decay, grad_scale;
  bool nesterov;
};

/// w = keep * w - rate * m / (sqrt(v) * inverse_root + epsilon) with the moments m and v of
/// grad_scale * g + weight_decay * w.
struct AdamConstants {
  float rate;          // lr / (1 - beta1^step)
  float inverse_root;  // 1 / sqrt(1 - beta2^step)
  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;
  float epsilon;
  float weight_decay;  // 0 where the decay is decoupled
  float keep;          // 1 - lr * decay where it is decoupled, else 1
  float grad_scale;
};

struct UpdateTable {
  /// velocity is null where the momentum is 0.
  void (*sgd)(const SgdConstants& constants, const float* gradient, float* velocity, float* w,
              std::int64_t count);
  /// first_moment may be null where beta1 is 0.
  void (*adam)(const AdamConstants& constants, const float* gradient, float* first_moment,
               float* second_moment, float* w, std::int64_t count);
};

}  // namespace gentrain::simd
