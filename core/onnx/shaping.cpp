// Operators that give the same elements under other axes. The samples stay along axis 0, or take
// axes of a sample into it (Placed::merged): what would mix samples is refused.
#include <algorithm>
#include <numeric>

#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

std::int64_t product(std::span<const std::int64_t> extents) {
  return std::accumulate(extents.begin(), extents.end(), std::int64_t{1}, std::multiplies<>());
}

/// The node's extents in the file's order, those within the samples' axis first.
std::vector<std::int64_t> all_dims(Call& call, const Placed& x) {
  std::vector<std::int64_t> dims = call.build().dims(x);
  if (x.merged()) {
    dims.insert(dims.begin(), call.build().graph().node(x.node).shape[0]);
  }
  return dims;
}

/// Elements in the file's order under another shape of a sample; `merged`: its first axis is within
/// the samples'.
void give_reshaped(Call& call, const Placed& x, const std::vector<std::int64_t>& to, bool merged) {
  std::vector<int> order = x.axes;
  std::sort(order.begin(), order.end());
  const Placed plain = call.build().arranged(x, order);
  Placed result;
  result.node = call.build().reshaped(plain.node, Shape(to), "");
  result.axes = file_order(static_cast<int>(to.size()));
  if (merged) {
    for (int& axis : result.axes) {
      --axis;
    }
  }
  call.give(result);
}

const Placed& with_samples_first(Call& call) {
  const Placed& x = call.anywhere(0);
  if (x.samples != 0) {
    refuse("it gets the samples along axis {}: only along axis 0 is supported", x.samples);
  }
  return x;
}

/// A target's -1 made the extent that is missing to `count` elements of a sample. `to[0]` is left
/// out: it holds the samples.
std::vector<std::int64_t> completed(std::vector<std::int64_t> to, std::int64_t count,
                                    const std::string& text) {
  const auto free = std::find(to.begin(), to.end(), -1);
  const std::int64_t given =
      count_of(std::vector<std::int64_t>(to.begin(), free), "its shape") *
      (free == to.end() ? 1 : count_of(std::vector<std::int64_t>(free + 1, to.end()), "its shape"));
  if (free != to.end()) {
    if (given == 0 || count % given != 0) {
      refuse("{} elements of a sample do not fit into the shape {}", count, text);
    }
    *free = count / given;
  }
  return to;
}

/// What Reshape's list says, copies of extents (0) resolved.
std::vector<std::int64_t> reshape_target(Call& call, const Placed& x) {
  std::vector<std::int64_t> to = call.integers(1, true);
  const std::vector<std::int64_t> dims = call.build().dims(x);
  const bool zeros = call.attributes().flag("allowzero", false);
  if (to.empty() || std::count(to.begin(), to.end(), -1) > 1) {
    refuse("its shape is {}: one extent or more, at most one of them -1, is needed", text_of(to));
  }
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (to[i] == 0 && !zeros) {
      if (i > dims.size() || (i == 0 && x.merged())) {
        refuse("its shape {} copies axis {}, which its input has not, or with samples in it",
               text_of(to), i);
      }
      to[i] = i == 0 ? kSamples : dims[i - 1];
    }
    if (i > 0 && to[i] == kSamples) {
      refuse("its shape {} has the samples along axis {}, only axis 0 is supported", text_of(to),
             i);
    }
  }
  return to;
}

void reshape(Call& call) {
  const Placed& x = with_samples_first(call);
  const std::vector<std::int64_t> to = reshape_target(call, x);
  const std::int64_t count = product(all_dims(call, x));
  const std::string text = text_of(to);
  const std::vector<std::int64_t> rest(to.begin() + 1, to.end());
  if (to[0] == kSamples || (to[0] == call.samples && to[0] > 0)) {
    std::vector<std::int64_t> sample = completed(rest, count, text);
    if (product(sample) != count) {
      refuse("{} elements of a sample do not fit into the shape {}", count, text);
    }
    return give_reshaped(call, x, sample, false);
  }
  // A free or fixed first extent holds the samples, and axes of each if there is room.
  const bool free_rest = std::find(rest.begin(), rest.end(), -1) != rest.end();
  if (free_rest && (call.samples <= 0 || to[0] % call.samples != 0)) {
    refuse("the shape {} mixes {} elements of each sample with those of others", text, count);
  }
  std::vector<std::int64_t> sample =
      free_rest ? completed(rest, count / std::max<std::int64_t>(1, to[0] / call.samples), text)
                : rest;
  const std::int64_t row = count_of(sample, "its shape");
  if (row == 0 || count % row != 0) {
    refuse("{} elements of a sample do not fit into the shape {}", count, text);
  }
  const std::int64_t rows = count / row;
  if (to[0] != -1 && (call.samples <= 0 || to[0] != rows * call.samples)) {
    refuse("the shape {} mixes {} elements of each sample with those of others", text, count);
  }
  if (rows != 1) {
    sample.insert(sample.begin(), rows);
  }
  give_reshaped(call, x, sample, rows != 1);
}

void flatten(Call& call) {
  const Placed& x = call.placed(0);
  const std::vector<std::int64_t> dims = call.build().dims(x);
  const int rank = Call::rank(x);
  const std::int64_t given = call.attributes().integer("axis", 1);
  if (given < -rank || given > rank) {
    refuse("axis {} is none of {}", given, rank);
  }
  const std::int64_t axis = given < 0 ? given + rank : given;
  if (axis == 0) {
    refuse("axis 0 makes one row of all samples, which is not supported");
  }
  const auto middle = dims.begin() + (axis - 1);
  const std::int64_t rows = product(std::vector<std::int64_t>(dims.begin(), middle));
  const std::int64_t columns = product(std::vector<std::int64_t>(middle, dims.end()));
  if (rows == 1) {
    return give_reshaped(call, x, {columns}, false);
  }
  give_reshaped(call, x, {rows, columns}, true);
}

/// Axes of a list, counted without the samples' axis, ascending.
std::vector<int> sorted_axes(Call& call, const std::vector<std::int64_t>& list, int rank) {
  std::vector<int> axes;
  axes.reserve(list.size());
  for (const std::int64_t axis : list) {
    axes.push_back(call.axis(axis, rank));
  }
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) {
    refuse("its axes are {}: one is there twice", text_of(list));
  }
  return axes;
}

void squeeze(Call& call) {
  const Placed& x = call.placed(0);
  const std::vector<std::int64_t> dims = call.build().dims(x);
  std::vector<int> gone;
  if (const auto list = call.list("axes", 1)) {
    gone = sorted_axes(call, *list, Call::rank(x));
  } else {
    if (call.samples == 1) {
      refuse("it takes away all axes of extent 1, the samples' too: its axes must be given");
    }
    for (std::size_t i = 0; i < dims.size(); ++i) {
      if (dims[i] == 1) {
        gone.push_back(static_cast<int>(i));
      }
    }
  }
  for (const int axis : gone) {
    if (dims[static_cast<std::size_t>(axis)] != 1) {
      refuse("it takes away axis {} of {} for each sample, whose extent is not 1", axis + 1,
             text_of(dims));
    }
  }
  call.give(without_axes(call, x, gone));
}

void unsqueeze(Call& call) {
  const Placed& x = call.placed(0);
  const auto list = call.list("axes", 1);
  if (!list) {
    refuse("its axes are missing");
  }
  const int rank = Call::rank(x) + static_cast<int>(std::min<std::size_t>(list->size(), 64));
  const std::vector<int> made = sorted_axes(call, *list, rank);
  Placed result = x;
  for (const int axis : made) {
    for (int& other : result.axes) {
      other += other >= axis ? 1 : 0;
    }
    result.axes.insert(result.axes.begin(), axis);
  }
  const auto before = call.build().graph().node(x.node).shape.extents();
  std::vector<std::int64_t> extents(made.size(), 1);
  extents.insert(extents.end(), before.begin(), before.end());
  result.node = call.build().reshaped(x.node, Shape(extents), "");
  call.give(result);
}

/// The order of axes alone changes: no node.
void transpose(Call& call) {
  const Placed& x = call.anywhere(0);
  if (x.merged()) {
    refuse("it moves an axis that holds samples and axes of each, which is not supported");
  }
  const int rank = Call::rank(x);
  std::vector<std::int64_t> perm;
  for (int i = rank; i-- > 0;) {
    perm.push_back(i);
  }
  perm = call.attributes().integers("perm").value_or(perm);
  std::vector<std::int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  bool fits = sorted.size() == static_cast<std::size_t>(rank);
  for (std::size_t i = 0; fits && i < sorted.size(); ++i) {
    fits = sorted[i] == static_cast<std::int64_t>(i);
  }
  if (!fits) {
    refuse("its perm is {}: each of the axes 0 to {} once is needed", text_of(perm), rank - 1);
  }
  // Axes with the samples', from the file's place before to the one behind.
  std::vector<int> to(perm.size());
  for (std::size_t i = 0; i < perm.size(); ++i) {
    to[static_cast<std::size_t>(perm[i])] = static_cast<int>(i);
  }
  Placed result = x;
  result.samples = to[static_cast<std::size_t>(x.samples)];
  for (int& axis : result.axes) {
    const int before = axis + (axis >= x.samples ? 1 : 0);
    const int moved = to[static_cast<std::size_t>(before)];
    axis = moved - (moved > result.samples ? 1 : 0);
  }
  call.give(result);
}

void shape(Call& call) {
  const Placed& x = call.placed(0);
  const std::vector<std::int64_t> dims = call.build().dims(x);
  auto result = std::make_shared<Constant>();
  result->name = call.node().outputs.empty() ? "" : call.node().outputs[0];
  result->real = false;
  std::vector<std::int64_t> all{kSamples};
  all.insert(all.end(), dims.begin(), dims.end());
  const auto rank = static_cast<std::int64_t>(all.size());
  const auto place = [&](std::int64_t at) {
    return std::clamp<std::int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  const std::int64_t begin = place(call.attributes().integer("start", 0));
  const std::int64_t end = std::max(begin, place(call.attributes().integer("end", rank)));
  result->integers.assign(all.begin() + begin, all.begin() + end);
  result->dims = {end - begin};
  call.give(ConstantPointer(result));
}

std::int64_t block_size(Call& call) {
  const std::int64_t block = call.attributes().integer("blocksize", 0);
  need_range("blocksize", {&block, 1}, 1, 4096);
  return block;
}

int permuted(Call& call, int node, std::vector<int> axes) {
  return call.build().add(graph::Permute{std::move(axes)}, {node}, "permute");
}

/// [h, w, r r c] to [h r, w r, c]
void depth_to_space(Call& call) {
  const Placed x = call.build().image(call.placed(0));
  const std::int64_t r = block_size(call);
  const std::string mode = call.attributes().text("mode", "DCR");
  const Shape shape = call.build().graph().node(x.node).shape;
  if ((mode != "DCR" && mode != "CRD") || shape[2] % (r * r) != 0) {
    refuse(
        "its mode is {} and its blocksize {} for {} channels: DCR or CRD, and a multiple of {} "
        "channels are needed",
        mode, r, shape[2], r * r);
  }
  const std::int64_t c = shape[2] / (r * r);
  int node = x.node;
  if (mode == "CRD") {  // channels first among the parts of a pixel: to behind them
    node = call.build().reshaped(node, Shape{shape[0] * shape[1], c, r * r});
    node = permuted(call, node, {0, 2, 1});
  }
  node = call.build().reshaped(node, Shape{shape[0], shape[1], r, r * c});
  node = permuted(call, node, {0, 2, 1, 3});
  Placed result = x;
  result.node = call.build().reshaped(node, Shape{shape[0] * r, shape[1] * r, c}, "");
  call.give(result);
}

/// [h r, w r, c] to [h, w, r r c]
void space_to_depth(Call& call) {
  const Placed x = call.build().image(call.placed(0));
  const std::int64_t r = block_size(call);
  const Shape shape = call.build().graph().node(x.node).shape;
  if (shape[0] % r != 0 || shape[1] % r != 0) {
    refuse("its blocksize is {}, which does not divide {} x {}", r, shape[0], shape[1]);
  }
  const std::int64_t h = shape[0] / r;
  const std::int64_t w = shape[1] / r;
  int node = call.build().reshaped(x.node, Shape{h, r, w, r * shape[2]});
  node = permuted(call, node, {0, 2, 1, 3});
  Placed result = x;
  result.node = call.build().reshaped(node, Shape{h, w, r * r * shape[2]}, "");
  call.give(result);
}

constexpr OperatorEntry kShapingEntries[] = {{"Reshape", reshape},
                                             {"Flatten", flatten},
                                             {"Squeeze", squeeze},
                                             {"Unsqueeze", unsqueeze},
                                             {"Transpose", transpose},
                                             {"Shape", shape},
                                             {"DepthToSpace", depth_to_space},
                                             {"SpaceToDepth", space_to_depth}};

}  // namespace

std::span<const OperatorEntry> shape_operators() {
  return kShapingEntries;
}

Placed without_axes(Call& call, const Placed& x, const std::vector<int>& gone) {
  const Shape& shape = call.build().graph().node(x.node).shape;
  Placed result = x;
  result.axes.clear();
  std::vector<std::int64_t> extents;
  for (std::size_t i = 0; i < x.axes.size(); ++i) {
    const int axis = x.axes[i];
    if (std::find(gone.begin(), gone.end(), axis) != gone.end()) {
      continue;
    }
    const auto before = std::count_if(gone.begin(), gone.end(),
                                      [&](int other) { return axis >= 0 && other < axis; });
    result.axes.push_back(axis - static_cast<int>(before));
    extents.push_back(shape[static_cast<int>(i)]);
  }
  result.node = call.build().reshaped(x.node, Shape(extents));
  return result;
}

}  // namespace gentrain::onnx
