// What every routine of the CPU backend asks of its arguments: presence, type, shape.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/view.h"

namespace gentrain::cpu {

/// Arguments of one call. Every check throws ShapeError naming the routine and the argument.
class Arguments {
 public:
  explicit Arguments(std::string_view routine) : routine_(routine) {}

  /// Present, of this type and shape.
  void require(std::string_view name, ConstView view, const Shape& shape,
               DType type = DType::kF32) const;
  /// Present, of this type and with this number of elements.
  void require_elements(std::string_view name, ConstView view, std::int64_t elements,
                        DType type = DType::kF32) const;
  /// A matrix of rows that is not empty.
  void require_matrix(std::string_view name, ConstView view) const;
  /// Absent, or as require() wants it.
  void require_if_present(std::string_view name, ConstView view, const Shape& shape) const;
  /// Not empty and not a scalar; returns the shape [c] of one value for each channel.
  [[nodiscard]] Shape require_rows(std::string_view name, ConstView view) const;
  /// A slope below zero from 0 to 1.
  void require_slope(double slope) const;

  [[nodiscard]] std::string_view routine() const { return routine_; }

 private:
  void require_type(std::string_view name, ConstView view, DType type) const;

  std::string_view routine_;
};

}  // namespace gentrain::cpu
