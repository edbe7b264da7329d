// The exchange at its edges: copies, overlap, ownership, frozen and missing gradients, several
// exchanges at once, steps given up, and misuse.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "comm/exchange.h"
#include "kernels/error.h"
#include "kernels/reduce.h"
#include "tests/comm/exchange_world.h"
#include "tests/support/compare.h"
#include "tests/support/local_ranks.h"

namespace gentrain::comm {
namespace {

using test::Course;
using test::LocalRanks;
using test::Model;
using test::options_for;
using test::Result;
using test::run_rank;
using test::run_shuffled;
using test::step_shuffled;
using test::World;

TEST(Exchange, OneWorkerNeedsLogarithmicallyManyCopies) {
  for (const int shards : {1, 2, 5, 8, 16, 64}) {
    World world(1, options_for(shards));
    run_rank(world, 0, 1);
    EXPECT_LE(world.exchange(0).live_copies(), 2 + std::log2(shards)) << shards << " shards";
    EXPECT_GE(world.exchange(0).live_copies(), std::log2(shards));
  }
}

// Workers in step: always the oldest of the open shards ends next.
TEST(Exchange, WorkersInStepNeedOneCopyMoreEach) {
  for (const std::size_t workers : {1U, 2U, 3U, 8U}) {
    World world(1, options_for(64));
    Model& model = world.model(0);
    world.begin();
    std::vector<Course> open;
    for (std::int64_t s = 0; s < 64 || !open.empty();) {
      if (s < 64 && open.size() < workers) {
        open.push_back({0, s, 4, world.exchange(0).shard(s, model.queue())});
        ++s;
        continue;
      }
      while (!open.front().advance(model, 0)) {
      }
      open.erase(open.begin());
    }
    world.poll_all();
    EXPECT_LE(world.exchange(0).live_copies(), static_cast<int>(workers) + 6 + 1);
  }
}

/// A step of 16 shards and two workers: this thread begins shard 0 and lags, the other one takes
/// all that follow until it has to wait.
class LaggingWorker {
 public:
  LaggingWorker() : world_(1, options()) {
    world_.begin();
    lagging_ = std::make_unique<Course>(
        Course{0, 0, 4, world_.exchange(0).shard(0, world_.model(0).queue())});
    other_ = std::thread([this] {
      const auto queue = world_.model(0).device().make_queue();
      for (std::int64_t s = 1; s < 16; ++s) {
        Course course{0, s, 4, world_.exchange(0).shard(s, *queue)};
        begun_.store(s);
        while (!course.advance(world_.model(0), 0)) {
        }
      }
    });
  }
  ~LaggingWorker() { end_other(); }
  void end_other() {
    if (other_.joinable()) {
      other_.join();
    }
  }

  static ExchangeOptions options() {
    ExchangeOptions options = options_for(16);
    options.workers = 2;
    return options;
  }
  /// Until the other worker has begun nothing new for a while.
  void wait_until_other_waits() {
    std::int64_t seen = -1;
    while (seen != begun_.load()) {
      seen = begun_.load();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  World world_;
  std::unique_ptr<Course> lagging_;
  std::atomic<std::int64_t> begun_{0};
  std::thread other_;
};

TEST(Exchange, AWorkerAheadWaitsForACopy) {
  LaggingWorker run;
  run.wait_until_other_waits();
  EXPECT_LT(run.begun_.load(), 15);
  EXPECT_EQ(run.world_.exchange(0).live_copies(), gradient_copies(runs_of({0, 16}, 1, 2), 16, 2));
  while (!run.lagging_->advance(run.world_.model(0), 0)) {
  }
  run.end_other();
  run.world_.poll_all();
  EXPECT_EQ(run.world_.exchange(0).live_copies(), gradient_copies(runs_of({0, 16}, 1, 2), 16, 2));
}

TEST(Exchange, CopiesAreGivenInOrderOfShards) {
  World world(1, LaggingWorker::options());
  world.begin();
  std::atomic<bool> second{false};
  std::unique_ptr<ShardGradients> later;
  std::thread ahead([&] {
    const auto queue = world.model(0).device().make_queue();
    later = world.exchange(0).shard(1, *queue);
    second.store(true);
    later.reset();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(second.load());
  const auto first = world.exchange(0).shard(0, world.model(0).queue());
  ahead.join();
  EXPECT_TRUE(second.load());
}

TEST(Exchange, AShardGivenUpLetsTheOthersEnd) {
  LaggingWorker run;
  run.wait_until_other_waits();
  run.lagging_.reset();
  run.end_other();
  EXPECT_EQ(run.begun_.load(), 15);
  EXPECT_FALSE(run.world_.exchange(0).poll());
}

TEST(Exchange, CopiesServeAllSteps) {
  World world(2, options_for(16));
  std::mt19937 random(5);
  step_shuffled(world, 0, random);
  const int copies = world.exchange(0).live_copies();
  EXPECT_EQ(copies, 8);  // all shards of a rank were open at once
  const std::uint64_t calls = world.model(0).device().memory().stats().system_calls;
  for (std::uint64_t step = 1; step < 5; ++step) {
    step_shuffled(world, step, random);
  }
  EXPECT_EQ(world.exchange(0).live_copies(), copies);
  EXPECT_EQ(world.model(0).device().memory().stats().system_calls, calls);
}

TEST(Exchange, FewBucketsAtOnceGiveTheSameSums) {
  for (const int ranks : {2, 3, 5}) {
    ExchangeOptions options = options_for(13);
    const Result all = run_shuffled(ranks, options, 3);
    for (const std::size_t at_once : {0, 1, 2, 3}) {
      options.buckets_at_once = at_once;
      EXPECT_TRUE(run_shuffled(ranks, options, 4) == all) << ranks << " ranks, " << at_once;
      options.needs_norm = true;
      EXPECT_GT(run_shuffled(ranks, options, 4).norm, 0);
      options.needs_norm = false;
    }
  }
}

TEST(Exchange, FewBucketsAtOnceTakeLessMemory) {
  const auto held = [](std::size_t at_once) {
    ExchangeOptions options = options_for(16);
    options.buckets_at_once = at_once;
    World world(4, options);
    std::mt19937 random(5);
    step_shuffled(world, 0, random);
    return world.model(3).device().memory().stats().live_bytes;
  };
  // The last rank sums all five buckets, each of a block at most, from three others.
  constexpr std::uint64_t kOfABucket = 3 * sizeof(float) * kReduceBlock;
  EXPECT_LT(held(1) + 3 * kOfABucket, held(16));
}

TEST(Exchange, RestGivesCopiesBackUntilTheNextStep) {
  World world(2, options_for(16));
  World other(2, options_for(16));
  std::mt19937 random(5);
  for (std::uint64_t step = 0; step < 3; ++step) {
    step_shuffled(world, step, random);
    step_shuffled(other, step, random);
    const auto live = [&] { return world.model(0).device().memory().stats().live_bytes; };
    const std::uint64_t before = live();
    world.exchange(0).rest();
    EXPECT_EQ(world.exchange(0).live_copies(), 0);
    EXPECT_LT(live() + 8 * std::uint64_t{18000} * sizeof(float), before);
  }
  EXPECT_TRUE(world.result() == other.result());
  world.begin();
  EXPECT_EQ(test::message_of<Error>([&] { world.exchange(0).rest(); }),
            "exchange: rest() while the last step has not ended");
}

TEST(Exchange, BucketsMoveWhileTheLastShardIsUnderWay) {
  World world(2, options_for(2));
  world.begin();
  std::vector<std::unique_ptr<ShardGradients>> shards;
  for (int r = 0; r < 2; ++r) {
    shards.push_back(world.exchange(r).shard(r, world.model(r).queue()));
    EXPECT_FALSE(world.exchange(r).poll());
    EXPECT_EQ(world.local().bytes_sent(r), 0);
    world.model(r).complete(*shards.back(), 0, r, 4);
    world.model(r).complete(*shards.back(), 0, r, 3);
  }
  for (int round = 0; round < 10; ++round) {
    for (int r = 0; r < 2; ++r) {
      EXPECT_FALSE(world.exchange(r).poll());
    }
  }
  // "d" and "e" fill the last block, part of the second last: bucket 0 is through on both ranks.
  const std::vector<float> before = world.model(0).weights();
  const std::int64_t last = world.model(0).parameters().info(4).offset;
  EXPECT_EQ(before[static_cast<std::size_t>(last)],
            test::wild(0, 0, static_cast<std::uint64_t>(last)) +
                test::wild(0, 1, static_cast<std::uint64_t>(last)));
  EXPECT_GT(world.local().bytes_sent(0), 0);
  EXPECT_EQ(before.front(), 0);
  for (int r = 0; r < 2; ++r) {
    Model& model = world.model(r);
    for (int p = 2; p >= 0; --p) {
      model.complete(*shards[static_cast<std::size_t>(r)], 0, r, p);
    }
    Model::finish(*shards[static_cast<std::size_t>(r)], r);
  }
  world.poll_all();
  EXPECT_NE(world.result().weights.front(), 0);
}

TEST(Exchange, SegmentsTileTheArena) {
  for (const int ranks : {1, 2, 3, 16}) {
    World world(ranks, options_for(16));
    std::vector<Range> all;
    for (int r = 0; r < ranks; ++r) {
      const std::vector<Range> own = world.exchange(r).owned_segments();
      EXPECT_TRUE(std::is_sorted(own.begin(), own.end(),
                                 [](const Range& a, const Range& b) { return a.first < b.first; }));
      all.insert(all.end(), own.begin(), own.end());
    }
    std::sort(all.begin(), all.end(),
              [](const Range& a, const Range& b) { return a.first < b.first; });
    std::int64_t next = 0;
    for (const Range& range : all) {
      EXPECT_EQ(range.first, next);
      EXPECT_GT(range.size(), 0);
      next = range.last;
    }
    EXPECT_EQ(next, world.model(0).parameters().arena_elements());
  }
}

TEST(Exchange, OnlyOwnSegmentsAreUpdated) {
  World world(3, options_for(8));
  std::vector<std::vector<Range>> updated(3);
  for (int r = 0; r < 3; ++r) {
    world.exchange(r).begin(world.model(r).queue(),
                            [&, r](Range elements, const Tensor& gradient, double norm) {
                              EXPECT_EQ(gradient.elements(), elements.size());
                              EXPECT_EQ(norm, 0);
                              updated[static_cast<std::size_t>(r)].push_back(elements);
                            });
    const Range owned = world.exchange(r).owned_shards();
    for (std::int64_t s = owned.first; s < owned.last; ++s) {
      Model::finish(*world.exchange(r).shard(s, world.model(r).queue()), s);
    }
  }
  world.poll_all();
  for (int r = 0; r < 3; ++r) {
    auto& ranges = updated[static_cast<std::size_t>(r)];
    std::reverse(ranges.begin(), ranges.end());
    EXPECT_EQ(ranges, world.exchange(r).owned_segments());
  }
}

TEST(Exchange, BytesAreCounted) {
  for (const auto mode : {ExchangeMode::kCanonical, ExchangeMode::kLibrary}) {
    for (const int ranks : {1, 3, 5}) {
      ExchangeOptions options = options_for(16, true);
      options.mode = mode;
      World world(ranks, options);
      std::mt19937 random(1);
      step_shuffled(world, 0, random);
      for (int r = 0; r < ranks; ++r) {
        EXPECT_EQ(world.exchange(r).bytes_sent_per_step(), world.local().bytes_sent(r));
      }
    }
  }
}

TEST(Exchange, VersionChangesOncePerStep) {
  World world(1, options_for(4));
  std::mt19937 random(1);
  const std::uint64_t before = world.model(0).parameters().arena().buffer().version();
  step_shuffled(world, 0, random);
  EXPECT_TRUE(world.exchange(0).poll());
  EXPECT_EQ(world.model(0).parameters().arena().buffer().version(), before + 1);
}

TEST(Exchange, ShardsWithoutGradientsCountAsZero) {
  World world(2, options_for(2));
  std::mt19937 random(1);
  step_shuffled(world, 0, random);  // leaves values in the copies
  const std::vector<float> before = world.model(0).weights();
  world.begin();
  for (int r = 0; r < 2; ++r) {
    world.exchange(r).shard(r, world.model(r).queue())->finish();
  }
  world.poll_all();
  const Result result = world.result();
  EXPECT_EQ(result.weights, before);
  EXPECT_EQ(result.statistics, std::vector<float>(5, 0.0F));
}

TEST(Exchange, FrozenParametersAreNeverWaitedFor) {
  for (const int ranks : {1, 3}) {
    World world(ranks, options_for(4, true));
    std::mt19937 random(1);
    step_shuffled(world, 0, random);
    const std::vector<float> before = world.model(0).weights();
    // "d" shares blocks with "c" and "e"; the first block holds "a" alone and is passed over.
    step_shuffled(world, 1, random, {false, false, false, true, false});
    const std::vector<float> after = world.result().weights;
    const ParameterInfo& d = world.model(0).parameters().info(3);
    const auto scale = static_cast<float>(1 / (1 + world.result().norm));
    for (std::size_t i = 0; i < after.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const bool inside = at >= d.offset && at < d.offset + d.shape.elements();
      const float gradient = test::tree_sum(
          {test::wild(1, 0, i), test::wild(1, 1, i), test::wild(1, 2, i), test::wild(1, 3, i)});
      ASSERT_EQ(after[i], before[i] + (inside ? gradient * scale : 0)) << "element " << i;
    }
    step_shuffled(world, 2, random);
    EXPECT_NE(world.result().weights.front(), after.front());
  }
}

TEST(Exchange, AllFrozenStillSumsStatistics) {
  World world(2, options_for(2));
  std::mt19937 random(1);
  const std::uint64_t version = world.model(0).parameters().arena().buffer().version();
  step_shuffled(world, 0, random, std::vector<bool>(5, false));
  EXPECT_EQ(world.result().statistics.front(), 1);
  EXPECT_EQ(world.model(0).parameters().arena().buffer().version(), version);
}

TEST(Exchange, WorksWithoutStatistics) {
  ExchangeOptions options = options_for(4);
  options.statistics = 0;
  EXPECT_EQ(run_shuffled(1, options, 1).weights, run_shuffled(3, options, 2).weights);
}

TEST(Exchange, TwoAtOnceKeepApart) {
  LocalRanks local(2);
  std::vector<Model> first(2);
  std::vector<Model> second(2);
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (int r = 0; r < 2; ++r) {
    for (Model* model :
         {&first[static_cast<std::size_t>(r)], &second[static_cast<std::size_t>(r)]}) {
      exchanges.push_back(std::make_unique<Exchange>(local.rank(r), model->device(),
                                                     model->parameters(), options_for(2)));
      Exchange& exchange = *exchanges.back();
      exchange.begin(model->queue(), model->add_gradient());
      const std::uint64_t step = model == &second[static_cast<std::size_t>(r)] ? 1 : 0;
      Course course{r, r, 4, exchange.shard(r, model->queue())};
      while (!course.advance(*model, step)) {
      }
    }
  }
  // Rank 1 polls the second exchange first.
  bool done = false;
  for (int round = 0; round < 100 && !done; ++round) {
    done = true;
    for (const std::size_t e : {0U, 3U, 1U, 2U}) {
      done = exchanges[e]->poll() && done;
    }
  }
  EXPECT_TRUE(done);
  EXPECT_EQ(first[0].weights(), first[1].weights());
  EXPECT_EQ(second[0].weights(), second[1].weights());
  EXPECT_EQ(first[0].weights().front(), test::wild(0, 0, 0) + test::wild(0, 1, 0));
  EXPECT_EQ(second[0].weights().front(), test::wild(1, 0, 0) + test::wild(1, 1, 0));
}

TEST(Exchange, MayBeAbandonedInMidStep) {
  World world(2, options_for(4));
  world.begin();
  for (int r = 0; r < 2; ++r) {
    const Range owned = world.exchange(r).owned_shards();
    for (std::int64_t s = owned.first; s < owned.last; ++s) {
      const auto gradients = world.exchange(r).shard(s, world.model(r).queue());
      world.model(r).complete(*gradients, 0, s, 4);
      world.model(r).complete(*gradients, 0, s, 3);
    }
  }
  EXPECT_FALSE(world.exchange(0).poll());
  EXPECT_GT(world.local().bytes_sent(0), 0);
}

TEST(Exchange, MisuseIsNamed) {
  using test::message_of;
  World world(2, options_for(4));
  Model& model = world.model(1);
  Exchange& exchange = world.exchange(1);
  EXPECT_TRUE(exchange.poll());
  EXPECT_EQ(message_of<Error>([&] { exchange.shard(2, model.queue()); }),
            "exchange: shard 2 outside of a step");
  EXPECT_EQ(message_of<ShapeError>([&] { exchange.begin(model.queue(), {}, {true}); }),
            "exchange: 1 trainable flags for 5 parameters");
  exchange.begin(model.queue(), model.add_gradient(), {true, true, true, true, false});
  EXPECT_EQ(message_of<Error>([&] { exchange.begin(model.queue(), {}); }),
            "exchange: begin() while the last step has not ended");
  EXPECT_EQ(message_of<Error>([&] { exchange.shard(1, model.queue()); }),
            "shard 1 is not one of this rank's, [2, 4)");
  const auto gradients = exchange.shard(2, model.queue());
  EXPECT_EQ(gradients->set_id(), model.parameters().id());
  EXPECT_EQ(message_of<Error>([&] { exchange.shard(2, model.queue()); }),
            "shard 2 was already begun in this step");
  EXPECT_EQ(message_of<Error>([&] { gradients->complete(4); }),
            "shard 2: the gradient of e came though it is frozen");
  model.complete(*gradients, 0, 2, 3);
  EXPECT_EQ(message_of<Error>([&] { gradients->complete(3); }),
            "shard 2: the gradient of d came twice");
  gradients->finish();
  EXPECT_EQ(message_of<Error>([&] { gradients->finish(); }), "shard 2: used after finish()");
}

TEST(Exchange, OnlyFloatsAreExchanged) {
  Model model;
  ParameterSet doubles;
  doubles.add("w", {3}, {}, 1, 1);
  doubles.allocate(model.device(), model.queue(), DType::kF64);
  const auto single = make_single();
  EXPECT_EQ(test::message_of<ShapeError>(
                [&] { const Exchange exchange(*single, model.device(), doubles, options_for(1)); }),
            "exchange: the parameters are f64 but only f32 is exchanged");
}

}  // namespace
}  // namespace gentrain::comm
