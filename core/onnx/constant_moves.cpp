// Constants made and moved: every result is elements of the inputs in some order.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

using Dims = std::vector<std::int64_t>;

std::string output_name(const Call& call) {
  return call.node().outputs.empty() ? "" : call.node().outputs[0];
}

/// Elements of `from`, in the order of `sources`, under the extents `dims`.
void give_moved(Call& call, const Constant& from, Dims dims,
                const std::vector<std::int64_t>& sources) {
  auto result = std::make_shared<Constant>();
  result->name = from.name;
  result->real = from.real;
  result->dims = std::move(dims);
  for (const std::int64_t source : sources) {
    if (from.real) {
      result->reals.push_back(from.reals[static_cast<std::size_t>(source)]);
    } else {
      result->integers.push_back(from.integers[static_cast<std::size_t>(source)]);
    }
  }
  call.give(ConstantPointer(result));
}

void give_under(Call& call, const Constant& from, Dims dims) {
  if (dims == from.dims) {
    return call.give(call.value(0));
  }
  call.build().budget().charge(from.size());
  auto result = std::make_shared<Constant>(from);
  result->dims = std::move(dims);
  call.give(ConstantPointer(result));
}

/// Of an axis that may count from the end; 0 of a scalar that becomes a list.
std::size_t axis_of(std::int64_t axis, std::size_t rank) {
  const auto count = static_cast<std::int64_t>(rank);
  if (axis < -count || axis >= count) {
    refuse("axis {} is none of {}", axis, rank);
  }
  return static_cast<std::size_t>(axis < 0 ? axis + count : axis);
}

/// Extents before, at and behind an axis: an array of three axes.
struct Around {
  std::int64_t before = 1, at = 1, behind = 1;
};

Around around(const Dims& dims, std::size_t axis) {
  const auto middle = dims.begin() + static_cast<std::ptrdiff_t>(axis);
  return {std::accumulate(dims.begin(), middle, std::int64_t{1}, std::multiplies<>()), *middle,
          std::accumulate(middle + 1, dims.end(), std::int64_t{1}, std::multiplies<>())};
}

/// `positions` along an axis, which takes the extents `dims` in its place.
void give_picked(Call& call, const Constant& from, std::size_t axis, const Dims& positions,
                 const Dims& dims) {
  const Around extents = around(from.dims, axis);
  Dims to(from.dims.begin(), from.dims.begin() + static_cast<std::ptrdiff_t>(axis));
  to.insert(to.end(), dims.begin(), dims.end());
  to.insert(to.end(), from.dims.begin() + static_cast<std::ptrdiff_t>(axis) + 1, from.dims.end());
  const std::int64_t count = count_of(to, "its result");
  call.build().budget().charge(count);
  Dims sources;
  if (count == 0) {  // the other extents may be any
    return give_moved(call, from, std::move(to), sources);
  }
  for (std::int64_t i = 0; i < extents.before; ++i) {
    for (const std::int64_t position : positions) {
      for (std::int64_t k = 0; k < extents.behind; ++k) {
        sources.push_back((i * extents.at + position) * extents.behind + k);
      }
    }
  }
  give_moved(call, from, std::move(to), sources);
}

void constant(Call& call) {
  Attributes& attributes = call.attributes();
  auto result = std::make_shared<Constant>();
  if (const Tensor* const stored = attributes.tensor("value")) {
    Tensor tensor = *stored;
    tensor.name = output_name(call);
    if (tensor.external) {
      refuse("its value lies in a file of its own, which only initializers may");
    }
    ExternalData none{std::filesystem::path()};
    return call.give(to_constant(tensor, none, call.build().budget()));
  }
  result->name = output_name(call);
  if (attributes.has("value_float") || attributes.has("value_floats")) {
    result->reals = attributes.has("value_floats")
                        ? *attributes.reals("value_floats")
                        : std::vector{static_cast<float>(attributes.real("value_float", 0))};
  } else if (attributes.has("value_int") || attributes.has("value_ints")) {
    result->real = false;
    result->integers = attributes.has("value_ints") ? *attributes.integers("value_ints")
                                                    : Dims{attributes.integer("value_int", 0)};
  } else {
    refuse("it has no value of numbers, which alone are supported");
  }
  if (attributes.has("value_floats") || attributes.has("value_ints")) {
    result->dims = {result->size()};
  }
  call.give(ConstantPointer(result));
}

void constant_of_shape(Call& call) {
  const Dims dims = call.integers(0);
  const std::int64_t count = count_of(dims, "its result");
  call.build().budget().charge(count);
  auto result = std::make_shared<Constant>();
  result->name = output_name(call);
  result->dims = dims;
  Tensor value;
  if (const Tensor* const stored = call.attributes().tensor("value")) {
    value = *stored;
  } else {
    value.dims = {1};
    value.bytes.assign(sizeof(float), '\0');
  }
  ExternalData none{std::filesystem::path()};
  if (value.external) {
    refuse("its value lies in a file of its own, which only initializers may");
  }
  const ConstantPointer element = to_constant(value, none, call.build().budget());
  if (element->size() != 1) {
    refuse("its value has {} elements, one is needed", element->size());
  }
  result->real = element->real;
  if (result->real) {
    result->reals.assign(static_cast<std::size_t>(count), element->reals[0]);
  } else {
    result->integers.assign(static_cast<std::size_t>(count), element->integers[0]);
  }
  call.give(ConstantPointer(result));
}

void range(Call& call) {
  const double begin = call.number(0);
  const double end = call.number(1);
  const double step = call.number(2);
  const double count = std::ceil((end - begin) / step);
  if (!std::isfinite(count) || count > 1e9) {
    refuse("it counts from {} to {} by {}", begin, end, step);
  }
  const auto steps = static_cast<std::int64_t>(std::max(0.0, count));
  call.build().budget().charge(steps);
  auto result = std::make_shared<Constant>();
  result->name = output_name(call);
  result->real = call.constant(0)->real;
  result->dims = {steps};
  for (std::int64_t i = 0; i < steps; ++i) {
    const double value = begin + static_cast<double>(i) * step;
    if (result->real) {
      result->reals.push_back(static_cast<float>(value));
    } else {
      result->integers.push_back(static_cast<std::int64_t>(value));
    }
  }
  call.give(ConstantPointer(result));
}

void move_identity(Call& call) {
  call.give(call.value(0));
}

void move_shape(Call& call) {
  const Constant& from = *call.constant(0);
  const auto rank = static_cast<std::int64_t>(from.rank());
  const auto place = [&](std::int64_t at) {
    return std::clamp<std::int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  const std::int64_t begin = place(call.attributes().integer("start", 0));
  const std::int64_t end = std::max(begin, place(call.attributes().integer("end", rank)));
  auto result = std::make_shared<Constant>();
  result->name = output_name(call);
  result->real = false;
  result->integers.assign(from.dims.begin() + begin, from.dims.begin() + end);
  result->dims = {end - begin};
  call.give(ConstantPointer(result));
}

void move_reshape(Call& call) {
  const Constant& from = *call.constant(0);
  Dims to = call.integers(1);
  const bool zeros = call.attributes().flag("allowzero", false);
  std::int64_t given = 1;
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (to[i] == 0 && !zeros && i < from.dims.size()) {
      to[i] = from.dims[i];
    }
    given = to[i] == -1 ? given : count_of(Dims{given, to[i]}, "its shape");
  }
  const auto free = std::find(to.begin(), to.end(), -1);
  if (free != to.end()) {
    *free = given == 0 ? 0 : from.size() / given;
  }
  if (std::count(to.begin(), to.end(), -1) > 0 || count_of(to, "its shape") != from.size()) {
    refuse("{} elements do not fit into the shape {}", from.size(), text_of(call.integers(1)));
  }
  give_under(call, from, std::move(to));
}

void move_squeeze(Call& call) {
  const Constant& from = *call.constant(0);
  const auto list = call.list("axes", 1);
  std::vector<bool> gone(from.dims.size(), !list);
  for (const std::int64_t axis : list.value_or(Dims())) {
    const std::size_t at = axis_of(axis, from.dims.size());
    gone[at] = true;
    if (from.dims[at] != 1) {
      refuse("it takes away axis {} of {}, whose extent is not 1", axis, text_of(from.dims));
    }
  }
  Dims to;
  for (std::size_t i = 0; i < from.dims.size(); ++i) {
    if (!gone[i] || from.dims[i] != 1) {
      to.push_back(from.dims[i]);
    }
  }
  give_under(call, from, std::move(to));
}

void move_unsqueeze(Call& call) {
  const Constant& from = *call.constant(0);
  const auto list = call.list("axes", 1);
  if (!list || list->size() > 64) {
    refuse("its axes are missing or too many");
  }
  std::vector<bool> made(from.dims.size() + list->size(), false);
  for (const std::int64_t axis : *list) {
    made[axis_of(axis, made.size())] = true;
  }
  if (std::count(made.begin(), made.end(), true) != static_cast<std::ptrdiff_t>(list->size())) {
    refuse("its axes are {}: one is there twice", text_of(*list));
  }
  Dims to;
  auto next = from.dims.begin();
  for (const bool one : made) {
    to.push_back(one ? 1 : *next++);
  }
  give_under(call, from, std::move(to));
}

void move_transpose(Call& call) {
  const Constant& from = *call.constant(0);
  Dims perm(from.dims.size());
  std::iota(perm.rbegin(), perm.rend(), 0);
  perm = call.attributes().integers("perm").value_or(perm);
  Dims sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  Dims all(from.dims.size());
  std::iota(all.begin(), all.end(), 0);
  if (sorted != all) {
    refuse("its perm is {} for the extents {}", text_of(perm), text_of(from.dims));
  }
  Dims to;
  std::vector<std::int64_t> strides(perm.size(), 1);
  for (std::size_t i = perm.size(); i-- > 1;) {
    strides[i - 1] = strides[i] * from.dims[i];
  }
  for (const std::int64_t axis : perm) {
    to.push_back(from.dims[static_cast<std::size_t>(axis)]);
  }
  call.build().budget().charge(from.size());
  Dims sources(static_cast<std::size_t>(from.size()));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    auto rest = static_cast<std::int64_t>(i);
    for (std::size_t k = perm.size(); k-- > 0;) {
      sources[i] += rest % to[k] * strides[static_cast<std::size_t>(perm[k])];
      rest /= to[k];
    }
  }
  give_moved(call, from, std::move(to), sources);
}

void move_concat(Call& call) {
  const Constant& first = *call.constant(0);
  const std::size_t axis = axis_of(call.attributes().integer("axis", 0), first.dims.size());
  auto result = std::make_shared<Constant>(first);
  result->reals.clear();
  result->integers.clear();
  result->dims[axis] = 0;
  for (int i = 0; i < call.inputs(); ++i) {
    const Constant& part = *call.constant(i);
    Dims extents = part.dims;
    if (part.real != first.real || extents.size() != first.dims.size()) {
      refuse("its inputs {} and {} do not fit", first.name, part.name);
    }
    result->dims[axis] += extents[axis];
    extents[axis] = first.dims[axis];
    if (extents != first.dims) {
      refuse("its inputs {} and {} do not fit", text_of(first.dims), text_of(part.dims));
    }
  }
  const std::int64_t count = count_of(result->dims, "its result");
  call.build().budget().charge(count);
  if (count == 0) {  // the other extents may be any
    return call.give(ConstantPointer(result));
  }
  const std::int64_t before = around(first.dims, axis).before;
  for (std::int64_t row = 0; row < before; ++row) {
    for (int i = 0; i < call.inputs(); ++i) {
      const Constant& part = *call.constant(i);
      const std::int64_t length = part.size() / std::max<std::int64_t>(1, before);
      if (part.real) {
        result->reals.insert(result->reals.end(), part.reals.begin() + row * length,
                             part.reals.begin() + (row + 1) * length);
      } else {
        result->integers.insert(result->integers.end(), part.integers.begin() + row * length,
                                part.integers.begin() + (row + 1) * length);
      }
    }
  }
  call.give(ConstantPointer(result));
}

void move_gather(Call& call) {
  const Constant& from = *call.constant(0);
  const std::size_t axis = axis_of(call.attributes().integer("axis", 0), from.dims.size());
  const Constant& picks = *call.constant(1);
  if (picks.real) {
    refuse("its positions are no integers");
  }
  Dims positions = picks.integers;
  for (std::int64_t& position : positions) {
    if (position < -from.dims[axis] || position >= from.dims[axis]) {
      refuse("it picks position {} of {}", position, from.dims[axis]);
    }
    position += position < 0 ? from.dims[axis] : 0;
  }
  give_picked(call, from, axis, positions, picks.dims);
}

void move_slice(Call& call) {
  ConstantPointer current = call.constant(0);
  const auto starts = call.list("starts", 1);
  const auto ends = call.list("ends", 2);
  if (!starts || !ends) {
    refuse("its starts or ends are missing");
  }
  Dims all(starts->size());
  std::iota(all.begin(), all.end(), 0);
  const Dims axes = call.list("axes", 3).value_or(all);
  const Dims steps = call.has(4) ? call.integers(4) : Dims(all.size(), 1);
  if (ends->size() != all.size() || axes.size() != all.size() || steps.size() != all.size()) {
    refuse("its starts, ends, axes and steps are not as many");
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t axis = axis_of(axes[i], current->dims.size());
    const Dims positions = sliced_positions(current->dims[axis], (*starts)[i], (*ends)[i], steps[i],
                                            call.build().budget());
    give_picked(call, *current, axis, positions, {static_cast<std::int64_t>(positions.size())});
    current = std::get<ConstantPointer>(call.outputs().back());
    call.outputs().clear();
  }
  call.give(current);
}

void move_expand(Call& call) {
  ConstantPointer current = call.constant(0);
  const Dims wanted = call.integers(1);
  if (wanted.size() > 64 || current->dims.size() > 64) {
    refuse("it has {} axes", wanted.size());
  }
  auto grown = std::make_shared<Constant>(*current);
  if (wanted.size() > grown->dims.size()) {
    grown->dims.insert(grown->dims.begin(), wanted.size() - grown->dims.size(), 1);
  }
  current = grown;
  const std::size_t missing = current->dims.size() - wanted.size();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::int64_t extent = current->dims[i + missing];
    if (extent == wanted[i] || wanted[i] == 1) {
      continue;
    }
    if (extent != 1 || wanted[i] < 0) {
      refuse("it expands {} to the shape {}", text_of(call.constant(0)->dims), text_of(wanted));
    }
    call.build().budget().charge(wanted[i]);
    give_picked(call, *current, i + missing, Dims(static_cast<std::size_t>(wanted[i]), 0),
                {wanted[i]});
    current = std::get<ConstantPointer>(call.outputs().back());
    call.outputs().clear();
  }
  call.give(current);
}

/// One of two constants of the same extents, or of one element, by a third.
void move_where(Call& call) {
  const Constant& condition = *call.constant(0);
  const Constant& a = *call.constant(1);
  const Constant& b = *call.constant(2);
  const std::int64_t count = condition.size();
  const auto fits = [&](const Constant& of) { return of.size() == 1 || of.dims == condition.dims; };
  if (condition.real || a.real != b.real || !fits(a) || !fits(b)) {
    refuse("its inputs {}, {} and {} do not fit", text_of(condition.dims), text_of(a.dims),
           text_of(b.dims));
  }
  call.build().budget().charge(count);
  auto result = std::make_shared<Constant>();
  result->name = output_name(call);
  result->real = a.real;
  result->dims = condition.dims;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const Constant& from = condition.integers[i] != 0 ? a : b;
    const std::size_t at = from.size() == 1 ? 0 : i;
    if (a.real) {
      result->reals.push_back(from.reals[at]);
    } else {
      result->integers.push_back(from.integers[at]);
    }
  }
  call.give(ConstantPointer(result));
}

constexpr OperatorEntry kMovingEntries[] = {{"Constant", constant},
                                            {"ConstantOfShape", constant_of_shape},
                                            {"Range", range},
                                            {"Identity", move_identity},
                                            {"Shape", move_shape},
                                            {"Reshape", move_reshape},
                                            {"Squeeze", move_squeeze},
                                            {"Unsqueeze", move_unsqueeze},
                                            {"Transpose", move_transpose},
                                            {"Concat", move_concat},
                                            {"Gather", move_gather},
                                            {"Slice", move_slice},
                                            {"Expand", move_expand},
                                            {"Where", move_where}};

}  // namespace

std::span<const OperatorEntry> constant_moves() {
  return kMovingEntries;
}

}  // namespace gentrain::onnx
