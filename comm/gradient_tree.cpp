// The tree over shards as one rank sees it.
#include "comm/gradient_tree.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::comm {

GradientTree::GradientTree(std::int64_t shards, int ranks, int rank) : rank_(rank) {
  if (ranks > shards) {
    throw JobError(
        fmt::format("{0} ranks but only {1} shards: start at most {1} ranks or set batch.shards to "
                    "{0} or more",
                    ranks, shards));
  }
  std::vector<TreeNode> partials;
  first_partial_.push_back(0);
  for (int r = 0; r < ranks; ++r) {
    const std::vector<TreeNode> nodes = cover(part_of(shards, ranks, r), shards);
    partials.insert(partials.end(), nodes.begin(), nodes.end());
    first_partial_.push_back(static_cast<int>(partials.size()));
  }
  plan_adds(root_of(shards), partials, shards);

  owned_ = part_of(shards, ranks, rank);
  const int levels = root_of(shards).level;
  next_.assign(std::size_t{2} << levels, Next::kForeign);
  partial_index_.assign(next_.size(), 0);
  for (std::size_t id = 1; id < next_.size(); ++id) {
    const int depth = static_cast<int>(std::bit_width(id)) - 1;
    const TreeNode node{levels - depth, static_cast<std::int64_t>(id - (std::size_t{1} << depth))};
    const Range below = covered(node, shards);
    if (below.size() == 0 || below.first < owned_.first || below.last > owned_.last) {
      continue;
    }
    const auto begin = partials.begin() + first_partial(rank);
    const auto end = partials.begin() + first_partial(rank + 1);
    const auto found = std::find(begin, end, node);
    const TreeNode sibling{node.level, node.index ^ 1};
    if (found != end) {
      next_[id] = Next::kPartial;
      partial_index_[id] = static_cast<int>(found - begin);
    } else {
      next_[id] = covered(sibling, shards).size() == 0 ? Next::kRise : Next::kMerge;
    }
  }
}

int GradientTree::plan_adds(const TreeNode& node, const std::vector<TreeNode>& partials,
                            std::int64_t shards) {
  const auto found = std::find(partials.begin(), partials.end(), node);
  if (found != partials.end()) {
    return static_cast<int>(found - partials.begin());
  }
  const TreeNode right{node.level - 1, 2 * node.index + 1};
  const int into = plan_adds({node.level - 1, 2 * node.index}, partials, shards);
  if (covered(right, shards).size() > 0) {
    const int from = plan_adds(right, partials, shards);
    adds_.push_back({into, from});
  }
  return into;
}

}  // namespace gentrain::comm
