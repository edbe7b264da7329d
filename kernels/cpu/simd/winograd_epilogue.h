// What becomes of the sums of Winograd's convolutions before they are stored.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/math.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {
namespace {

template <Activation kActivation>
struct Epilogue {
  const float* bias;

  [[nodiscard]] Vec bias_of(std::int64_t channel, int lanes) const {
    return bias == nullptr ? Vec{} : load_n(bias + channel, lanes);
  }
  static Vec finish(Vec sum, Vec bias) { return apply<kActivation>(sum + bias); }
};

}  // namespace
}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
