// How reference routines see tensors: as arrays of doubles, indexed as the formulas in the contract
// are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/view.h"

namespace gentrain::reference {

/// A dense, row-major array of doubles.
class Values {
 public:
  explicit Values(const Shape& shape, double value = 0)
      : shape_(shape), data_(static_cast<std::size_t>(shape.elements()), value) {}

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::int64_t elements() const { return shape_.elements(); }
  /// Element by its row-major number.
  double& operator[](std::int64_t i) { return data_[static_cast<std::size_t>(i)]; }
  double operator[](std::int64_t i) const { return data_[static_cast<std::size_t>(i)]; }
  /// Element by one index per axis.
  template <class... Index>
  double& operator()(Index... index) {
    return (*this)[offset(index...)];
  }
  template <class... Index>
  double operator()(Index... index) const {
    return (*this)[offset(index...)];
  }

 private:
  template <class... Index>
  [[nodiscard]] std::int64_t offset(Index... index) const {
    std::int64_t result = 0;
    int axis = 0;
    ((result = result * shape_[axis++] + index), ...);
    return result;
  }

  Shape shape_;
  std::vector<double> data_;
};

/// One call of a routine. Loads and stores its arguments and holds them to the contract: a missing
/// view, another shape or another type is a ShapeError that names routine and argument.
class Call {
 public:
  /// Views of numbers must have type `type`, which must be f32 or f64 (ShapeError).
  Call(std::string_view routine, DType type);

  [[nodiscard]] Values load(std::string_view name, ConstView view, const Shape& shape) const;
  /// As a flat array, whatever the view's shape.
  [[nodiscard]] Values load_elements(std::string_view name, ConstView view,
                                     std::int64_t elements) const;
  /// A view of whole numbers: i32 or u8.
  [[nodiscard]] Values load_integers(std::string_view name, ConstView view, const Shape& shape,
                                     DType type) const;
  void store(std::string_view name, const Values& values, View view) const;
  /// Into a view of any shape with as many elements.
  void store_elements(std::string_view name, const Values& values, View view) const;
  void store_bytes(std::string_view name, const Values& values, View view) const;
  /// Elements of one type as those of another one.
  void cast(ConstView x, DType from, View y, DType to) const;
  /// f64 whatever the type of the call.
  void store_doubles(std::string_view name, const Values& values, View view) const;

 private:
  void check_type(std::string_view name, ConstView view, DType type) const;
  void check(std::string_view name, ConstView view, const Shape& shape, DType type) const;
  void check_elements(std::string_view name, ConstView view, std::int64_t elements,
                      DType type) const;

  std::string_view routine_;
  DType type_;
};

}  // namespace gentrain::reference
