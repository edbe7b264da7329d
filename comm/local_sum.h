// The workers' half of an exchange: gradients of this rank's shards merge over the tree, bucket by
// bucket, as soon as both sides of a node are there. The worker that completes a pair adds it.
//
// A node's value stands in the copy of its leftmost shard; the other copy is free for a new shard
// once all its buckets were merged away.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "comm/buckets.h"
#include "comm/exchange.h"
#include "comm/gradient_tree.h"

namespace gentrain::comm {

class LocalSum {
 public:
  /// All arguments but the options must outlive the object. The last bucket is the tail, the
  /// statistics.
  LocalSum(Device& device, ParameterSet& parameters, const GradientTree& tree,
           const std::vector<Bucket>& buckets, const ExchangeOptions& options);
  ~LocalSum();
  LocalSum(const LocalSum&) = delete;
  LocalSum& operator=(const LocalSum&) = delete;

  /// Begins a step; all buckets of the last one must have been released.
  void begin(const std::vector<bool>& trainable);
  /// By parameter, in this step.
  [[nodiscard]] const std::vector<bool>& trainable() const { return trainable_; }
  /// Whether any parameter of the bucket is trainable in this step; the tail always is.
  [[nodiscard]] bool active(std::size_t bucket) const { return active_[bucket]; }

  /// The runs in which this rank's shards are taken, in order.
  [[nodiscard]] const std::vector<Range>& runs() const { return runs_; }
  /// Thread-safe. Waits for a free copy where the options say how many workers there are.
  std::unique_ptr<ShardGradients> run(const Range& run, Queue& queue);

  /// Nobody waits for a copy any more.
  void give_up();

  /// Appends the buckets whose partial sums have become complete since the last call.
  void take_complete(std::vector<std::size_t>& buckets);
  /// Partial sum `index` of this rank in a complete bucket: elements `range` of the gradient.
  [[nodiscard]] Tensor partial(std::size_t bucket, int index, const Range& range) const;
  /// Gives up the partial sums of a complete bucket.
  void release(std::size_t bucket);

  /// Gives back the memory of all copies; for between two steps.
  void drop_copies();
  /// How many there are.
  [[nodiscard]] int copies() const;

 private:
  class Run;

  /// One arena of gradients and the state of the run that is written into it.
  struct Copy {
    Tensor values;                  // arena, then statistics
    std::vector<float> statistics;  // of each shard of the run
    std::vector<int> pending;       // by bucket: parameters that are not complete
    std::vector<bool> complete;     // by parameter
    std::size_t held = 0;           // buckets that stand in this copy
    std::uint64_t frozen_set = 0;   // the step's frozen_set_ for which frozen gradients are zero
  };
  struct BucketState {
    std::vector<Copy*> parked;    // by node: complete, waits for its sibling
    std::vector<Copy*> partials;  // by index of partial sum
    int missing = 0;              // partial sums
  };

  void take(const Range& run);
  Copy* acquire(const Range& run, Queue& queue);
  Copy* free_copy(const Range& run);
  void put_back(Copy* copy);
  void complete(Copy& copy, const Range& run, int parameter, Queue& queue);
  void arrive(std::size_t bucket, const Range& run, Copy* copy, Queue& queue);
  Copy* sibling_or_park(std::size_t bucket, std::size_t node, Copy* copy);
  void add_partial(std::size_t bucket, int index, Copy* copy);
  void add(std::size_t bucket, const Copy& into, const Copy& from, Queue& queue);

  Device& device_;
  ParameterSet& parameters_;
  const GradientTree& tree_;
  const std::vector<Bucket>& buckets_;
  std::int64_t statistics_;
  std::vector<Range> runs_;
  bool limited_;  // to most_copies_, with runs begun in order
  std::size_t most_copies_;
  std::vector<std::vector<std::size_t>> buckets_of_;  // by parameter

  // Changed by begin() only.
  std::vector<bool> trainable_;
  std::vector<bool> active_;  // by bucket
  std::vector<int> pending_;  // by bucket: trainable parameters
  std::size_t active_count_ = 0;
  std::uint64_t frozen_set_ = 0;

  mutable std::mutex mutex_;  // guards all below
  std::vector<BucketState> states_;
  std::vector<bool> taken_;  // by owned shard: its run was begun
  std::vector<std::unique_ptr<Copy>> copies_;
  std::vector<Copy*> free_;
  std::condition_variable copy_freed_;
  std::int64_t next_ = 0;  // with a limit: first shard of the run whose turn it is
  bool given_up_ = false;  // a shard was dropped before its end: nobody waits any more
  std::vector<std::size_t> complete_;
  std::atomic<bool> any_complete_{false};
};

}  // namespace gentrain::comm
