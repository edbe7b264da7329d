// StepRunner: workers take the rank's shards in order, the calling thread drives the exchange.
#include "trainers/step.h"

#include <atomic>

#include "comm/backoff.h"

namespace gentrain::trainers {

namespace {

constexpr std::uint64_t kShardKey =
    0x53485244;  // distinguishes these keys from those of other uses

}  // namespace

comm::Range shard_samples(const comm::Range& batch, std::int64_t shards, std::int64_t shard) {
  const comm::Range part = comm::part_of(batch.size(), shards, shard);
  return {batch.first + part.first, batch.first + part.last};
}

StepRunner::StepRunner(comm::Communicator& communicator, Device& device, int workers,
                       std::int64_t shards, bool bf16)
    : activity_(communicator.activity()),
      device_(device),
      shards_(shards),
      bf16_(bf16),
      owned_(comm::part_of(shards, communicator.size(), communicator.rank())),
      queue_(device.make_queue()),
      pool_(workers, communicator.size() == 1) {
  for (int i = 0; i < workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(device));
  }
}

void StepRunner::compute(Pass& pass, const StepPosition& position, std::int64_t index,
                         std::int64_t shard, Worker& worker) {
  const RngKey key = RngKey(position.seed)
                         .fold(kShardKey)
                         .fold(static_cast<std::uint64_t>(position.stage))
                         .fold(static_cast<std::uint64_t>(position.stage_step))
                         .fold(static_cast<std::uint64_t>(index))
                         .fold(static_cast<std::uint64_t>(shard));
  ShardRun run{worker, {device_, *worker.queue, &worker.tape, true, key}, position,
               shard,  shard_samples(position.samples, shards_, shard),   {}};
  run.context.bf16 = bf16_;
  try {
    for (Update* update : pass.updates) {
      run.gradients.push_back(update->exchange().shard(shard, *worker.queue));
    }
    pass.shard(run);
    if (shard == owned_.first && !run.gradients.empty()) {
      Update::add_wishes(wishes_, *run.gradients.front());
    }
    for (auto& gradients : run.gradients) {
      gradients->finish();
    }
  } catch (...) {
    for (Update* update : pass.updates) {
      update->exchange().give_up();  // nobody waits for this shard
    }
    throw;
  }
}

void StepRunner::run(Pass& pass, const StepPosition& position, std::int64_t index) {
  activity_.enter(comm::Phase::kComputing);
  for (Update* update : pass.updates) {
    update->begin(*queue_, position.stage_step, pass.part);
  }
  std::atomic<std::int64_t> next{owned_.first};
  const std::function<void(int)> work = [&](int worker) {
    while (!pool_.failed()) {
      const std::int64_t shard = next.fetch_add(1, std::memory_order_relaxed);
      if (shard >= owned_.last) {
        return;
      }
      compute(pass, position, index, shard, *workers_[static_cast<std::size_t>(worker)]);
    }
  };
  pool_.start(work);
  try {
    drive(pass);
  } catch (...) {
    pool_.cancel();  // the workers use what stands on this stack
    throw;
  }
  pool_.finish();
  for (Update* update : pass.updates) {
    update->end(*queue_);
  }
  activity_.enter(comm::Phase::kAfterStep);
}

void StepRunner::drive(Pass& pass) {
  comm::Backoff backoff;
  while (!pool_.failed()) {
    activity_.look();
    bool all = true;
    for (Update* update : pass.updates) {
      all = update->exchange().poll() && all;
    }
    if (all) {
      return;
    }
    if (pool_.idle()) {
      activity_.enter(comm::Phase::kExchanging);
    }
    backoff.pause();
  }
}

}  // namespace gentrain::trainers
