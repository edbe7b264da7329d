// What both exporters need: axis maps as padding, copies and matrices, and orders of axes.
#include "core/graph/exported.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::graph {

namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 24;

using Index = std::size_t;

/// The source of a position if that is a copy of one, else -1.
std::int64_t copied(const ops::AxisRows& rows, std::int64_t position) {
  const auto begin = static_cast<Index>(rows.begins[static_cast<Index>(position)]);
  const auto end = static_cast<Index>(rows.begins[static_cast<Index>(position) + 1]);
  return end - begin == 1 && rows.weights[begin] == 1 ? rows.sources[begin] : -1;
}

bool is_empty(const ops::AxisRows& rows, std::int64_t position) {
  return rows.begins[static_cast<Index>(position)] == rows.begins[static_cast<Index>(position) + 1];
}

}  // namespace

void need_own_samples(const ExportedModel& model) {
  for (const auto* tensors : {&model.inputs, &model.outputs}) {
    for (const ImportedTensor& tensor : *tensors) {
      if (std::ranges::any_of(tensor.axes, [](int axis) { return axis < 0; })) {
        throw JobError(fmt::format("{} cannot be exported: its samples are rows of several samples",
                                   tensor.name));
      }
    }
  }
}

std::optional<Ends> ends_of(const ops::AxisRows& rows) {
  const std::int64_t to = rows.to();
  std::int64_t first = 0;
  while (first < to && is_empty(rows, first)) {
    ++first;
  }
  if (first == to || copied(rows, first) < 0) {
    return std::nullopt;
  }
  const std::int64_t before = first - copied(rows, first);
  for (std::int64_t i = 0; i < to; ++i) {
    const std::int64_t source = i - before;
    const bool inside = source >= 0 && source < rows.from;
    if (inside ? copied(rows, i) != source : !is_empty(rows, i)) {
      return std::nullopt;
    }
  }
  return Ends{before, to - rows.from - before};
}

std::optional<std::vector<std::int64_t>> copies_of(const ops::AxisRows& rows) {
  std::vector<std::int64_t> sources;
  for (std::int64_t i = 0; i < rows.to(); ++i) {
    sources.push_back(copied(rows, i));
    if (sources.back() < 0) {
      return std::nullopt;
    }
  }
  return sources;
}

std::vector<float> matrix_of(const ops::AxisRows& rows) {
  const std::int64_t to = rows.to();
  if (rows.from > kMostElements / to) {
    throw JobError(
        fmt::format("it makes {} positions of {} along an axis: a matrix of so many elements is "
                    "too large, at most {} are supported",
                    to, rows.from, kMostElements));
  }
  std::vector<float> matrix(static_cast<Index>(rows.from * to), 0);
  for (std::int64_t i = 0; i < to; ++i) {
    const auto end = static_cast<Index>(rows.begins[static_cast<Index>(i) + 1]);
    for (auto term = static_cast<Index>(rows.begins[static_cast<Index>(i)]); term < end; ++term) {
      matrix[static_cast<Index>(rows.sources[term] * to + i)] += rows.weights[term];
    }
  }
  return matrix;
}

std::vector<float> fills_of(const ops::AxisRows& rows) {
  std::vector<float> fills(static_cast<Index>(rows.to()), 0);
  for (std::int64_t i = 0; i < rows.to(); ++i) {
    fills[static_cast<Index>(i)] = is_empty(rows, i) ? rows.fill : 0;
  }
  const bool all_zero = std::ranges::all_of(fills, [](float value) { return value == 0; });
  return all_zero ? std::vector<float>() : fills;
}

std::vector<float> in_order(const std::vector<float>& values, const Shape& shape,
                            const std::vector<int>& axes) {
  const Index rank = axes.size();
  std::vector<std::int64_t> strides(rank, 1);  // of what comes
  for (Index i = rank; i-- > 1;) {
    strides[i - 1] = strides[i] * shape[static_cast<int>(i)];
  }
  std::vector<float> result(values.size());
  std::vector<std::int64_t> at(rank, 0);
  std::int64_t source = 0;
  for (float& value : result) {
    value = values[static_cast<Index>(source)];
    for (Index i = rank; i-- > 0;) {
      const std::int64_t stride = strides[static_cast<Index>(axes[i])];
      source += stride;
      if (++at[i] < shape[axes[i]]) {
        break;
      }
      source -= stride * shape[axes[i]];
      at[i] = 0;
    }
  }
  return result;
}

std::vector<int> inverse(const std::vector<int>& axes) {
  std::vector<int> result(axes.size());
  for (Index i = 0; i < axes.size(); ++i) {
    result.at(static_cast<Index>(axes[i])) = static_cast<int>(i);
  }
  return result;
}

bool keeps_order(const std::vector<int>& axes) {
  return std::ranges::is_sorted(axes);
}

bool is_given(const Node& node) {
  return std::holds_alternative<Constant>(node.kind) || std::holds_alternative<Variable>(node.kind);
}

std::vector<float> given_values(const ExportedModel& model, const Node& node) {
  if (const auto* constant = std::get_if<Constant>(&node.kind)) {
    return *constant->values;
  }
  return model.values(node.parameters + "/value");
}

}  // namespace gentrain::graph
