// Shards and their tree: which samples a shard has, which shards a rank owns, and in which order
// sums are taken. Pure functions of counts; the heart of the promise.
//
// The tree over S shards is the complete binary tree over the next power of two with the missing
// leaves left out: node (level, index) covers shards [index << level, (index + 1) << level) below
// S, its value is left + right, or the left child's value alone where the right one covers no
// shard.
#pragma once

#include <cstdint>
#include <vector>

namespace gentrain::comm {

/// A half-open range of shards, samples or elements.
struct Range {
  std::int64_t first = 0;
  std::int64_t last = 0;
  [[nodiscard]] std::int64_t size() const { return last - first; }
  friend bool operator==(const Range&, const Range&) = default;
};

/// Part `part` of `parts` nearly equal parts of [0, total):
/// [part * total / parts, (part + 1) * total / parts).
Range part_of(std::int64_t total, std::int64_t parts, std::int64_t part);

/// A node of the tree over shards.
struct TreeNode {
  int level = 0;           // 0: one shard
  std::int64_t index = 0;  // covers shards [index << level, (index + 1) << level)
  friend bool operator==(const TreeNode&, const TreeNode&) = default;
};

/// Shards below `shards` that a node covers.
Range covered(const TreeNode& node, std::int64_t shards);
/// The root of the tree over `shards` shards, shards >= 1.
TreeNode root_of(std::int64_t shards);
/// The fewest nodes of the tree that cover exactly the shards of `owned`, from left to right. A
/// node that covers all shards from its first one to the end counts as complete; of several nodes
/// over the same shards it is the highest.
std::vector<TreeNode> cover(const Range& owned, std::int64_t shards);

/// The runs in which `workers` workers best take a rank's shards, in order: each is a full node of
/// the tree, which begins at a multiple of its size, a power of two up to `most`. Of the sizes with
/// which the last worker ends first it is the largest; with most = 1 each shard is one by itself.
std::vector<Range> runs_of(const Range& owned, std::int64_t most, int workers);

/// Gradients that a rank has to hold at the same time while `workers` workers take its runs in
/// order and keep step: one for each run under way, one for each sum over the shards before them.
int gradient_copies(const std::vector<Range>& runs, std::int64_t shards, int workers);

}  // namespace gentrain::comm
