// Extents of a dense, row-major tensor: up to six of them, kept inline.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace gentrain {

class Shape {
 public:
  static constexpr int kMaxRank = 6;
  /// So that the bytes of any tensor can be counted in 64 bits.
  static constexpr std::int64_t kMaxElements = std::int64_t{1} << 59;

  /// The shape of a scalar: rank 0, one element.
  Shape() = default;
  /// Throws ShapeError for more than kMaxRank extents, a negative one, or extents whose product,
  /// zeros left out, is above kMaxElements.
  Shape(std::initializer_list<std::int64_t> extents);
  explicit Shape(std::span<const std::int64_t> extents);

  [[nodiscard]] int rank() const { return rank_; }
  /// Extent of an axis, 0 <= axis < rank().
  [[nodiscard]] std::int64_t operator[](int axis) const {
    return extents_[static_cast<std::size_t>(axis)];
  }
  /// Product of the extents; 1 for a scalar.
  [[nodiscard]] std::int64_t elements() const;
  [[nodiscard]] std::span<const std::int64_t> extents() const {
    return {extents_.data(), static_cast<std::size_t>(rank_)};
  }
  /// "[2, 28, 28, 1]"
  [[nodiscard]] std::string str() const;

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace gentrain
