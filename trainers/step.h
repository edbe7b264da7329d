// One step: every shard of a global batch is computed by some worker of its rank, the exchange of
// each update runs beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/shards.h"
#include "core/autograd.h"
#include "core/context.h"
#include "core/data/loader.h"
#include "trainers/update.h"
#include "trainers/worker_pool.h"

namespace gentrain::trainers {

/// What a worker has for itself.
struct Worker {
  explicit Worker(Device& device) : queue(device.make_queue()), tape(device, *queue) {}
  std::unique_ptr<Queue> queue;
  Tape tape;
  data::ShardBatch batch;
};

/// Where a step stands in a run. Everything random about it is a function of this.
struct StepPosition {
  std::uint64_t seed = 0;
  std::int64_t stage = 0;
  std::int64_t stage_step = 0;  // from 0
  std::int64_t epoch = 0;       // over all stages, from 0
  comm::Range samples;          // positions in the epoch's order: this step's global batch
};

/// One shard, or several side by side, under way on one worker.
struct ShardRun {
  Worker& worker;
  Context context;  // its key belongs to (seed, stage, step, pass, shard)
  const StepPosition& position;
  std::int64_t shard = 0;  // the first
  comm::Range samples;     // of all: positions in the epoch's order; may be empty
  std::vector<std::unique_ptr<comm::ShardGradients>> gradients;  // one per update of the pass
  SideBySide shards;  // of several: what the context points at

  /// Images of the global batch: losses are divided by it.
  [[nodiscard]] double batch_images() const { return static_cast<double>(position.samples.size()); }
};

/// One visit of every shard, for one or more updates, then one exchange.
struct Pass {
  std::vector<Update*> updates;  // whose exchanges cut the shards into the same runs
  /// Forward and backward of one run of shards. Called by several workers at once.
  std::function<void(ShardRun&)> shard;
  std::size_t part = 0;  // which part of the updates' parameters it trains
};

/// Computes passes on the workers of this rank.
class StepRunner {
 public:
  /// `bf16`: of the contexts that shards get.
  StepRunner(comm::Communicator& communicator, Device& device, int workers, std::int64_t shards,
             bool bf16 = false);

  /// Runs one pass to its end: on return the new weights stand on every rank. `index` is the pass's
  /// number in its step. Rethrows the first error of a worker; on any error all workers have ended.
  void run(Pass& pass, const StepPosition& position, std::int64_t index);

  /// What this rank wishes of the steps to come.
  void set_wishes(const Wishes& wishes) { wishes_ = wishes; }

  /// Shards of this rank.
  [[nodiscard]] const comm::Range& owned() const { return owned_; }
  [[nodiscard]] Device& device() { return device_; }
  [[nodiscard]] WorkerPool& pool() { return pool_; }
  [[nodiscard]] Worker& worker(int index) { return *workers_[static_cast<std::size_t>(index)]; }
  /// The queue of the thread that drives the exchange.
  [[nodiscard]] Queue& queue() { return *queue_; }
  [[nodiscard]] std::int64_t shards() const { return shards_; }
  /// What this rank is doing: run() says it, between steps it is Phase::kAfterStep.
  [[nodiscard]] comm::Activity& activity() { return activity_; }

 private:
  void compute(Pass& pass, const StepPosition& position, std::int64_t index,
               const comm::Range& shards, Worker& worker);
  void drive(Pass& pass);
  void in_parts(const std::function<void(int, int, Queue&)>& part);

  comm::Activity& activity_;
  Device& device_;
  std::int64_t shards_;
  bool bf16_;
  comm::Range owned_;
  std::vector<comm::Range> single_;  // the owned shards one by one
  Wishes wishes_;
  std::unique_ptr<Queue> queue_;
  std::vector<std::unique_ptr<Worker>> workers_;
  WorkerPool pool_;
};

/// Samples of shard `shard` of a batch: a fixed slice of its positions.
comm::Range shard_samples(const comm::Range& batch, std::int64_t shards, std::int64_t shard);

}  // namespace gentrain::trainers
