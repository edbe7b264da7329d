// What the files of the fused convolution and max pooling share: extents, scratch, transposes.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/conv_pool.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

/// The routines of ConvPoolTable and the scratch each needs.
std::int64_t conv_pool_forward_scratch(const ConvPoolShape& s);
void conv_pool_forward(const ConvPoolShape& s, const float* x, const float* w, const float* bias,
                       int activation, float* y, std::uint8_t* argmax, void* scratch);
std::int64_t conv_pool_backward_data_scratch(const ConvPoolShape& s);
void conv_pool_backward_data(const ConvPoolShape& s, const float* dp, const std::uint8_t* argmax,
                             const float* w, float* dx, void* scratch);
std::int64_t conv_pool_backward_weights_scratch(const ConvPoolShape& s);
void conv_pool_backward_weights(const ConvPoolShape& s, const float* x, const float* dp,
                                const std::uint8_t* argmax, float* dw, float* dbias, void* scratch);

namespace {

inline std::int64_t pooled_h(const ConvPoolShape& s) {
  return (s.h - s.kh + 1) / 2;
}
inline std::int64_t pooled_w(const ConvPoolShape& s) {
  return (s.w - s.kw + 1) / 2;
}
inline std::int64_t image_size(const ConvPoolShape& s) {
  return s.h * s.w * s.c;
}
inline std::int64_t pooled_size(const ConvPoolShape& s) {
  return pooled_h(s) * pooled_w(s) * s.oc;
}

inline std::int64_t round_up(std::int64_t count, std::int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

/// Hands out pieces of the scratch, each aligned to 64 bytes; counts them when the base is null.
class Scratch {
 public:
  explicit Scratch(void* base) : base_(static_cast<char*>(base)) {}
  float* floats(std::int64_t count) {
    char* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += round_up(count * 4, 64);
    return reinterpret_cast<float*>(piece);
  }
  std::int32_t* integers(std::int64_t count) {
    return reinterpret_cast<std::int32_t*>(floats(count));
  }
  [[nodiscard]] std::int64_t used() const { return used_; }

 private:
  char* base_;
  std::int64_t used_ = 0;
};

/// Groups of nearly equal size that `total` is cut into, at most `most` each, and where group
/// `index` of them begins.
inline std::int64_t group_count(std::int64_t total, std::int64_t most) {
  return (total + most - 1) / most;
}
inline std::int64_t group_begin(std::int64_t total, std::int64_t groups, std::int64_t index) {
  return total / groups * index + smaller(index, total % groups);
}

}  // namespace
}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
