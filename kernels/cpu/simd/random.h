// Random tensors behind RandomKernels: Philox4x32-10 over many counters at once.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// The key of a stream in the words that RngKey::block uses: block i has the counter
/// (low half of i, high half of i with its highest bit turned, counter[0], counter[1]).
struct RandomStream {
  std::uint32_t key[2];
  std::uint32_t counter[2];
};

struct RandomTable {
  void (*uniform)(const RandomStream& stream, float low, float high, float* y, std::int64_t count);
  void (*normal)(const RandomStream& stream, float mean, float stddev, float* y,
                 std::int64_t count);
  void (*dropout)(const RandomStream& stream, float keep, const float* x, float* y,
                  std::int64_t count);
};

}  // namespace gentrain::simd
