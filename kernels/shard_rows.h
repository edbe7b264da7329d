// Shards side by side: how rows of one tensor are shared out among shards.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace gentrain {

/// How many rows belong to each of the shards that stand side by side, one behind the other; empty:
/// all rows are one shard's.
using ShardRows = std::span<const std::int64_t>;

/// Most shards side by side.
inline constexpr std::int64_t kMostShardsSideBySide = 64;

/// Throws ShapeError naming the routine unless the shards are a power of two up to
/// kMostShardsSideBySide, none has less than 0 rows, and all together have n; none at all is fine.
void check_shards(std::string_view routine, ShardRows shards, std::int64_t n);

}  // namespace gentrain
