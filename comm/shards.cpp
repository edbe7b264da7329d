// Shards and their tree: part_of and cover.
#include "comm/shards.h"

#include <algorithm>
#include <bit>

namespace gentrain::comm {

namespace {

void collect(const TreeNode& node, const Range& owned, std::int64_t shards,
             std::vector<TreeNode>& nodes) {
  const Range shards_below = covered(node, shards);
  const bool apart = shards_below.first >= owned.last || shards_below.last <= owned.first;
  if (shards_below.size() == 0 || apart) {
    return;
  }
  if (shards_below.first >= owned.first && shards_below.last <= owned.last) {
    nodes.push_back(node);
    return;
  }
  collect({node.level - 1, 2 * node.index}, owned, shards, nodes);
  collect({node.level - 1, 2 * node.index + 1}, owned, shards, nodes);
}

}  // namespace

Range part_of(std::int64_t total, std::int64_t parts, std::int64_t part) {
  return {part * total / parts, (part + 1) * total / parts};
}

Range covered(const TreeNode& node, std::int64_t shards) {
  return {std::min(node.index << node.level, shards),
          std::min((node.index + 1) << node.level, shards)};
}

TreeNode root_of(std::int64_t shards) {
  return {static_cast<int>(std::bit_width(static_cast<std::uint64_t>(shards) - 1)), 0};
}

std::vector<TreeNode> cover(const Range& owned, std::int64_t shards) {
  std::vector<TreeNode> nodes;
  collect(root_of(shards), owned, shards, nodes);
  return nodes;
}

int gradient_copies(const Range& owned, std::int64_t shards, int workers) {
  std::int64_t most = 0;
  for (std::int64_t next = owned.first; next < owned.last; ++next) {
    const std::int64_t busy = std::min<std::int64_t>(workers, owned.last - next);
    const auto sums = next == owned.first ? 0 : cover({owned.first, next}, shards).size();
    most = std::max(most, busy + static_cast<std::int64_t>(sums));
  }
  return static_cast<int>(most);
}

}  // namespace gentrain::comm
