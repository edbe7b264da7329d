// The shape rules as one visitor, whose functions stand in shapes_of_windows.cpp (what slides over
// images) and shapes.cpp (all others); of use to these alone.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "core/graph/kinds.h"

namespace gentrain::graph {

// Of one node and one sample; sums over nodes and samples stay within 64 bits.
constexpr double kMostValues = 1e11;
constexpr double kMostProducts = 1e14;

/// Throws ShapeError if the factors' product is above `most`.
void need_countable(std::string_view what, std::span<const std::int64_t> factors, double most);
inline void need_countable(std::string_view what, std::initializer_list<std::int64_t> factors,
                           double most) {
  need_countable(what, std::span<const std::int64_t>(factors.begin(), factors.size()), most);
}
/// "[2, 3], [2, 4]"
std::string list(std::span<const Shape> shapes);
/// The one input. Throws ShapeError if there are more or none.
const Shape& only(std::span<const Shape> inputs);

struct ShapeRule {
  std::span<const Shape> inputs;

  Shape operator()(const Input& node) const;
  Shape operator()(const Constant& node) const;
  Shape operator()(const Variable& node) const;
  Shape operator()(const Convolution& node) const;
  Shape operator()(const TransposedConvolution& node) const;
  Shape operator()(const BatchNormalization& node) const;
  Shape operator()(const Activate& node) const;
  Shape operator()(const Pointwise& node) const;
  Shape operator()(const Prelu& node) const;
  Shape operator()(const Binary& node) const;
  Shape operator()(const Pooling& node) const;
  Shape operator()(const GlobalPooling& node) const;
  Shape operator()(const Dense& node) const;
  Shape operator()(const Flatten& node) const;
  Shape operator()(const Reshape& node) const;
  Shape operator()(const Permute& node) const;
  Shape operator()(const AxisMap& node) const;
  Shape operator()(const LargestAlong& node) const;
  Shape operator()(const Dropout& node) const;
  Shape operator()(const Concatenation& node) const;
  Shape operator()(const Addition& node) const;
  Shape operator()(const Softmax& node) const;
  Shape operator()(const Identity& node) const;

 private:
  void need_none(std::string_view what) const;
  void need_several() const;
};

}  // namespace gentrain::graph
