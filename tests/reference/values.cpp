// Loading, storing and checking the arguments of reference routines.
#include "tests/reference/values.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/support/bf16.h"

namespace gentrain::reference {

namespace {

template <class T>
Values widen(ConstView view) {
  Values values(view.shape);
  for (std::int64_t i = 0; i < values.elements(); ++i) {
    values[i] = static_cast<double>(view.as<T>()[i]);
  }
  return values;
}

template <class T>
void narrow(const Values& values, View view) {
  for (std::int64_t i = 0; i < values.elements(); ++i) {
    view.as<T>()[i] = static_cast<T>(values[i]);
  }
}

Values widen_bf16(ConstView view) {
  Values values(view.shape);
  for (std::int64_t i = 0; i < values.elements(); ++i) {
    values[i] = test::value_of(view.as<Bf16>()[i]);
  }
  return values;
}

void narrow_bf16(const Values& values, View view) {
  for (std::int64_t i = 0; i < values.elements(); ++i) {
    view.as<Bf16>()[i] = test::nearest_bf16(values[i]);
  }
}

Values load_any(ConstView view) {
  switch (view.dtype) {
    case DType::kF32:
      return widen<float>(view);
    case DType::kF64:
      return widen<double>(view);
    case DType::kI32:
      return widen<std::int32_t>(view);
    case DType::kBf16:
      return widen_bf16(view);
    case DType::kU8:
      break;
  }
  return widen<std::uint8_t>(view);
}

void store_any(const Values& values, View view) {
  switch (view.dtype) {
    case DType::kF32:
      return narrow<float>(values, view);
    case DType::kF64:
      return narrow<double>(values, view);
    case DType::kI32:
      return narrow<std::int32_t>(values, view);
    case DType::kBf16:
      return narrow_bf16(values, view);
    case DType::kU8:
      break;
  }
  return narrow<std::uint8_t>(values, view);
}

}  // namespace

Call::Call(std::string_view routine, DType type) : routine_(routine), type_(type) {
  if (type != DType::kF32 && type != DType::kF64) {
    throw ShapeError(
        fmt::format("{}: results of type {}: f32 or f64 needed", routine, name_of(type)));
  }
}

void Call::check_type(std::string_view name, ConstView view, DType type) const {
  if (!view.present()) {
    throw ShapeError(fmt::format("{}: {} is missing", routine_, name));
  }
  if (view.dtype != type) {
    throw ShapeError(fmt::format("{}: {} has type {}: {} needed", routine_, name,
                                 name_of(view.dtype), name_of(type)));
  }
}

void Call::check(std::string_view name, ConstView view, const Shape& shape, DType type) const {
  check_type(name, view, type);
  if (view.shape != shape) {
    throw ShapeError(fmt::format("{}: {} has shape {}: {} needed", routine_, name, view.shape.str(),
                                 shape.str()));
  }
}

void Call::check_elements(std::string_view name, ConstView view, std::int64_t elements,
                          DType type) const {
  check_type(name, view, type);
  if (view.elements() != elements) {
    throw ShapeError(fmt::format("{}: {} has {} elements (shape {}): {} needed", routine_, name,
                                 view.elements(), view.shape.str(), elements));
  }
}

Values Call::load(std::string_view name, ConstView view, const Shape& shape) const {
  check(name, view, shape, type_);
  return load_any(view);
}

Values Call::load_elements(std::string_view name, ConstView view, std::int64_t elements) const {
  check_elements(name, view, elements, type_);
  view.shape = {elements};
  return load_any(view);
}

Values Call::load_integers(std::string_view name, ConstView view, const Shape& shape,
                           DType type) const {
  check(name, view, shape, type);
  return load_any(view);
}

void Call::store(std::string_view name, const Values& values, View view) const {
  check(name, view, values.shape(), type_);
  store_any(values, view);
}

void Call::store_elements(std::string_view name, const Values& values, View view) const {
  check_elements(name, view, values.elements(), type_);
  store_any(values, view);
}

void Call::store_bytes(std::string_view name, const Values& values, View view) const {
  check(name, view, values.shape(), DType::kU8);
  store_any(values, view);
}

void Call::cast(ConstView x, DType from, View y, DType to) const {
  check_elements("x", x, y.elements(), from);
  check_elements("y", y, y.elements(), to);
  store_any(load_any(x), y);
}

void Call::store_doubles(std::string_view name, const Values& values, View view) const {
  check(name, view, values.shape(), DType::kF64);
  store_any(values, view);
}

}  // namespace gentrain::reference
