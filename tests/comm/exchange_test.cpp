// The exchange over several ranks inside this process: the same bits whatever the number of ranks,
// the order in which shards end and the threads, and what happens at the edges.
#include "comm/exchange.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/reduce.h"
#include "tests/comm/exchange_bench.h"
#include "tests/support/compare.h"
#include "tests/support/local_ranks.h"

namespace gentrain::comm {
namespace {

using test::LocalRanks;
using test::Model;

constexpr std::uint64_t kSteps = 2;

struct Result {
  std::vector<float> weights;
  std::vector<float> statistics;
  double norm = 0;
  friend bool operator==(const Result&, const Result&) = default;
};

/// R ranks with a model each, in this process.
class World {
 public:
  World(int ranks, const ExchangeOptions& options) : local_(ranks), models_(ranks) {
    for (int r = 0; r < ranks; ++r) {
      Model& own = model(r);
      exchanges_.push_back(
          std::make_unique<Exchange>(local_.rank(r), own.device(), own.parameters(), options));
    }
  }

  [[nodiscard]] LocalRanks& local() { return local_; }
  [[nodiscard]] int ranks() const { return static_cast<int>(exchanges_.size()); }
  [[nodiscard]] Model& model(int rank) { return models_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] Exchange& exchange(int rank) { return *exchanges_[static_cast<std::size_t>(rank)]; }

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
  std::vector<std::unique_ptr<Exchange>> exchanges_;
};

/// One shard on its way: completes its parameters from the last to the first, then ends.
struct Course {
  int rank = 0;
  std::int64_t shard = 0;
  int next = 0;
  std::unique_ptr<ShardGradients> gradients;

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
void step_shuffled(World& world, std::uint64_t step, std::mt19937& random,
                   const std::vector<bool>& trainable = {}) {
  world.begin(trainable);
  std::vector<Course> courses;
  for (int r = 0; r < world.ranks(); ++r) {
    const Range owned = world.exchange(r).owned_shards();
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

Result run_shuffled(int ranks, const ExchangeOptions& options, unsigned seed) {
  World world(ranks, options);
  std::mt19937 random(seed);
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    step_shuffled(world, step, random);
  }
  return world.result();
}

ExchangeOptions options_for(std::int64_t shards, bool needs_norm = false) {
  ExchangeOptions options;
  options.shards = shards;
  options.bucket_elements = kReduceBlock;
  options.statistics = 5;
  options.needs_norm = needs_norm;
  return options;
}

class Ranks : public ::testing::TestWithParam<int> {};

TEST_P(Ranks, GiveTheSameBits) {
  const std::int64_t shards = GetParam();
  for (const bool needs_norm : {false, true}) {
    const ExchangeOptions options = options_for(shards, needs_norm);
    const Result one = run_shuffled(1, options, 1);
    EXPECT_EQ(one.norm > 0, needs_norm);
    for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 16}) {
      if (ranks <= shards) {
        EXPECT_TRUE(run_shuffled(ranks, options, static_cast<unsigned>(ranks)) == one)
            << ranks << " ranks, norm: " << needs_norm;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, Ranks, ::testing::Values(1, 2, 3, 5, 8, 16));

TEST(Exchange, SumsAreThoseOfTheTree) {
  for (const std::int64_t shards : {1, 5, 6, 16}) {
    World world(std::min(3, static_cast<int>(shards)), options_for(shards));
    std::mt19937 random(3);
    step_shuffled(world, 0, random);
    const Result result = world.result();
    const auto sum = [&](auto value) {
      std::vector<float> values;
      for (std::int64_t s = 0; s < shards; ++s) {
        values.push_back(value(s));
      }
      return test::tree_sum(values);
    };
    const ParameterSet& parameters = world.model(0).parameters();
    std::vector<float> expected(result.weights.size());
    for (int p = 0; p < parameters.size(); ++p) {
      const std::int64_t first = parameters.info(p).offset;
      for (std::int64_t i = first; i < first + parameters.info(p).shape.elements(); ++i) {
        const auto at = [&](std::int64_t s) {
          return test::wild(0, static_cast<std::uint64_t>(s), static_cast<std::uint64_t>(i));
        };
        expected[static_cast<std::size_t>(i)] = sum(at);
      }
    }
    EXPECT_EQ(result.weights, expected) << shards << " shards";
    for (std::size_t i = 0; i < result.statistics.size(); ++i) {
      const auto at = [&](std::int64_t s) {
        return static_cast<float>(s) + static_cast<float>(i) / 3;
      };
      EXPECT_EQ(result.statistics[i], sum(at));
    }
  }
}

// The comparisons above can fail: the library's sum, which here runs from the last rank to the
// first, has other bits, though every rank agrees on them and the values are close.
TEST(Exchange, AnotherOrderOfAdditionHasOtherBits) {
  ExchangeOptions options = options_for(16);
  const Result canonical = run_shuffled(5, options, 1);
  options.mode = ExchangeMode::kLibrary;
  const Result library = run_shuffled(5, options, 1);
  EXPECT_NE(library.weights, canonical.weights);
  for (std::size_t i = 0; i < library.weights.size(); ++i) {
    EXPECT_NEAR(library.weights[i], canonical.weights[i], 1e-5);
  }
  EXPECT_EQ(library.statistics, canonical.statistics);
}

TEST(Exchange, LibraryModeOnOneRankIsTheTree) {
  ExchangeOptions options = options_for(6);
  const Result canonical = run_shuffled(1, options, 1);
  options.mode = ExchangeMode::kLibrary;
  EXPECT_TRUE(run_shuffled(1, options, 2) == canonical);
}

TEST(Exchange, NormIsThatOfTheSummedGradient) {
  World world(3, options_for(8, true));
  std::mt19937 random(3);
  step_shuffled(world, 0, random);
  const double norm = world.result().norm;
  double squares = 0;
  for (const float w : world.model(0).weights()) {
    squares += (w * (1 + norm)) * (w * (1 + norm));
  }
  EXPECT_NEAR(norm, std::sqrt(squares), 1e-5 * norm);
}

TEST(Exchange, SizeOfBucketsDoesNotMatter) {
  ExchangeOptions options = options_for(8, true);
  const Result one = run_shuffled(3, options, 1);
  for (const std::int64_t blocks : {2, 3, 64}) {
    options.bucket_elements = blocks * kReduceBlock;
    EXPECT_TRUE(run_shuffled(3, options, 2) == one);
  }
}

/// A rank on its own thread: one polls, `workers` take shards in order.
void run_rank(World& world, int rank, int workers) {
  Exchange& exchange = world.exchange(rank);
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

TEST(Exchange, ThreadsGiveTheSameBits) {
  const ExchangeOptions options = options_for(16, true);
  const Result one = run_shuffled(1, options, 1);
  for (const int ranks : {1, 3, 5}) {
    for (const int workers : {1, 2, 3}) {
      World world(ranks, options);
      std::vector<std::thread> threads;
      for (int r = 0; r < ranks; ++r) {
        threads.emplace_back([&world, r, workers] { run_rank(world, r, workers); });
      }
      for (std::thread& thread : threads) {
        thread.join();
      }
      EXPECT_TRUE(world.result() == one) << ranks << " ranks, " << workers << " workers";
    }
  }
}

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
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(after.size()); ++i) {
      const bool inside = i >= d.offset && i < d.offset + d.shape.elements();
      const auto at = static_cast<std::size_t>(i);
      ASSERT_EQ(after[at] != before[at], inside && after[at] != before[at]) << "element " << i;
    }
    EXPECT_NE(after[static_cast<std::size_t>(d.offset)],
              before[static_cast<std::size_t>(d.offset)]);
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
