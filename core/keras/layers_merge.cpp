// Layers of several inputs.
#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/keras/layers.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

enum class Merge : std::uint8_t { kSum, kDifference, kProduct, kMean, kMaximum, kMinimum };

/// What a layer of a type, or of a mode of Keras 1, computes.
constexpr std::array<std::pair<std::string_view, Merge>, 10> kMerges = {{
    {"Add", Merge::kSum},
    {"Subtract", Merge::kDifference},
    {"Multiply", Merge::kProduct},
    {"Average", Merge::kMean},
    {"Maximum", Merge::kMaximum},
    {"Minimum", Merge::kMinimum},
    {"sum", Merge::kSum},
    {"mul", Merge::kProduct},
    {"ave", Merge::kMean},
    {"max", Merge::kMaximum},
}};

BinaryFunction function_of(Merge merge) {
  switch (merge) {
    case Merge::kDifference:
      return BinaryFunction::kSubtract;
    case Merge::kProduct:
      return BinaryFunction::kMultiply;
    case Merge::kMaximum:
      return BinaryFunction::kMaximum;
    case Merge::kMinimum:
      return BinaryFunction::kMinimum;
    case Merge::kSum:
    case Merge::kMean:
      break;
  }
  return BinaryFunction::kAdd;
}

void need_several(const LayerCall& call) {
  if (call.inputs.size() < 2) {
    throw IoError(fmt::format("it takes {} inputs: two or more are needed", call.inputs.size()));
  }
}

bool alike(const LayerCall& call) {
  return std::ranges::all_of(
      call.inputs, [&](int input) { return call.shape(input) == call.shape(call.inputs[0]); });
}

/// Inputs one after the other; the last node has the suffix `last`.
int fold(const LayerCall& call, BinaryFunction function, const std::string& last) {
  int node = call.inputs[0];
  for (std::size_t i = 1; i < call.inputs.size(); ++i) {
    const std::string suffix = i + 1 == call.inputs.size() ? last : fmt::format("{}", i);
    node = call.add(suffix, graph::Binary{function}, {node, call.inputs[i]});
  }
  return node;
}

int merge(const LayerCall& call, Merge how) {
  need_several(call);
  if (how == Merge::kDifference && call.inputs.size() != 2) {
    throw IoError(fmt::format("it takes {} inputs: two are needed", call.inputs.size()));
  }
  const bool mean = how == Merge::kMean;
  const bool sum = how == Merge::kSum || mean;
  const std::string last = mean ? "sum" : "";
  const int node = sum && alike(call)
                       ? call.add(last, graph::Addition{}, {call.inputs.begin(), call.inputs.end()})
                       : fold(call, function_of(how), last);
  if (!mean) {
    return node;
  }
  const double part = 1.0 / static_cast<double>(call.inputs.size());
  return call.add("", graph::Pointwise{{PointwiseFunction::kAffine, part, 0}}, {node});
}

int concatenate(const LayerCall& call, std::int64_t axis) {
  need_several(call);
  const int rank = call.shape(call.inputs[0]).rank();
  const int along = sample_axis(axis, rank);
  return call.add("", graph::Concatenation{along == rank - 1 ? -1 : along},
                  {call.inputs.begin(), call.inputs.end()});
}

}  // namespace

int add_merge(LayerCall& call) {
  const auto* const found =
      std::ranges::find(kMerges, call.type, &decltype(kMerges)::value_type::first);
  return merge(call, found->second);
}

int add_concatenate(LayerCall& call) {
  return concatenate(
      call, call.attributes.integer({"axis"}, std::numeric_limits<std::int32_t>::min(), -1));
}

int add_old_merge(LayerCall& call) {
  const std::string mode = call.attributes.text({"mode"}, "sum");
  const std::int64_t axis =
      call.attributes.integer({"concat_axis"}, std::numeric_limits<std::int32_t>::min(), -1);
  call.attributes.take({"dot_axes"});
  call.attributes.expect("mode_type", {"raw"});
  call.attributes.expect("output_shape", {});
  call.attributes.expect("output_shape_type", {"raw"});
  call.attributes.expect("output_mask", {});
  call.attributes.expect("output_mask_type", {"raw"});
  call.attributes.expect("arguments", {json::object()});
  if (mode == "concat") {
    return concatenate(call, axis);
  }
  const auto* const found = std::ranges::find(kMerges, mode, &decltype(kMerges)::value_type::first);
  if (found == kMerges.end()) {
    throw IoError(fmt::format("mode is '{}': sum, mul, ave, max and concat are supported", mode));
  }
  return merge(call, found->second);
}

}  // namespace gentrain::keras
