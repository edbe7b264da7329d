// StepRunner: workers take the rank's runs of shards in order, the calling thread drives the
// exchange.
#include "trainers/step.h"

#include <atomic>

#include "comm/backoff.h"

namespace gentrain::trainers {

namespace {

constexpr std::uint64_t kShardKey =
    0x53485244;  // distinguishes these keys from those of other uses

/// The key of a shard in the `index`-th pass of a step.
RngKey shard_key(const StepPosition& position, std::int64_t index, std::int64_t shard) {
  return RngKey(position.seed)
      .fold(kShardKey)
      .fold(static_cast<std::uint64_t>(position.stage))
      .fold(static_cast<std::uint64_t>(position.stage_step))
      .fold(static_cast<std::uint64_t>(index))
      .fold(static_cast<std::uint64_t>(shard));
}

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
      single_(comm::runs_of(owned_, 1, workers)),
      queue_(device.make_queue()),
      pool_(workers, communicator.size() == 1) {
  for (int i = 0; i < workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(device));
  }
}

void StepRunner::compute(Pass& pass, const StepPosition& position, std::int64_t index,
                         const comm::Range& shards, Worker& worker) {
  ShardRun run{
      worker,
      {device_, *worker.queue, &worker.tape, true, shard_key(position, index, shards.first)},
      position,
      shards.first,
      {shard_samples(position.samples, shards_, shards.first).first,
       shard_samples(position.samples, shards_, shards.last - 1).last},
      {},
      {}};
  run.context.bf16 = bf16_;
  if (shards.size() > 1) {
    for (std::int64_t shard = shards.first; shard < shards.last; ++shard) {
      run.shards.rows.push_back(shard_samples(position.samples, shards_, shard).size());
      run.shards.keys.push_back(shard_key(position, index, shard));
    }
    run.context.shards = &run.shards;
  }
  try {
    for (Update* update : pass.updates) {
      run.gradients.push_back(update->exchange().run(shards, *worker.queue));
    }
    pass.shard(run);
    if (shards.first == owned_.first && !run.gradients.empty()) {
      Update::add_wishes(wishes_, *run.gradients.front());
    }
    for (auto& gradients : run.gradients) {
      gradients->finish();
    }
  } catch (...) {
    for (Update* update : pass.updates) {
      update->exchange().give_up();  // nobody waits for this run
    }
    throw;
  }
}

void StepRunner::run(Pass& pass, const StepPosition& position, std::int64_t index) {
  activity_.enter(comm::Phase::kComputing);
  for (Update* update : pass.updates) {
    update->begin(*queue_, position.stage_step, pass.part,
                  [this](const auto& part) { in_parts(part); });
  }
  const std::vector<comm::Range>& runs =
      pass.updates.empty() ? single_ : pass.updates.front()->exchange().runs();
  std::atomic<std::size_t> next{0};
  const std::function<void(int)> work = [&](int worker) {
    while (!pool_.failed()) {
      const std::size_t run = next.fetch_add(1, std::memory_order_relaxed);
      if (run >= runs.size()) {
        return;
      }
      compute(pass, position, index, runs[run], *workers_[static_cast<std::size_t>(worker)]);
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

/// What an InParts is: a round of the workers when all have ended theirs. A failed round stays as
/// it is, for run() to tell of it.
void StepRunner::in_parts(const std::function<void(int, int, Queue&)>& part) {
  const int parts = pool_.workers();
  if (parts == 1 || !pool_.soon_idle() || pool_.failed()) {
    part(0, 1, *queue_);
    return;
  }
  pool_.run([&](int worker) {
    Queue& queue = *workers_[static_cast<std::size_t>(worker)]->queue;
    part(worker, parts, queue);
    queue.wait();
  });
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
