// The exchange of one update: sums the gradients of all shards over the tree and hands out the new
// weights, bucket by bucket, while later buckets are still being computed.
//
// Per bucket: finished shards of this rank merge like a binary counter; when all of the rank's
// shards are in, its partial sums (tree nodes) of each segment go to the segment's owner; the owner
// adds in tree order and updates its segment of the weights; the new weights are gathered by all.
// Bucket 0 is the end of the arena: gradients become complete from the last layer to the first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/shards.h"
#include "core/autograd.h"
#include "core/parameters.h"
#include "core/tensor.h"

namespace gentrain::comm {

enum class ExchangeMode : std::uint8_t { kCanonical, kLibrary };

struct ExchangeOptions {
  ExchangeMode mode = ExchangeMode::kCanonical;
  std::int64_t shards = 16;
  std::int64_t bucket_elements = 1 << 18;  // a multiple of kReduceBlock
  /// Floats behind the gradients that are summed over the tree with them (losses, metrics).
  std::int64_t statistics = 0;
  /// Buckets that wait for other ranks' partial sums at the same time, of which that many are held:
  /// a later one waits for the one so many before it. With needs_norm all are held.
  std::size_t buckets_at_once = 16;
  /// Whether the update of every segment needs the global gradient norm first (clipping).
  bool needs_norm = false;
  /// Workers of this rank, which take its shards in order: then no more gradients are held than
  /// gradient_copies() says; a worker that is ahead waits for one that lags. 0: shards come in any
  /// order, and as many gradients are held as that takes.
  int workers = 0;
  /// Most shards that a worker computes side by side (see runs_of).
  std::int64_t side_by_side = 1;
};

/// The gradients of a shard, or of several side by side, on their way into the sum: a tensor of the
/// arena's layout without averages, statistics behind it.
class ShardGradients;

class Exchange {
 public:
  /// Updates elements [first, last) of the weight arena in place from the summed gradient; `norm`
  /// is the global norm of the gradient (0 unless needs_norm). Called by the thread that polls.
  using UpdateSegment = std::function<void(Range elements, const Tensor& gradient, double norm)>;

  /// `parameters` must outlive the exchange and be allocated. Collective: all ranks make their
  /// exchanges in the same order.
  /// Throws JobError if there are more ranks than shards, ShapeError if the parameters are not f32
  /// or bucket_elements is no positive multiple of kReduceBlock.
  Exchange(Communicator& communicator, Device& device, ParameterSet& parameters,
           const ExchangeOptions& options);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  /// Shards that this rank owns.
  [[nodiscard]] Range owned_shards() const;
  /// The runs in which the workers are to take them, in order.
  [[nodiscard]] const std::vector<Range>& runs() const;
  /// Arena elements whose optimizer state this rank owns, ascending, one range per bucket at most.
  [[nodiscard]] std::vector<Range> owned_segments() const;
  /// Bytes that this rank sends in one step in which all parameters are trainable.
  [[nodiscard]] std::int64_t bytes_sent_per_step() const;

  /// Begins a step. The queue is that of the thread that polls. Frozen parameters (trainable[i] ==
  /// false; empty means all are trainable) count as complete from the start and have gradient 0.
  /// Buckets without a trainable parameter are passed over: neither exchanged nor updated. The
  /// update must leave the values of frozen parameters as they are.
  /// Throws Error if the last step has not ended, ShapeError for another number of flags than
  /// parameters.
  void begin(Queue& queue, UpdateSegment update, const std::vector<bool>& trainable = {});

  /// For workers, thread-safe. The gradients object of one owned shard: implements
  /// ParameterGradients; fill `statistics()`, then call `finish()`. Must not outlive the exchange.
  /// Throws Error if the shard is not owned or was begun in this step already.
  std::unique_ptr<ShardGradients> shard(std::int64_t shard, Queue& queue) {
    return run({shard, shard + 1}, queue);
  }
  /// The same for a run of shards side by side: their gradients are delivered as one sum in the
  /// order of the tree. Throws Error too if it is not one of runs().
  std::unique_ptr<ShardGradients> run(const Range& run, Queue& queue);

  /// Drives the exchange; for the thread that owns the communicator. True when the step's new
  /// weights are complete on this rank.
  bool poll();
  /// After poll() gave true: the tree sums of the statistics.
  [[nodiscard]] std::vector<float> statistics() const;
  /// The gradient norm of the last step (0 unless needs_norm).
  [[nodiscard]] double norm() const;
  /// No shard of this step will be begun or finished any more: workers that wait for their turn go
  /// on. For the worker that fails; thread-safe.
  void give_up();
  /// Gives back the memory of gradients until the next step; for between two steps.
  void rest();
  /// Gradient arenas held now (see ExchangeOptions::workers).
  [[nodiscard]] int live_copies() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> impl_;
};

/// The gradients of a run of shards: where the tape delivers, and the way into the sum.
class ShardGradients : public ParameterGradients {
 public:
  /// The statistics of shard `index` of the run (from 0), zero until written; those of a run are
  /// summed as the tree has it. Throws Error if there is no such shard.
  [[nodiscard]] virtual std::span<float> statistics(std::int64_t index) = 0;
  /// Those of the run's first shard.
  [[nodiscard]] std::span<float> statistics() { return statistics(0); }
  /// Says that backward has ended: what was not completed (frozen, or not reached by the loss)
  /// counts as zero, everything goes into the sum.
  virtual void finish() = 0;
};

}  // namespace gentrain::comm
