// Several ranks in this process, each with a model and an exchange, and ways to drive a step: all
// shards of all ranks in a shuffled order on one thread, or a rank on its own thread with workers.
#pragma once

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/reduce.h"
#include "tests/comm/exchange_bench.h"
#include "tests/support/local_ranks.h"

namespace gentrain::test {

inline constexpr std::uint64_t kSteps = 2;

struct Result {
  std::vector<float> weights;
  std::vector<float> statistics;
  double norm = 0;
  friend bool operator==(const Result&, const Result&) = default;
};

/// R ranks with a model each, in this process.
class World {
 public:
  World(int ranks, const comm::ExchangeOptions& options)
      : local_(ranks), models_(static_cast<std::size_t>(ranks)) {
    for (int r = 0; r < ranks; ++r) {
      Model& own = model(r);
      exchanges_.push_back(std::make_unique<comm::Exchange>(local_.rank(r), own.device(),
                                                            own.parameters(), options));
    }
  }

  [[nodiscard]] LocalRanks& local() { return local_; }
  [[nodiscard]] int ranks() const { return static_cast<int>(exchanges_.size()); }
  [[nodiscard]] Model& model(int rank) { return models_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] comm::Exchange& exchange(int rank) {
    return *exchanges_[static_cast<std::size_t>(rank)];
  }

  void begin(const std::vector<bool>& trainable = {}) {
    for (int r = 0; r < ranks(); ++r) {
      exchange(r).begin(model(r).queue(), model(r).add_gradient(), trainable);
    }
  }

  /// Polls the ranks in turn until all have ended.
  void poll_all() {
    for (int round = 0; round < 1000; ++round) {
      bool done = true;
      for (int r = 0; r < ranks(); ++r) {
        done = exchange(r).poll() && done;
      }
      if (done) {
        return;
      }
    }
    FAIL() << "the exchange does not end";
  }

  /// The result of the ranks, which must all have the same.
  Result result() {
    Result first{model(0).weights(), exchange(0).statistics(), exchange(0).norm()};
    for (int r = 1; r < ranks(); ++r) {
      EXPECT_TRUE(
          (first == Result{model(r).weights(), exchange(r).statistics(), exchange(r).norm()}))
          << "rank " << r << " has another result than rank 0";
    }
    return first;
  }

 private:
  LocalRanks local_;
  std::vector<Model> models_;
  std::vector<std::unique_ptr<comm::Exchange>> exchanges_;
};

/// One shard on its way: completes its parameters from the last to the first, then ends.
struct Course {
  int rank = 0;
  std::int64_t shard = 0;
  int next = 0;
  std::unique_ptr<comm::ShardGradients> gradients;

  /// True when the shard has ended.
  bool advance(Model& model, std::uint64_t step) {
    while (next >= 0 && !gradients->wants(next)) {
      --next;
    }
    if (next < 0) {
      Model::finish(*gradients, shard);
      return true;
    }
    model.complete(*gradients, step, shard, next--);
    return false;
  }
};

/// All shards of all ranks at once, in a shuffled order, with polls in between.
inline void step_shuffled(World& world, std::uint64_t step, std::mt19937& random,
                          const std::vector<bool>& trainable = {}) {
  world.begin(trainable);
  std::vector<Course> courses;
  for (int r = 0; r < world.ranks(); ++r) {
    const comm::Range owned = world.exchange(r).owned_shards();
    for (std::int64_t s = owned.first; s < owned.last; ++s) {
      Model& model = world.model(r);
      courses.push_back(
          {r, s, model.parameters().size() - 1, world.exchange(r).shard(s, model.queue())});
    }
  }
  while (!courses.empty()) {
    const auto pick = static_cast<std::ptrdiff_t>(random() % courses.size());
    if (courses[static_cast<std::size_t>(pick)].advance(
            world.model(courses[static_cast<std::size_t>(pick)].rank), step)) {
      courses.erase(courses.begin() + pick);
    }
    const bool done =
        world.exchange(static_cast<int>(random() % static_cast<unsigned>(world.ranks()))).poll();
    EXPECT_FALSE(done && !courses.empty() && world.ranks() == 1);
  }
  world.poll_all();
}

inline Result run_shuffled(int ranks, const comm::ExchangeOptions& options, unsigned seed) {
  World world(ranks, options);
  std::mt19937 random(seed);
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    step_shuffled(world, step, random);
  }
  return world.result();
}

inline comm::ExchangeOptions options_for(std::int64_t shards, bool needs_norm = false) {
  comm::ExchangeOptions options;
  options.shards = shards;
  options.bucket_elements = kReduceBlock;
  options.statistics = 5;
  options.needs_norm = needs_norm;
  return options;
}

/// A rank on its own thread: one polls, `workers` take shards in order.
inline void run_rank(World& world, int rank, int workers) {
  comm::Exchange& exchange = world.exchange(rank);
  Model& model = world.model(rank);
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    exchange.begin(model.queue(), model.add_gradient());
    std::atomic<std::int64_t> next{exchange.owned_shards().first};
    std::vector<std::thread> threads;
    for (int w = 0; w < workers; ++w) {
      threads.emplace_back([&] {
        const auto queue = model.device().make_queue();
        for (std::int64_t s = next++; s < exchange.owned_shards().last; s = next++) {
          Course course{rank, s, model.parameters().size() - 1, exchange.shard(s, *queue)};
          while (!course.advance(model, step)) {
          }
        }
      });
    }
    while (!exchange.poll()) {
      std::this_thread::yield();
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }
}

}  // namespace gentrain::test
