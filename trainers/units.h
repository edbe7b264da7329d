// Units of what is told to users.
#pragma once

#include <cstdint>

namespace gentrain::trainers {

inline constexpr double kMib = 1024.0 * 1024.0;  // bytes

/// MiB of `bytes`.
inline double mib(std::int64_t bytes) {
  return static_cast<double>(bytes) / kMib;
}

}  // namespace gentrain::trainers
