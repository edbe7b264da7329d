// Reproducible numbers for tests and benchmarks of the vector kernels, where Philox would be slow.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

namespace gentrain::test {

/// A linear congruential generator.
class Noise {
 public:
  explicit Noise(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15U + 1) {}

  /// 24 random bits.
  std::uint32_t word() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::uint32_t>(state_ >> 40);
  }
  /// In [low, high).
  float real(float low = -1, float high = 1) {
    return low + (high - low) * static_cast<float>(word()) * 0x1p-24F;
  }
  std::int64_t pick(std::initializer_list<std::int64_t> values) {
    return values.begin()[word() % values.size()];
  }

 private:
  std::uint64_t state_;
};

/// `count` floats in [low, high), a pure function of the seed.
inline std::vector<float> floats(std::int64_t count, std::uint64_t seed, float low = -1,
                                 float high = 1) {
  Noise noise(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    value = noise.real(low, high);
  }
  return values;
}

}  // namespace gentrain::test
