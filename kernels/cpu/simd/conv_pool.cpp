// The table of the fused convolution and max pooling, and which shapes it takes.
#include "kernels/cpu/simd/conv_pool.h"

#include "kernels/cpu/simd/conv_pool_parts.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {
namespace {

constexpr std::int64_t kMostScratch = 512 * 1024;  // so that it stays in the second cache
constexpr std::int64_t kMostRows = kMostScratch / (4 * kLanes);  // one pixel each in the scratch

std::int64_t scratch_bytes(const ConvPoolShape& s) {
  const std::int64_t backward =
      larger(conv_pool_backward_data_scratch(s), conv_pool_backward_weights_scratch(s));
  return larger(conv_pool_forward_scratch(s), backward);
}

bool takes(const ConvPoolShape& s) {
  return s.h > s.kh && s.w > s.kw && s.h <= kMostRows && s.w <= kMostRows && s.c <= 64 &&
         s.c * s.kw <= 64 && s.oc <= 64 && s.kh <= 7 && s.kw <= 7 &&
         scratch_bytes(s) <= kMostScratch;
}

}  // namespace

ConvPoolTable make_conv_pool_table() {
  return {takes, scratch_bytes, conv_pool_forward, conv_pool_backward_data,
          conv_pool_backward_weights};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
