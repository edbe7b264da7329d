// Rows of axis maps, term by term.
#include "core/keras/rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "core/graph/axis_rows.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

constexpr std::int64_t kMostPositions = std::int64_t{1} << 20;

void check_positions(std::int64_t from, std::int64_t to) {
  if (to < 1 || to > kMostPositions) {
    throw IoError(fmt::format("{} rows or columns become {}: 1 to {} are supported", from, to,
                              kMostPositions));
  }
}

/// Position i of the result is position source(i), or empty where that lies outside.
template <class Source>
Rows copied(std::int64_t from, std::int64_t to, Source source) {
  check_positions(from, to);
  std::vector<std::int64_t> sources;
  sources.reserve(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const std::int64_t at = source(i);
    sources.push_back(at < from ? at : -1);
  }
  return std::make_shared<const ops::AxisRows>(graph::copied_rows(from, sources));
}

void add_term(ops::AxisRows& rows, std::int64_t source, float weight) {
  rows.sources.push_back(static_cast<std::int32_t>(source));
  rows.weights.push_back(weight);
}

}  // namespace

Rows padded(std::int64_t extent, std::int64_t before, std::int64_t behind) {
  return copied(extent, extent + before + behind, [&](std::int64_t i) { return i - before; });
}

Rows repeated(std::int64_t extent, std::int64_t times) {
  return copied(extent, extent * times, [&](std::int64_t i) { return i / times; });
}

Rows interpolated(std::int64_t extent, std::int64_t times) {
  check_positions(extent, extent * times);
  ops::AxisRows rows;
  rows.from = extent;
  rows.begins.push_back(0);
  for (std::int64_t i = 0; i < extent * times; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) / static_cast<double>(times) - 0.5;
    const auto below = static_cast<std::int64_t>(std::floor(centre));
    const std::int64_t low = std::max<std::int64_t>(below, 0);
    const std::int64_t high = std::min(below + 1, extent - 1);
    const auto weight = static_cast<float>(centre - static_cast<double>(below));
    if (low == high || weight == 0) {
      add_term(rows, low, 1);
    } else {
      add_term(rows, low, 1 - weight);
      add_term(rows, high, weight);
    }
    rows.begins.push_back(static_cast<std::int32_t>(rows.sources.size()));
  }
  return std::make_shared<const ops::AxisRows>(std::move(rows));
}

}  // namespace gentrain::keras
