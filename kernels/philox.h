// Philox4x32-10: random numbers as a pure function of a key and a counter.
//
// Source: Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once

#include <array>
#include <cstdint>

namespace gentrain {

using PhiloxBlock = std::array<std::uint32_t, 4>;

/// Four random words for a 128-bit counter under a 64-bit key.
constexpr PhiloxBlock philox(std::array<std::uint32_t, 2> key, PhiloxBlock counter) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {
        static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

/// The name of a stream of random numbers: a pure function of everything folded into it.
///
/// `RngKey(seed).fold(epoch).fold(sample)` differs from every other path of folds for all practical
/// purposes (128 bits, mixed by Philox).
class RngKey {
 public:
  constexpr RngKey() = default;
  explicit constexpr RngKey(std::uint64_t seed) : low_(seed) {}

  /// The key of a sub-stream.
  [[nodiscard]] constexpr RngKey fold(std::uint64_t index) const {
    const PhiloxBlock mixed =
        philox({static_cast<std::uint32_t>(low_), static_cast<std::uint32_t>(low_ >> 32)},
               {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                static_cast<std::uint32_t>(high_), static_cast<std::uint32_t>(high_ >> 32)});
    RngKey key;
    key.low_ = mixed[0] | (std::uint64_t{mixed[1]} << 32);
    key.high_ = mixed[2] | (std::uint64_t{mixed[3]} << 32);
    return key;
  }

  /// Block `index` of this stream: four independent 32-bit words.
  [[nodiscard]] constexpr PhiloxBlock block(std::uint64_t index) const {
    return philox(
        {static_cast<std::uint32_t>(low_), static_cast<std::uint32_t>(low_ >> 32)},
        {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32) ^ 0x80000000U,
         static_cast<std::uint32_t>(high_), static_cast<std::uint32_t>(high_ >> 32)});
  }

  /// The words that block() puts in: two of Philox' key, then the upper two of its counter.
  [[nodiscard]] constexpr std::array<std::uint32_t, 4> words() const {
    return {static_cast<std::uint32_t>(low_), static_cast<std::uint32_t>(low_ >> 32),
            static_cast<std::uint32_t>(high_), static_cast<std::uint32_t>(high_ >> 32)};
  }

  friend constexpr bool operator==(const RngKey&, const RngKey&) = default;

 private:
  std::uint64_t low_ = 0;
  std::uint64_t high_ = 0;
};

/// A float in [0, 1) from the upper 24 bits of a random word.
constexpr float uniform_float(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24F;
}

}  // namespace gentrain
