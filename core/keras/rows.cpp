// Rows of axis maps, term by term.
#include "core/keras/rows.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::keras {

namespace {

constexpr std::int64_t kMostPositions = std::int64_t{1} << 20;

/// Rows that terms are appended to, with room for none.
ops::AxisRows rows_for(std::int64_t from, std::int64_t to) {
  if (to < 1 || to > kMostPositions) {
    throw IoError(fmt::format("{} rows or columns become {}: 1 to {} are supported", from, to,
                              kMostPositions));
  }
  ops::AxisRows rows;
  rows.from = from;
  rows.begins.reserve(static_cast<std::size_t>(to) + 1);
  rows.begins.push_back(0);
  return rows;
}

void add_term(ops::AxisRows& rows, std::int64_t source, float weight) {
  rows.sources.push_back(static_cast<std::int32_t>(source));
  rows.weights.push_back(weight);
}

void end_row(ops::AxisRows& rows) {
  rows.begins.push_back(static_cast<std::int32_t>(rows.sources.size()));
}

}  // namespace

Rows padded(std::int64_t extent, std::int64_t before, std::int64_t behind) {
  const std::int64_t to = extent + before + behind;
  ops::AxisRows rows = rows_for(extent, to);
  for (std::int64_t i = -before; i < to - before; ++i) {
    if (i >= 0 && i < extent) {
      add_term(rows, i, 1);
    }
    end_row(rows);
  }
  return std::make_shared<const ops::AxisRows>(std::move(rows));
}

Rows repeated(std::int64_t extent, std::int64_t times) {
  ops::AxisRows rows = rows_for(extent, extent * times);
  for (std::int64_t i = 0; i < extent * times; ++i) {
    add_term(rows, i / times, 1);
    end_row(rows);
  }
  return std::make_shared<const ops::AxisRows>(std::move(rows));
}

Rows interpolated(std::int64_t extent, std::int64_t times) {
  ops::AxisRows rows = rows_for(extent, extent * times);
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
    end_row(rows);
  }
  return std::make_shared<const ops::AxisRows>(std::move(rows));
}

}  // namespace gentrain::keras
