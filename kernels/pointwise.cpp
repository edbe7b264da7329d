// Names of pointwise functions, and the checks of their arguments that every backend makes.
#include "kernels/pointwise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain {

namespace {

constexpr std::array<std::string_view, 24> kFunctions = {
    "affine",      "relu",  "clip",      "elu",         "hard_sigmoid", "hard_swish",
    "swish",       "gelu",  "gelu_tanh", "mish",        "softplus",     "softsign",
    "log_sigmoid", "exp",   "log",       "sqrt",        "abs",          "erf",
    "reciprocal",  "power", "threshold", "soft_shrink", "hard_shrink",  "tanh_shrink"};
static_assert(kFunctions.size() == static_cast<std::size_t>(PointwiseFunction::kTanhShrink) + 1);

constexpr std::array<std::string_view, 6> kBinaryFunctions = {"add",    "subtract", "multiply",
                                                              "divide", "maximum",  "minimum"};
static_assert(kBinaryFunctions.size() == static_cast<std::size_t>(BinaryFunction::kMinimum) + 1);

/// A constant of a rule, by its name.
struct Constant {
  char name;
  double value;
};

bool is_float(double value) {
  return std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max());
}

void require(const PointwiseRule& rule, const Constant& constant, bool fits, const char* needed) {
  if (!fits) {
    throw ShapeError(fmt::format("{}: {} is {}: {} needed", name_of(rule.function), constant.name,
                                 constant.value, needed));
  }
}

void require_float(const PointwiseRule& rule, const Constant& constant) {
  require(rule, constant, is_float(constant.value), "a finite f32");
}

void require_above_zero(const PointwiseRule& rule, const Constant& constant) {
  require(rule, constant, is_float(constant.value) && static_cast<float>(constant.value) > 0,
          "a finite f32 above 0");
}

void check_rectifier(const PointwiseRule& rule) {
  require_float(rule, {'a', rule.a});
  require_float(rule, {'b', rule.b});
  require(rule, {'c', rule.c}, rule.c >= rule.b, "b or more");
}

void check_clip(const PointwiseRule& rule) {
  require(rule, {'a', rule.a}, !std::isnan(rule.a), "a number");
  require(rule, {'b', rule.b}, rule.b >= rule.a, "a or more");
}

}  // namespace

std::string_view name_of(PointwiseFunction function) {
  return kFunctions.at(static_cast<std::size_t>(function));
}

std::string_view name_of(BinaryFunction function) {
  return kBinaryFunctions.at(static_cast<std::size_t>(function));
}

void check(const PointwiseRule& rule) {
  switch (rule.function) {
    case PointwiseFunction::kRelu:
      return check_rectifier(rule);
    case PointwiseFunction::kClip:
      return check_clip(rule);
    case PointwiseFunction::kElu:
      require_float(rule, {'a', rule.a});
      require_float(rule, {'b', rule.b});
      return require_above_zero(rule, {'c', rule.c});
    case PointwiseFunction::kAffine:
    case PointwiseFunction::kHardSigmoid:
    case PointwiseFunction::kHardSwish:
    case PointwiseFunction::kThreshold:
      require_float(rule, {'a', rule.a});
      return require_float(rule, {'b', rule.b});
    case PointwiseFunction::kSwish:
    case PointwiseFunction::kPower:
      return require_float(rule, {'a', rule.a});
    case PointwiseFunction::kSoftplus:
      return require_above_zero(rule, {'a', rule.a});
    case PointwiseFunction::kSoftShrink:
    case PointwiseFunction::kHardShrink:
      return require(rule, {'a', rule.a}, is_float(rule.a) && rule.a >= 0,
                     "a finite f32 that is 0 or more");
    default:
      return;  // without constants
  }
}

Shape repeated_shape(std::string_view routine, const Shape& a, const Shape& b) {
  const int rank = a.rank();
  bool fits = b.rank() == rank;
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int axis = 0; fits && axis < rank; ++axis) {
    fits = a[axis] == b[axis] || a[axis] == 1 || b[axis] == 1;
    extents[static_cast<std::size_t>(axis)] = a[axis] == 1 ? b[axis] : a[axis];
  }
  if (!fits) {
    throw ShapeError(
        fmt::format("{}: shapes {} and {} do not fit: as many axes, extents equal or 1 needed",
                    routine, a.str(), b.str()));
  }
  return Shape(std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(rank)));
}

Shape permuted(std::string_view routine, const Shape& x, std::span<const int> axes) {
  std::vector<int> sorted(axes.begin(), axes.end());
  std::ranges::sort(sorted);
  bool fits = std::ssize(axes) == x.rank();
  for (int axis = 0; fits && axis < x.rank(); ++axis) {
    fits = sorted[static_cast<std::size_t>(axis)] == axis;
  }
  if (!fits) {
    throw ShapeError(fmt::format("{}: axes [{}] of a tensor {}: each of its axes once needed",
                                 routine, fmt::join(axes, ", "), x.str()));
  }
  std::vector<std::int64_t> extents;
  extents.reserve(axes.size());
  for (const int axis : axes) {
    extents.push_back(x[axis]);
  }
  return Shape(extents);
}

void check(std::string_view routine, const AxisTerms& terms) {
  if (terms.from < 1 || terms.to() < 1 || terms.begins.front() != 0 ||
      !std::ranges::is_sorted(terms.begins) || terms.begins.back() != std::ssize(terms.sources) ||
      terms.sources.size() != terms.weights.size()) {
    throw ShapeError(fmt::format(
        "{}: {} positions from {}, with {} sources and {} weights: at least one of either, begins "
        "that rise from 0 to the number of both needed",
        routine, terms.to(), terms.from, terms.sources.size(), terms.weights.size()));
  }
  for (const std::int32_t source : terms.sources) {
    if (source < 0 || source >= terms.from) {
      throw ShapeError(
          fmt::format("{}: a term has source {}: in [0, {}) needed", routine, source, terms.from));
    }
  }
}

void check_axis_shapes(std::string_view routine, const AxisTerms& terms, const Shape& before,
                       const Shape& after) {
  const bool fits = before.rank() == 3 && after.rank() == 3 && before[0] == after[0] &&
                    before[1] == terms.from && after[1] == terms.to() && before[2] == after[2];
  if (!fits) {
    throw ShapeError(
        fmt::format("{}: shapes {} and {}: [outer, {}, inner] and [outer, {}, inner] needed",
                    routine, before.str(), after.str(), terms.from, terms.to()));
  }
}

std::int64_t last_extent(std::string_view routine, const Shape& shape) {
  const int rank = shape.rank();
  if (rank == 0 || shape[rank - 1] == 0) {
    throw ShapeError(
        fmt::format("{}: a shape {}: [..., k] with k at least 1 needed", routine, shape.str()));
  }
  return shape[rank - 1];
}

void check_side_by_side(std::string_view routine, ShardRows shards, const Shape& shape) {
  if (shards.empty()) {
    return;
  }
  if (shape.rank() == 0) {
    throw ShapeError(fmt::format("{}: {} shards side by side but a scalar: rows needed", routine,
                                 shards.size()));
  }
  check_shards(routine, shards, shape[0]);
}

}  // namespace gentrain
