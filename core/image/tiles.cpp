// Tiles share the axis evenly; the last one ends where the image does.
#include "core/image/tiles.h"

#include <algorithm>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::image {

std::vector<TileSpan> cut_into_tiles(std::int64_t extent, std::int64_t reach, std::int64_t most) {
  if (extent < 1 || reach < 0 || most <= 2 * reach) {
    throw ShapeError(fmt::format("tiles of up to {} pixels that see {} on either side, over {}",
                                 most, reach, extent));
  }
  if (extent <= most) {
    return {{0, extent, 0, extent}};
  }
  constexpr std::int64_t kMultiple = 4;  // what kernels are fastest with
  const auto divided = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const std::int64_t count = divided(extent - 2 * reach, most - 2 * reach);
  const std::int64_t even = divided(extent - 2 * reach, count) + 2 * reach;
  const std::int64_t size = std::min(divided(even, kMultiple) * kMultiple, most);
  std::vector<TileSpan> tiles;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t first = std::min(i * (size - 2 * reach), extent - size);
    tiles.push_back({first, first + size, first + reach, extent});
    if (i > 0) {
      tiles[static_cast<std::size_t>(i - 1)].kept_last = tiles.back().kept_first;
    }
  }
  tiles.front().kept_first = 0;
  return tiles;
}

}  // namespace gentrain::image
