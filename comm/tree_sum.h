// Sums of vectors of doubles, one of each shard, over the tree of shards: the same bits for any
// number of ranks and workers. For what is small beside a model's gradients and wants f64.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "comm/communicator.h"
#include "comm/gradient_tree.h"

namespace gentrain::comm {

/// One sum after another. Finished shards of a rank merge like a binary counter; what is left of
/// each rank goes, segment by segment, to the segment's owner, which adds in the order of the tree;
/// all gather the sums.
class TreeSum {
 public:
  /// Collective. Throws JobError if there are more ranks than shards.
  TreeSum(Communicator& communicator, std::int64_t shards);

  /// Shards that this rank owns.
  [[nodiscard]] Range owned() const { return tree_.owned(); }

  /// A vector of `elements` >= 1 zeros, for a shard to be written to. Thread-safe.
  std::vector<double> zeros(std::int64_t elements);
  /// Adds the vector of an owned shard; each of them once a sum, in any order. Thread-safe. As many
  /// are held as there are nodes that wait for their siblings.
  void put(std::int64_t shard, std::vector<double> value);
  /// The sum over all shards of all ranks, and ready for the next one. Collective; by the thread
  /// that owns the communicator, once all owned shards were put. Throws Error if one is missing, or
  /// a vector has not `elements` elements.
  std::vector<double> finish(std::int64_t elements);
  /// Drops what was put: for a sum that is given up.
  void clear();

 private:
  std::vector<std::vector<double>> exchange_partials(std::int64_t elements);

  Communicator& communicator_;
  GradientTree tree_;
  int tag_;
  std::mutex mutex_;                           // guards all below
  std::vector<std::vector<double>> parked_;    // by node: waits for its sibling
  std::vector<std::vector<double>> partials_;  // of this rank
  std::vector<std::vector<double>> spare_;
};

}  // namespace gentrain::comm
