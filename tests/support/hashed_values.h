// Numbers out of a name, which another program computes alike: tests/tools/golden_networks.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gentrain::test {

/// `count` numbers in [-1, 1), multiples of 2^-23, which f32 holds: FNV-1a of "NAME#SEED", to which
/// the number's index times 2654435769 is added, through MurmurHash3's last step; the upper 24
/// bits.
inline std::vector<double> hashed_values(std::string_view name, std::int64_t seed,
                                         std::int64_t count) {
  std::uint32_t key = 2166136261U;
  for (const char c : std::string(name) + "#" + std::to_string(seed)) {
    key = (key ^ static_cast<std::uint8_t>(c)) * 16777619U;
  }
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) {
    std::uint32_t x = key;
    x = (x ^ (x >> 16)) * 0x85EBCA6BU;
    x = (x ^ (x >> 13)) * 0xC2B2AE35U;
    x ^= x >> 16;
    value = static_cast<double>(x >> 8) * 0x1p-23 - 1;
    key += 0x9E3779B9U;
  }
  return values;
}

}  // namespace gentrain::test
