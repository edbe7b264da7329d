// The arithmetic of cutting an operation by rows.
#include "kernels/row_parts.h"

#include <algorithm>

namespace gentrain {

namespace {

/// Rows from the first to the last one that a window sees.
template <class Geometry>
std::int64_t reach_of(Geometry geometry) {
  geometry.stride_h = 1;
  return geometry.h + geometry.top + geometry.bottom + 1 - geometry.oh();
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

/// The geometry on a slice of so many rows of the image, with other padding above and below.
template <class Geometry>
Geometry on_slice(Geometry geometry, std::int64_t h, std::int64_t top, std::int64_t bottom) {
  geometry.h = h;
  geometry.top = top;
  geometry.bottom = bottom;
  return geometry;
}

template <class Geometry>
std::vector<RowPart<Geometry>> cut_forward(const Geometry& g, int parts) {
  std::vector<RowPart<Geometry>> cut;
  if (g.n != 1 || parts < 2 || g.oh() < parts) {
    return cut;
  }
  const std::int64_t reach = reach_of(g);
  for (int part = 0; part < parts; ++part) {
    const Rows writes = part_of_rows(g.oh(), parts, part);
    const std::int64_t first = writes.first * g.stride_h - g.top;  // of the image; may be padding
    const std::int64_t last = (writes.last - 1) * g.stride_h - g.top + reach;
    const Rows reads{std::max<std::int64_t>(0, first), std::min(g.h, last)};
    if (reads.size() < 1) {
      return {};
    }
    cut.push_back(
        {writes, reads, on_slice(g, reads.size(), reads.first - first, last - reads.last)});
  }
  return cut;
}

}  // namespace

Rows part_of_rows(std::int64_t rows, int parts, int part) {
  constexpr std::int64_t kTile = 4;
  const std::int64_t step = rows >= 4 * kTile * parts ? kTile : 1;
  const auto bound = [&](int at) { return at == parts ? rows : rows * at / parts / step * step; };
  return {bound(part), bound(part + 1)};
}

std::vector<ConvPart> forward_parts(const ConvGeometry& geometry, int parts) {
  return cut_forward(geometry, parts);
}

std::vector<PoolPart> forward_parts(const PoolGeometry& geometry, int parts) {
  return cut_forward(geometry, parts);
}

std::vector<ConvPart> backward_parts(const ConvGeometry& g, int parts) {
  std::vector<ConvPart> cut;
  if (g.n != 1 || parts < 2 || g.h < parts) {
    return cut;
  }
  const std::int64_t reach = reach_of(g);
  for (int part = 0; part < parts; ++part) {
    const Rows writes = part_of_rows(g.h, parts, part);
    // The window of row o of dy begins at row o stride - top of the image. The first one may begin
    // no later than the slice does, since padding cannot be below 0; if so it ends before it.
    const std::int64_t begin = writes.first + g.top;
    const std::int64_t first =
        std::min(-floor_div(reach - 1 - begin, g.stride_h), floor_div(begin, g.stride_h));
    const Rows reads{std::max<std::int64_t>(0, first),
                     std::min(g.oh(), floor_div(writes.last - 1 + g.top, g.stride_h) + 1)};
    if (reads.size() < 1) {
      return {};
    }
    const std::int64_t top = begin - reads.first * g.stride_h;
    const std::int64_t bottom = (reads.size() - 1) * g.stride_h + reach - writes.size() - top;
    cut.push_back(
        {writes, reads, on_slice(g, writes.size(), top, std::max<std::int64_t>(0, bottom))});
    if (cut.back().geometry.oh() != reads.size()) {
      return {};
    }
  }
  return cut;
}

std::vector<PoolPart> backward_parts(const PoolGeometry& g, int parts) {
  std::vector<PoolPart> cut;
  if (g.n != 1 || parts < 2 || g.oh() < parts || g.top > 0 || g.bottom > 0 ||
      reach_of(g) > g.stride_h) {
    return cut;
  }
  for (int part = 0; part < parts; ++part) {
    const Rows reads = part_of_rows(g.oh(), parts, part);
    const Rows writes{reads.first * g.stride_h, part + 1 == parts ? g.h : reads.last * g.stride_h};
    cut.push_back({writes, reads, on_slice(g, writes.size(), 0, 0)});
  }
  return cut;
}

}  // namespace gentrain
