// Operators that pick, repeat and join positions along axes: all but Concat are AxisMaps.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>

#include "core/graph/axis_rows.h"
#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

constexpr std::int64_t kMostPlaces = std::int64_t{1} << 24;

std::int64_t extent_of(Call& call, const Placed& x, int axis) {
  return call.build().dims(x)[static_cast<std::size_t>(axis)];
}

/// x at some positions of an axis (-1: `fill`); x itself if they are all of them in order.
Placed picked(Call& call, const Placed& x, int axis, const std::vector<std::int64_t>& positions,
              float fill = 0) {
  const std::int64_t extent = extent_of(call, x, axis);
  if (positions.empty()) {
    refuse("it would leave nothing of axis {}", axis + 1);
  }
  bool all = static_cast<std::int64_t>(positions.size()) == extent;
  for (std::size_t i = 0; all && i < positions.size(); ++i) {
    all = positions[i] == static_cast<std::int64_t>(i);
  }
  if (all) {
    return x;
  }
  call.build().budget().charge(static_cast<std::int64_t>(positions.size()));
  return call.build().mapped(x, axis, graph::copied_rows(extent, positions, fill), "picked");
}

void concat(Call& call) {
  const Placed& first = call.placed(0);
  const int axis = call.axis(call.attributes().integer("axis", 1), Call::rank(first));
  if (call.inputs() == 1) {
    return call.give(first);
  }
  std::vector<int> nodes;
  for (int i = 0; i < call.inputs(); ++i) {
    const Placed& x = call.placed(i);
    if (x.axes.size() != first.axes.size()) {
      refuse("its inputs have {} and {} axes for each sample", first.axes.size(), x.axes.size());
    }
    nodes.push_back(call.build().arranged(x, first.axes).node);
  }
  Placed result = first;
  result.node =
      call.build().add(graph::Concatenation{Builder::position(first, axis)}, std::move(nodes));
  call.give(result);
}

/// Extents of the parts of a Split.
std::vector<std::int64_t> parts_of(Call& call, std::int64_t extent) {
  if (const auto list = call.list("split", 1)) {
    need_range("split", *list, 0, extent);
    std::int64_t sum = 0;
    for (const std::int64_t part : *list) {
      sum += part;
    }
    if (sum != extent || list->size() != call.node().outputs.size()) {
      refuse("its parts are {}: as many as its {} outputs with the sum {} are needed",
             text_of(*list), call.node().outputs.size(), extent);
    }
    return *list;
  }
  const auto outputs = static_cast<std::int64_t>(call.node().outputs.size());
  const std::int64_t count = call.attributes().integer("num_outputs", outputs);
  if (count != outputs || count < 1) {
    refuse("its num_outputs is {} but it has {} outputs", count, outputs);
  }
  const std::int64_t part = (extent + count - 1) / count;
  std::vector<std::int64_t> parts(static_cast<std::size_t>(count), part);
  parts.back() = extent - part * (count - 1);
  if (parts.back() < 1 || (call.opset() < 18 && parts.back() != part)) {
    refuse("{} positions cannot be split into {} parts", extent, count);
  }
  return parts;
}

void split(Call& call) {
  const Placed& x = call.placed(0);
  const int axis = call.axis(call.attributes().integer("axis", 0), Call::rank(x));
  const std::int64_t extent = extent_of(call, x, axis);
  std::int64_t begin = 0;
  for (const std::int64_t part : parts_of(call, extent)) {
    call.build().budget().charge(part);
    std::vector<std::int64_t> positions(static_cast<std::size_t>(part));
    for (std::int64_t& position : positions) {
      position = begin++;
    }
    call.give(picked(call, x, axis, positions));
  }
}

/// starts, ends, axes and steps: attributes up to opset 9, inputs behind.
struct SliceLists {
  std::vector<std::int64_t> starts, ends, axes, steps;
};

SliceLists slice_lists(Call& call) {
  SliceLists lists;
  const auto starts = call.list("starts", 1);
  const auto ends = call.list("ends", 2);
  if (!starts || !ends) {
    refuse("its starts or ends are missing");
  }
  lists.starts = *starts;
  lists.ends = *ends;
  std::vector<std::int64_t> all(starts->size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<std::int64_t>(i);
  }
  lists.axes = call.list("axes", 3).value_or(all);
  lists.steps = call.has(4) ? call.integers(4) : std::vector<std::int64_t>(all.size(), 1);
  if (ends->size() != all.size() || lists.axes.size() != all.size() ||
      lists.steps.size() != all.size()) {
    refuse("its starts, ends, axes and steps are {}, {}, {} and {}, one of each is needed",
           text_of(lists.starts), text_of(lists.ends), text_of(lists.axes), text_of(lists.steps));
  }
  return lists;
}

/// Whether a slice of the samples leaves them as they are.
bool takes_all_samples(const Call& call, const SliceLists& lists, std::size_t i) {
  return lists.starts[i] == 0 && lists.steps[i] == 1 &&
         (lists.ends[i] >= std::numeric_limits<std::int32_t>::max() ||
          (call.samples > 0 && lists.ends[i] >= call.samples));
}

void slice(Call& call) {
  const Placed& x = call.placed(0);
  const SliceLists lists = slice_lists(call);
  const int rank = Call::rank(x);
  Placed result = x;
  for (std::size_t i = 0; i < lists.starts.size(); ++i) {
    if ((lists.axes[i] == 0 || lists.axes[i] == -rank) && takes_all_samples(call, lists, i)) {
      continue;
    }
    const int axis = call.axis(lists.axes[i], rank);
    result = picked(call, result, axis,
                    sliced_positions(extent_of(call, result, axis), lists.starts[i], lists.ends[i],
                                     lists.steps[i], call.build().budget()));
  }
  call.give(result);
}

/// Along one axis, a list or a single position, which takes the axis away.
void gather(Call& call) {
  const Placed& x = call.placed(0);
  const int axis = call.axis(call.attributes().integer("axis", 0), Call::rank(x));
  const std::int64_t extent = extent_of(call, x, axis);
  std::vector<std::int64_t> positions = call.integers(1);
  for (std::int64_t& position : positions) {
    if (position < -extent || position >= extent) {
      refuse("it picks position {} of {} along axis {}", position, extent, axis + 1);
    }
    position += position < 0 ? extent : 0;
  }
  const Placed result = picked(call, x, axis, positions);
  call.give(call.constant(1)->rank() == 0 ? without_axes(call, result, {axis}) : result);
}

/// Where a position beyond an axis comes from; -1: from the constant.
std::int64_t padded_position(const std::string& mode, std::int64_t at, std::int64_t extent) {
  if (at >= 0 && at < extent) {
    return at;
  }
  if (mode == "edge") {
    return at < 0 ? 0 : extent - 1;
  }
  if (mode == "reflect") {
    return at < 0 ? -at : 2 * (extent - 1) - at;
  }
  if (mode == "wrap") {
    return (at % extent + extent) % extent;
  }
  return -1;
}

Placed padded(Call& call, const Placed& x, int axis, std::array<std::int64_t, 2> pads,
              const std::string& mode, float fill) {
  const std::int64_t extent = extent_of(call, x, axis);
  need_range("pads", pads, -kMostPlaces, kMostPlaces);
  if (mode == "reflect" && std::max(pads[0], pads[1]) >= extent) {
    refuse("its pads of {} and {} by reflection need more than the {} positions of axis {}",
           pads[0], pads[1], extent, axis + 1);
  }
  std::vector<std::int64_t> positions;
  call.build().budget().charge(std::max<std::int64_t>(0, extent + pads[0] + pads[1]));
  for (std::int64_t at = -pads[0]; at < extent + pads[1]; ++at) {
    positions.push_back(padded_position(mode, at, extent));
  }
  return picked(call, x, axis, positions, fill);
}

void pad(Call& call) {
  const Placed& x = call.placed(0);
  const std::string mode = call.attributes().text("mode", "constant");
  if (mode != "constant" && mode != "edge" && mode != "reflect" && mode != "wrap") {
    refuse("its mode is '{}': constant, edge, reflect or wrap is needed", mode);
  }
  const auto pads = call.list("pads", 1);
  const double fill = call.has(2) ? call.number(2) : call.attributes().real("value", 0);
  const int rank = Call::rank(x);
  std::vector<std::int64_t> axes(static_cast<std::size_t>(rank));
  for (int i = 0; i < rank; ++i) {
    axes[static_cast<std::size_t>(i)] = i;
  }
  if (call.has(3)) {
    axes = call.integers(3);
  }
  if (!pads || pads->size() != 2 * axes.size()) {
    refuse("its pads are {}, two for each of the axes {} are needed",
           pads ? text_of(*pads) : "missing", text_of(axes));
  }
  Placed result = x;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::array<std::int64_t, 2> both{(*pads)[i], (*pads)[i + axes.size()]};
    if (both[0] != 0 || both[1] != 0) {
      result = padded(call, result, call.axis(axes[i], rank), both, mode, static_cast<float>(fill));
    }
  }
  call.give(result);
}

/// x with an axis of extent 1 repeated, or all of it `times`.
Placed repeated(Call& call, const Placed& x, int axis, std::int64_t times) {
  need_range("repetitions", {&times, 1}, 1, kMostPlaces);
  const std::int64_t extent = extent_of(call, x, axis);
  call.build().budget().charge(count_of(std::array{extent, times}, "its result"));
  std::vector<std::int64_t> positions(static_cast<std::size_t>(extent * times));
  for (std::size_t i = 0; i < positions.size(); ++i) {
    positions[i] = static_cast<std::int64_t>(i) % extent;
  }
  return picked(call, x, axis, positions);
}

void expand(Call& call) {
  const Placed& x = call.placed(0);
  const std::vector<std::int64_t> to = call.integers(1, true);
  const int rank = Call::rank(x);
  if (to.size() > static_cast<std::size_t>(rank)) {
    refuse("it expands {} to the shape {}: more axes would move the samples'",
           text_of(call.build().dims(x)), text_of(to));
  }
  Placed result = x;
  const int missing = rank - static_cast<int>(to.size());
  for (std::size_t i = 0; i < to.size(); ++i) {
    const int axis = static_cast<int>(i) + missing - 1;
    const std::int64_t wanted = to[i];
    if (axis < 0) {
      if (wanted != kSamples && wanted != 1 && wanted != call.samples) {
        refuse("it expands the samples to {}", wanted);
      }
      continue;
    }
    const std::int64_t extent = extent_of(call, result, axis);
    if (wanted == extent || wanted == 1) {
      continue;
    }
    if (extent != 1 || wanted == kSamples) {
      refuse("it expands {} to the shape {}", text_of(call.build().dims(x)), text_of(to));
    }
    result = repeated(call, result, axis, wanted);
  }
  call.give(result);
}

void tile(Call& call) {
  const Placed& x = call.placed(0);
  const std::vector<std::int64_t> times = call.integers(1);
  if (times.size() != static_cast<std::size_t>(Call::rank(x)) || times[0] != 1) {
    refuse("its repeats are {}: one for each axis, and 1 for the samples', are needed",
           text_of(times));
  }
  Placed result = x;
  for (std::size_t i = 1; i < times.size(); ++i) {
    result = repeated(call, result, static_cast<int>(i) - 1, times[i]);
  }
  call.give(result);
}

constexpr OperatorEntry kSlicingEntries[] = {
    {"Concat", concat}, {"Split", split},   {"Slice", slice}, {"Gather", gather},
    {"Pad", pad},       {"Expand", expand}, {"Tile", tile}};

}  // namespace

std::span<const OperatorEntry> slice_operators() {
  return kSlicingEntries;
}

std::vector<std::int64_t> sliced_positions(std::int64_t extent, std::int64_t begin,
                                           std::int64_t end, std::int64_t step, Budget& budget) {
  if (step == 0) {
    refuse("one of its steps is 0");
  }
  const std::int64_t low = step > 0 ? 0 : -1;
  const std::int64_t high = step > 0 ? extent : extent - 1;
  const auto place = [&](std::int64_t at) {
    return std::clamp(at < 0 ? std::max(at, -extent - 1) + extent : at, low, high);
  };
  const std::int64_t first = place(begin);
  const std::int64_t last = place(end);
  // A step may be as large as any integer; of an empty axis it does not matter.
  const std::int64_t most = std::max<std::int64_t>(extent, 1);
  const std::int64_t by = std::clamp(step, -most, most);
  const std::int64_t way = by > 0 ? last - first : first - last;
  const std::int64_t count = way <= 0 ? 0 : (way - 1) / std::abs(by) + 1;
  budget.charge(count);
  std::vector<std::int64_t> positions(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    positions[static_cast<std::size_t>(i)] = first + i * by;
  }
  return positions;
}

}  // namespace gentrain::onnx
