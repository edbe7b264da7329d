// The tree over shards as one rank sees it.
#include "comm/gradient_tree.h"

#include <bit>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::comm {

namespace {

/// The node with an id in a tree whose root has level `levels`.
TreeNode node_of(std::size_t id, int levels) {
  const int depth = static_cast<int>(std::bit_width(id)) - 1;
  return {levels - depth, static_cast<std::int64_t>(id - (std::size_t{1} << depth))};
}

std::size_t id_of(const TreeNode& node, int levels) {
  return (std::size_t{1} << (levels - node.level)) + static_cast<std::size_t>(node.index);
}

}  // namespace

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
  owned_ = part_of(shards, ranks, rank);
  const int levels = root_of(shards).level;
  // By id: the number of the partial sum that a node is, over all ranks, or -1.
  std::vector<int> numbers(std::size_t{2} << levels, -1);
  for (std::size_t i = 0; i < partials.size(); ++i) {
    numbers[id_of(partials[i], levels)] = static_cast<int>(i);
  }
  plan_adds(1, levels, numbers, shards);

  next_.assign(std::size_t{2} << levels, Next::kForeign);
  partial_index_.assign(next_.size(), 0);
  for (std::size_t id = 1; id < next_.size(); ++id) {
    const TreeNode node = node_of(id, levels);
    const Range below = covered(node, shards);
    if (below.size() == 0 || below.first < owned_.first || below.last > owned_.last) {
      continue;
    }
    const TreeNode sibling{node.level, node.index ^ 1};
    if (numbers[id] >= 0) {
      next_[id] = Next::kPartial;
      partial_index_[id] = numbers[id] - first_partial(rank);
    } else {
      next_[id] = covered(sibling, shards).size() == 0 ? Next::kRise : Next::kMerge;
    }
  }
}

int GradientTree::plan_adds(std::size_t id, int levels, const std::vector<int>& numbers,
                            std::int64_t shards) {
  if (numbers[id] >= 0) {
    return numbers[id];
  }
  const std::size_t right = 2 * id + 1;
  const int into = plan_adds(2 * id, levels, numbers, shards);
  if (covered(node_of(right, levels), shards).size() > 0) {
    const int from = plan_adds(right, levels, numbers, shards);
    adds_.push_back({into, from});
  }
  return into;
}

}  // namespace gentrain::comm
