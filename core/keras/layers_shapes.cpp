// Layers that put the same elements into another shape or order.
#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/keras/layers.h"
#include "core/keras/rows.h"
#include "kernels/error.h"

namespace gentrain::keras {

int add_flatten(LayerCall& call) {
  const bool first = reads_channels_first(call.attributes);
  Chain chain(call);
  const int rank = chain.shape().rank();
  if (first && rank > 1) {  // so that dense layers behind it do not see the order
    chain.then("channels_last", graph::Permute{axis_to_end(0, rank)});
  }
  return chain.then("flat", graph::Flatten{}).finish();
}

int add_reshape(LayerCall& call) {
  const json* value = call.attributes.take({"target_shape"});
  if (value == nullptr || !value->is_array() || value->empty() ||
      value->size() >= static_cast<std::size_t>(Shape::kMaxRank)) {
    throw IoError(fmt::format("target_shape is {}: a list of 1 to {} extents is needed",
                              value == nullptr ? "missing" : shown(*value), Shape::kMaxRank - 1));
  }
  std::vector<std::int64_t> extents;
  for (const json& extent : *value) {
    extents.push_back(to_integer(extent, "target_shape", -1));
  }
  Chain chain(call);
  const std::int64_t elements = chain.shape().elements();
  const auto free = std::ranges::find(extents, -1);
  if (free != extents.end()) {
    const bool several = std::ranges::count(extents, -1) > 1;
    *free = 1;
    const std::int64_t others = several ? 0 : Shape(extents).elements();
    if (others < 1 || elements % others != 0) {
      throw IoError(
          fmt::format("target_shape is {}, which {} values cannot have", shown(*value), elements));
    }
    *free = elements / others;
  }
  if (Shape(extents).elements() != elements) {
    throw IoError(
        fmt::format("target_shape is {}, but there are {} values", shown(*value), elements));
  }
  return chain.then("reshape", graph::Reshape{Shape(extents)}).finish();
}

int add_permute(LayerCall& call) {
  const json* value = call.attributes.take({"dims"});
  Chain chain(call);
  const auto rank = static_cast<std::size_t>(chain.shape().rank());
  std::vector<int> axes;
  if (value != nullptr && value->is_array() && value->size() == rank) {
    for (const json& axis : *value) {
      axes.push_back(static_cast<int>(to_integer(axis, "dims", 1)) - 1);
    }
  }
  std::vector<int> sorted = axes;
  std::ranges::sort(sorted);
  std::vector<int> wanted(rank);
  std::iota(wanted.begin(), wanted.end(), 0);
  if (sorted != wanted) {
    throw IoError(fmt::format("dims is {}: the numbers 1 to {}, each once, are needed",
                              value == nullptr ? "missing" : shown(*value), rank));
  }
  return chain.then("permute", graph::Permute{std::move(axes)}).finish();
}

int add_repeat(LayerCall& call) {
  const std::int64_t times = call.attributes.integer({"n"}, 1);
  Chain chain(call);
  if (chain.shape().rank() != 1) {
    throw IoError(fmt::format("it gets {} of a sample: a row is needed", chain.shape().str()));
  }
  chain.then("row", graph::Reshape{Shape{1, chain.shape()[0]}});
  return chain.then("repeat", graph::AxisMap{0, call.builder.charged(repeated(1, times))}).finish();
}

}  // namespace gentrain::keras
