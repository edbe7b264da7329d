// Shards that a worker delivers side by side: the same bytes as one by one, on any ranks.
#include <functional>
#include <numeric>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/comm/exchange_world.h"
#include "tests/support/compare.h"

namespace gentrain::comm {
namespace {

using test::kSteps;
using test::Model;
using test::options_for;
using test::Result;
using test::World;

using Sum = std::function<float(std::vector<float>)>;

/// Writes the sum over the run's shards for each parameter, and the statistics of each shard.
void deliver(Model& model, ShardGradients& gradients, std::uint64_t step, const Range& run,
             const Sum& sum) {
  for (int p = model.parameters().size() - 1; p >= 0; --p) {
    const Tensor slot = gradients.slot(p);
    for (std::int64_t i = 0; i < slot.elements(); ++i) {
      std::vector<float> values;
      values.reserve(static_cast<std::size_t>(run.size()));
      for (std::int64_t shard = run.first; shard < run.last; ++shard) {
        values.push_back(
            test::wild(step, static_cast<std::uint64_t>(shard),
                       static_cast<std::uint64_t>(model.parameters().info(p).offset + i)));
      }
      slot.view().as<float>()[i] = sum(std::move(values));
    }
    gradients.complete(p);
  }
  for (std::int64_t shard = run.first; shard < run.last; ++shard) {
    const std::span<float> statistics = gradients.statistics(shard - run.first);
    for (std::size_t i = 0; i < statistics.size(); ++i) {
      statistics[i] = static_cast<float>(shard) + static_cast<float>(i) / 3;
    }
  }
  gradients.finish();
}

Result in_runs(int ranks, ExchangeOptions options, std::int64_t most, const Sum& sum) {
  options.side_by_side = most;
  World world(ranks, options);
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    world.begin();
    for (int r = 0; r < ranks; ++r) {
      Model& model = world.model(r);
      for (const Range& run : world.exchange(r).runs()) {
        deliver(model, *world.exchange(r).run(run, model.queue()), step, run, sum);
      }
    }
    world.poll_all();
  }
  return world.result();
}

TEST(ExchangeRuns, AnyRunsGiveTheSameBytes) {
  for (const std::int64_t shards : {6, 16, 21}) {
    const Result expected = test::run_shuffled(1, options_for(shards), 1);
    for (const int ranks : {1, 3}) {
      for (const std::int64_t most : {2, 16}) {
        EXPECT_TRUE(in_runs(ranks, options_for(shards), most, test::tree_sum) == expected)
            << shards << " shards, " << ranks << " ranks, runs of " << most;
      }
    }
  }
}

TEST(ExchangeRuns, AnotherOrderInARunIsAnotherSum) {
  const Sum in_order = [](const std::vector<float>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0F);
  };
  const Result expected = test::run_shuffled(1, options_for(16), 1);
  const Result other = in_runs(1, options_for(16), 8, in_order);
  EXPECT_NE(other.weights, expected.weights);
  EXPECT_EQ(other.statistics, expected.statistics);
}

TEST(ExchangeRuns, MisuseIsNamed) {
  using test::message_of;
  ExchangeOptions options = options_for(8);
  options.side_by_side = 4;
  World world(1, options);
  Exchange& exchange = world.exchange(0);
  Queue& queue = world.model(0).queue();
  EXPECT_EQ(exchange.runs(), (std::vector<Range>{{0, 4}, {4, 8}}));
  EXPECT_EQ(message_of<Error>([&] {
              exchange.run({0, 4}, queue);
            }),
            "exchange: shard 0 outside of a step");
  world.begin();
  EXPECT_EQ(message_of<Error>([&] {
              exchange.run({0, 2}, queue);
            }),
            "shards [0, 2) are not one of the runs that this rank's are cut into");
  EXPECT_EQ(message_of<Error>([&] { exchange.shard(0, queue); }),
            "shards [0, 1) are not one of the runs that this rank's are cut into");
  const auto gradients = exchange.run({4, 8}, queue);
  EXPECT_EQ(gradients->shards(), 4);
  EXPECT_EQ(message_of<Error>([&] {
              exchange.run({4, 8}, queue);
            }),
            "shard 4 was already begun in this step");
  EXPECT_EQ(message_of<Error>([&] { static_cast<void>(gradients->statistics(4)); }),
            "shard 4: statistics of shard 4 of a run of 4");
  EXPECT_EQ(message_of<Error>([&] { static_cast<void>(gradients->statistics(-1)); }),
            "shard 4: statistics of shard -1 of a run of 4");
}

}  // namespace
}  // namespace gentrain::comm
