// Argument checks of the CPU backend.
#include "kernels/cpu/checks.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::cpu {

void Arguments::require_type(std::string_view name, ConstView view, DType type) const {
  if (!view.present()) {
    throw ShapeError(fmt::format("{}: {} is missing", routine_, name));
  }
  if (view.dtype != type) {
    throw ShapeError(fmt::format("{}: {} has type {}: {} needed", routine_, name,
                                 name_of(view.dtype), name_of(type)));
  }
}

void Arguments::require(std::string_view name, ConstView view, const Shape& shape,
                        DType type) const {
  require_type(name, view, type);
  if (view.shape != shape) {
    throw ShapeError(fmt::format("{}: {} has shape {}: {} needed", routine_, name, view.shape.str(),
                                 shape.str()));
  }
}

void Arguments::require_elements(std::string_view name, ConstView view, std::int64_t elements,
                                 DType type) const {
  require_type(name, view, type);
  if (view.elements() != elements) {
    throw ShapeError(fmt::format("{}: {} has {} elements (shape {}): {} needed", routine_, name,
                                 view.elements(), view.shape.str(), elements));
  }
}

void Arguments::require_matrix(std::string_view name, ConstView view) const {
  require_type(name, view, DType::kF32);
  if (view.shape.rank() != 2 || view.elements() == 0) {
    throw ShapeError(fmt::format("{}: {} has shape {}: a matrix that is not empty is needed",
                                 routine_, name, view.shape.str()));
  }
}

void Arguments::require_if_present(std::string_view name, ConstView view,
                                   const Shape& shape) const {
  if (view.present()) {
    require(name, view, shape);
  }
}

Shape Arguments::require_rows(std::string_view name, ConstView view) const {
  require_type(name, view, DType::kF32);
  if (view.shape.rank() == 0 || view.elements() == 0) {
    throw ShapeError(fmt::format("{}: {} has shape {}: rows of channels that are not empty needed",
                                 routine_, name, view.shape.str()));
  }
  return {view.shape[view.shape.rank() - 1]};
}

void Arguments::require_slope(double slope) const {
  if (!(slope >= 0 && slope <= 1)) {
    throw ShapeError(fmt::format("{}: slope is {}: from 0 to 1 needed", routine_, slope));
  }
}

}  // namespace gentrain::cpu
