// The tree over shards as one rank sees it: which way each of its nodes goes, and in which order
// the partial sums of all ranks are added. Computed once, the same for every bucket.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/shards.h"

namespace gentrain::comm {

/// partial[into] += partial[from]
struct TreeAdd {
  int into = 0;
  int from = 0;
  friend bool operator==(const TreeAdd&, const TreeAdd&) = default;
};

/// Nodes have the ids of a binary heap: the root of the full tree is 1, the children of i are 2 i
/// and 2 i + 1. A rank's partial sums are the nodes of cover(its shards), numbered over all ranks
/// from left to right.
class GradientTree {
 public:
  /// What becomes of a node whose value is complete on this rank.
  enum class Next : std::uint8_t {
    kForeign,  // not a node of this rank
    kMerge,    // is added to its sibling
    kRise,     // has no sibling: is its parent's value
    kPartial,  // is a partial sum of this rank
  };

  /// Throws JobError if there are more ranks than shards.
  GradientTree(std::int64_t shards, int ranks, int rank);

  [[nodiscard]] int ranks() const { return static_cast<int>(first_partial_.size()) - 1; }
  [[nodiscard]] int rank() const { return rank_; }
  /// Shards of this rank.
  [[nodiscard]] Range owned() const { return owned_; }

  [[nodiscard]] std::size_t nodes() const { return next_.size(); }
  [[nodiscard]] std::size_t leaf(std::int64_t shard) const {
    return nodes() / 2 + static_cast<std::size_t>(shard);
  }
  /// The node that covers exactly these shards: a power of two, first a multiple of it.
  [[nodiscard]] std::size_t node(const Range& run) const {
    return leaf(run.first) >> (std::bit_width(static_cast<std::size_t>(run.size())) - 1);
  }
  [[nodiscard]] Next next(std::size_t node) const { return next_[node]; }
  /// Which of this rank's partial sums a kPartial node is, from 0.
  [[nodiscard]] int partial_index(std::size_t node) const { return partial_index_[node]; }

  [[nodiscard]] int partials() const { return first_partial_.back(); }
  [[nodiscard]] int first_partial(int rank) const {
    return first_partial_[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] int partials_of(int rank) const {
    return first_partial(rank + 1) - first_partial(rank);
  }
  /// Leaves the sum of all shards in partial sum 0.
  [[nodiscard]] const std::vector<TreeAdd>& adds() const { return adds_; }

 private:
  int plan_adds(std::size_t id, int levels, const std::vector<int>& numbers, std::int64_t shards);

  int rank_;
  Range owned_;
  std::vector<Next> next_;
  std::vector<int> partial_index_;
  std::vector<int> first_partial_;
  std::vector<TreeAdd> adds_;
};

}  // namespace gentrain::comm
