// What kernels see of a tensor: an address, a type and a shape, owned by somebody else.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/shape.h"

namespace gentrain {

/// Dense, row-major elements to read. `data` is null for an optional argument that is absent.
struct ConstView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;

  template <class T>
  [[nodiscard]] const T* as() const {
    return static_cast<const T*>(data);
  }
  [[nodiscard]] std::int64_t elements() const { return shape.elements(); }
  [[nodiscard]] bool present() const { return data != nullptr; }
};

/// Dense, row-major elements to write.
struct View {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;

  template <class T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(data);
  }
  [[nodiscard]] std::int64_t elements() const { return shape.elements(); }
  [[nodiscard]] bool present() const { return data != nullptr; }
  operator ConstView() const {  // NOLINT(google-explicit-constructor): a writer may always read
    return {data, dtype, shape};
  }
};

/// Weights of a convolution or a matrix product, which a backend may keep in a layout of its own.
/// `version` changes whenever the values at `values.data` do; 0 means "do not keep a copy".
struct Weights {
  ConstView values;
  std::uint64_t version = 0;
};

}  // namespace gentrain
