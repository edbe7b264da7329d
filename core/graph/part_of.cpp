// Copying the nodes that are needed.
#include "core/graph/part_of.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/graph/axis_rows.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

using ops::AxisRows;

constexpr double kMostPositions = 1048576;  // 2^20, of an axis, as in models that are read

/// How many positions at the ends of an axis are left out, and how many empty ones are put there.
struct Shift {
  std::int64_t empty_before = 0, empty_behind = 0;
  std::int64_t cropped_before = 0, cropped_behind = 0;
};

AxisRows shifted(const Shift& shift, std::int64_t extent, float fill) {
  std::vector<std::int64_t> sources(static_cast<std::size_t>(shift.empty_before), -1);
  for (std::int64_t i = shift.cropped_before; i < extent - shift.cropped_behind; ++i) {
    sources.push_back(i);
  }
  sources.insert(sources.end(), static_cast<std::size_t>(shift.empty_behind), -1);
  return copied_rows(extent, sources, fill);
}

AxisRows repeated(std::int64_t times, std::int64_t extent, float fill) {
  std::vector<std::int64_t> sources;
  for (std::int64_t i = 0; i < extent * times; ++i) {
    sources.push_back(i / times);
  }
  return copied_rows(extent, sources, fill);
}

/// The shift that gives the rows, if there is one: read off their ends, then held against all.
std::optional<Shift> shift_of(const AxisRows& rows) {
  const auto count = static_cast<std::size_t>(rows.to());
  std::size_t first = 0;
  std::size_t last = count;
  while (first < count && rows.begins[first + 1] == 0) {
    ++first;
  }
  while (last > first && rows.begins[last - 1] == rows.begins[last]) {
    --last;
  }
  if (2 * static_cast<std::int64_t>(last - first) <= rows.from) {
    return std::nullopt;
  }
  const Shift shift{.empty_before = static_cast<std::int64_t>(first),
                    .empty_behind = static_cast<std::int64_t>(count - last),
                    .cropped_before = rows.sources.front(),
                    .cropped_behind = rows.from - 1 - rows.sources.back()};
  return shifted(shift, rows.from, rows.fill) == rows ? std::optional(shift) : std::nullopt;
}

/// The same map of an axis of another extent; null if it is unknown what that is.
std::shared_ptr<const AxisRows> of_extent(const AxisRows& rows, std::int64_t extent) {
  if (const std::optional<Shift> shift = shift_of(rows)) {
    const bool some = shift->cropped_before + shift->cropped_behind < extent;
    return some ? std::make_shared<const AxisRows>(shifted(*shift, extent, rows.fill)) : nullptr;
  }
  const std::int64_t times = rows.to() / rows.from;
  return times > 0 && repeated(times, rows.from, rows.fill) == rows
             ? std::make_shared<const AxisRows>(repeated(times, extent, rows.fill))
             : nullptr;
}

/// A node's kind for an input of the shape that images of another size give.
NodeKind resized(const Graph& graph, const Node& node, const Shape& input) {
  const auto* map = std::get_if<AxisMap>(&node.kind);
  if (map == nullptr || map->axis >= input.rank() || map->rows->from == input[map->axis]) {
    return node.kind;
  }
  if (static_cast<double>(input[map->axis]) * static_cast<double>(map->rows->to()) /
          static_cast<double>(map->rows->from) >
      kMostPositions) {
    throw ShapeError(fmt::format("{} ({}): {} positions are too many, at most 2^20 come out",
                                 node.name, name_of(node.kind), input[map->axis]));
  }
  auto rows = of_extent(*map->rows, input[map->axis]);
  if (rows == nullptr) {
    const Shape& image = graph.node(graph.inputs()[0]).shape;
    throw ShapeError(fmt::format(
        "{} ({}): does not take images of another size than {}", node.name, name_of(node.kind),
        image.rank() == 3 ? fmt::format("{} x {}", image[0], image[1]) : image.str()));
  }
  return AxisMap{map->axis, std::move(rows)};
}

}  // namespace

Graph part_of(const Graph& graph, std::span<const std::string> names, const Shape& image) {
  if (graph.inputs().size() != 1) {
    throw ShapeError(
        fmt::format("the network has {} inputs, one image is given", graph.inputs().size()));
  }
  std::vector<int> wanted;
  for (const std::string& name : names) {
    const int node = graph.index_of(name);
    if (std::ranges::find(wanted, node) == wanted.end()) {
      wanted.push_back(node);
    }
  }
  const std::vector<bool> needed = needed_for(graph, wanted);
  std::vector<int> places(static_cast<std::size_t>(graph.size()), -1);
  Graph part;
  for (int i = 0; i < graph.size(); ++i) {
    if (!needed[static_cast<std::size_t>(i)]) {
      continue;
    }
    const Node& node = graph.node(i);
    std::vector<int> inputs;
    for (const int input : node.inputs) {
      inputs.push_back(places[static_cast<std::size_t>(input)]);
    }
    NodeKind kind = inputs.empty() ? node.kind : resized(graph, node, part.node(inputs[0]).shape);
    if (std::holds_alternative<Input>(node.kind)) {
      kind = Input{image};
    }
    places[static_cast<std::size_t>(i)] =
        part.add(node.name, std::move(kind), std::move(inputs), node.parameters);
  }
  std::vector<int> outputs;
  for (const int node : wanted) {
    outputs.push_back(places[static_cast<std::size_t>(node)]);
  }
  part.set_outputs(std::move(outputs));
  return part;
}

}  // namespace gentrain::graph
