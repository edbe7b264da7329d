// How an image that is computed in pieces is cut: pure functions of its extents.
#pragma once

#include <cstdint>
#include <vector>

namespace gentrain::image {

/// A piece along one axis: pixels [first, last) are looked at, the results of [kept_first,
/// kept_last) are kept.
struct TileSpan {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t kept_first = 0;
  std::int64_t kept_last = 0;
  [[nodiscard]] std::int64_t size() const { return last - first; }
  friend bool operator==(const TileSpan&, const TileSpan&) = default;
};

/// Tiles in order along an axis of `extent` pixels, as few as can be and all of one size, at most
/// `most`. Each result is kept in one of them, which sees at least `reach` pixels on either side of
/// it, fewer only where the image ends. The size is a multiple of 4 where there are several tiles
/// and `most` is one.
///
/// Throws ShapeError for an extent below 1, a reach below 0 or a `most` not above 2 reach.
std::vector<TileSpan> cut_into_tiles(std::int64_t extent, std::int64_t reach, std::int64_t most);

}  // namespace gentrain::image
