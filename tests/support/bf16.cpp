// bf16 by its definition: neighbours are found through floats and compared in doubles.
#include "tests/support/bf16.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace gentrain::test {

double value_of(Bf16 x) {
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16));
}

Bf16 nearest_bf16(double x) {
  constexpr std::uint16_t kSign = 0x8000;
  constexpr std::uint16_t kInfinity = 0x7f80;
  constexpr std::uint16_t kNan = 0x7fc0;
  const std::uint16_t sign = std::signbit(x) ? kSign : 0;
  if (std::isnan(x)) {
    return {static_cast<std::uint16_t>(sign | kNan)};
  }
  // The largest bf16 that is not above |x|, by halving the range of bit patterns.
  const double size = std::fabs(x);
  std::uint16_t below = 0;
  for (std::uint16_t above = kInfinity; above - below > 1;) {
    const auto middle = static_cast<std::uint16_t>((below + above) / 2);
    (value_of({middle}) <= size ? below : above) = middle;
  }
  const auto next = static_cast<std::uint16_t>(below + 1);
  const double step = std::ldexp(1.0, std::max(std::ilogb(value_of({below})), -126) - 7);
  const double to_below = size - value_of({below});
  const bool up = to_below > step / 2 || (to_below == step / 2 && below % 2 == 1);
  return {static_cast<std::uint16_t>(sign | (up ? next : below))};
}

}  // namespace gentrain::test
