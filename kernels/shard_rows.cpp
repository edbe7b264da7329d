// The check of shards side by side that every backend makes.
#include "kernels/shard_rows.h"

#include <bit>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain {

void check_shards(std::string_view routine, ShardRows shards, std::int64_t n) {
  if (shards.empty()) {
    return;
  }
  if (!std::has_single_bit(shards.size()) || std::ssize(shards) > kMostShardsSideBySide) {
    throw ShapeError(fmt::format("{}: {} shards side by side: a power of two up to {} needed",
                                 routine, shards.size(), kMostShardsSideBySide));
  }
  std::int64_t total = 0;
  bool negative = false;
  for (const std::int64_t rows : shards) {
    total += rows;
    negative = negative || rows < 0;
  }
  if (negative || total != n) {
    throw ShapeError(
        fmt::format("{}: the shards side by side have {} rows: none below 0 and {} in "
                    "all needed",
                    routine, fmt::join(shards, " + "), n));
  }
}

}  // namespace gentrain
