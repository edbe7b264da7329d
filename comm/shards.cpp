// Shards and their tree: part_of and cover.
#include "comm/shards.h"

#include <algorithm>
#include <bit>
#include <utility>

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

namespace {

/// Runs of at most `size` shards, a power of two.
std::vector<Range> cut(const Range& owned, std::int64_t size) {
  std::vector<Range> runs;
  for (std::int64_t next = owned.first; next < owned.last;) {
    std::int64_t run = size;
    while (next % run != 0 || next + run > owned.last) {
      run /= 2;
    }
    runs.push_back({next, next + run});
    next += run;
  }
  return runs;
}

/// Shards of the busiest of the workers, each of whom takes the next run when it is free.
std::int64_t busiest(const std::vector<Range>& runs, int workers) {
  std::vector<std::int64_t> shards(static_cast<std::size_t>(std::max(workers, 1)), 0);
  for (const Range& run : runs) {
    *std::min_element(shards.begin(), shards.end()) += run.size();
  }
  return *std::max_element(shards.begin(), shards.end());
}

}  // namespace

std::vector<Range> runs_of(const Range& owned, std::int64_t most, int workers) {
  std::vector<Range> best = cut(owned, 1);
  for (std::int64_t size = 2; size <= std::min(most, owned.size()); size *= 2) {
    std::vector<Range> runs = cut(owned, size);
    if (busiest(runs, workers) <= busiest(best, workers)) {
      best = std::move(runs);
    }
  }
  return best;
}

int gradient_copies(const std::vector<Range>& runs, std::int64_t shards, int workers) {
  std::size_t most = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::size_t busy = std::min(static_cast<std::size_t>(workers), runs.size() - i);
    const auto sums = i == 0 ? 0 : cover({runs.front().first, runs[i].first}, shards).size();
    most = std::max(most, busy + sums);
  }
  return static_cast<int>(most);
}

}  // namespace gentrain::comm
