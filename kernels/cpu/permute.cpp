// Axes that stay neighbours are one. Where the last one stays last whole runs are copied, else
// blocks of the two axes between which runs turn, so that both are read and written in lines.
#include "kernels/cpu/permute.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace gentrain::cpu {

namespace {

constexpr std::int64_t kBlock = 32;  // elements along either axis

struct Axis {
  std::int64_t extent;
  std::int64_t from;  // step in x
  std::int64_t to;    // step in y
};

/// The axes of y that have more than one position, neighbours in both tensors merged.
std::vector<Axis> merged(std::span<const int> axes, const Shape& x) {
  std::array<std::int64_t, Shape::kMaxRank> steps{};
  std::int64_t step = 1;
  for (int axis = x.rank() - 1; axis >= 0; --axis) {
    steps[static_cast<std::size_t>(axis)] = step;
    step *= x[axis];
  }
  std::vector<Axis> result;
  for (const int axis : axes) {
    const std::int64_t from = steps[static_cast<std::size_t>(axis)];
    if (x[axis] == 1) {
      continue;
    }
    if (!result.empty() && result.back().from == from * x[axis]) {
      result.back() = {result.back().extent * x[axis], from, 0};
    } else {
      result.push_back({x[axis], from, 0});
    }
  }
  step = 1;
  for (auto axis = result.rbegin(); axis != result.rend(); ++axis) {
    axis->to = step;
    step *= axis->extent;
  }
  return result;
}

/// Calls visit(place in x, place in y) for every position along the axes.
template <class Visit>
void for_each(std::span<const Axis> axes, std::int64_t from, std::int64_t to, const Visit& visit) {
  if (axes.empty()) {
    visit(from, to);
    return;
  }
  const Axis& axis = axes.front();
  for (std::int64_t i = 0; i < axis.extent; ++i) {
    for_each(axes.subspan(1), from + i * axis.from, to + i * axis.to, visit);
  }
}

/// The two axes of a block: x runs along `rows`, y along `columns`.
template <class T>
void transpose(const Axis& rows, const Axis& columns, const T* x, T* y) {
  for (std::int64_t i = 0; i < rows.extent; i += kBlock) {
    const std::int64_t last_row = std::min(rows.extent, i + kBlock);
    for (std::int64_t j = 0; j < columns.extent; j += kBlock) {
      const std::int64_t last_column = std::min(columns.extent, j + kBlock);
      for (std::int64_t row = i; row < last_row; ++row) {
        for (std::int64_t column = j; column < last_column; ++column) {
          y[row * rows.to + column] = x[row + column * columns.from];
        }
      }
    }
  }
}

template <class T>
void permute_as(std::span<const int> axes, const Shape& shape, const T* x, T* y) {
  std::vector<Axis> loop = merged(axes, shape);
  if (loop.empty() || loop.back().from == 1) {
    const std::int64_t run = loop.empty() ? 1 : loop.back().extent;
    const std::span<const Axis> outer(loop.data(), loop.empty() ? 0 : loop.size() - 1);
    for_each(outer, 0, 0, [&](std::int64_t from, std::int64_t to) {
      std::memcpy(y + to, x + from, static_cast<std::size_t>(run) * sizeof(T));
    });
    return;
  }
  const Axis columns = loop.back();
  loop.pop_back();
  const auto found = std::ranges::find(loop, std::int64_t{1}, &Axis::from);
  const Axis rows = *found;
  loop.erase(found);
  for_each(std::span<const Axis>(loop), 0, 0,
           [&](std::int64_t from, std::int64_t to) { transpose(rows, columns, x + from, y + to); });
}

}  // namespace

void permute(std::span<const int> axes, ConstView x, View y) {
  if (y.elements() == 0) {
    return;
  }
  if (size_of(x.dtype) == sizeof(std::uint16_t)) {
    permute_as(axes, x.shape, x.as<std::uint16_t>(), y.as<std::uint16_t>());
  } else {
    permute_as(axes, x.shape, x.as<std::uint32_t>(), y.as<std::uint32_t>());
  }
}

}  // namespace gentrain::cpu
