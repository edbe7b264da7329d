// What the checks of sliding windows have in common.
#pragma once

#include <cstdint>

namespace gentrain {

/// Checks that throw ShapeError, in the words of one operation: "convolution" and its "kernel".
class GeometryChecks {
 public:
  constexpr GeometryChecks(const char* operation, const char* window)
      : operation_(operation), window_(window) {}

  /// least <= value <= Shape::kMaxElements, so that an extent and its padding add up in 64 bits.
  void range(std::int64_t least, const char* name, std::int64_t value) const;
  /// The window fits into the padded rows or columns.
  void fits(const char* axis, std::int64_t padded, std::int64_t window) const;

 private:
  const char* operation_;
  const char* window_;
};

}  // namespace gentrain
