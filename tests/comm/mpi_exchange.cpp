// The exchange over MPI: the bits of one rank, with workers beside the thread that calls MPI.
#include <atomic>
#include <thread>

#include "kernels/reduce.h"
#include "tests/comm/exchange_bench.h"
#include "tests/comm/mpi_main.h"

namespace gentrain::comm {
namespace {

using test::communicator;
using test::Model;

struct Result {
  std::vector<float> weights;
  std::vector<float> statistics;
  double norm = 0;
};

constexpr std::uint64_t kSteps = 3;

void step_with_workers(Exchange& exchange, Model& model, std::uint64_t step) {
  exchange.begin(model.queue(), model.add_gradient());
  std::atomic<std::int64_t> next{exchange.owned_shards().first};
  std::vector<std::thread> workers;
  for (int w = 0; w < 2; ++w) {
    workers.emplace_back([&] {
      const auto queue = model.device().make_queue();
      for (std::int64_t s = next++; s < exchange.owned_shards().last; s = next++) {
        const auto gradients = exchange.shard(s, *queue);
        for (int p = model.parameters().size() - 1; p >= 0; --p) {
          model.complete(*gradients, step, s, p);
        }
        Model::finish(*gradients, s);
      }
    });
  }
  while (!exchange.poll()) {
    std::this_thread::yield();
  }
  for (std::thread& worker : workers) {
    worker.join();
  }
}

Result run(Communicator& ranks, const ExchangeOptions& options) {
  Model model;
  Exchange exchange(ranks, model.device(), model.parameters(), options);
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    step_with_workers(exchange, model, step);
  }
  return {model.weights(), exchange.statistics(), exchange.norm()};
}

ExchangeOptions options_for(std::int64_t shards, bool needs_norm) {
  ExchangeOptions options;
  options.shards = shards;
  options.bucket_elements = kReduceBlock;
  options.statistics = 5;
  options.needs_norm = needs_norm;
  return options;
}

TEST(MpiExchange, HasTheBitsOfOneRank) {
  const auto single = make_single();
  for (const std::int64_t shards : {5, 8, 16}) {
    for (const bool needs_norm : {false, true}) {
      const Result expected = run(*single, options_for(shards, needs_norm));
      const Result actual = run(communicator(), options_for(shards, needs_norm));
      EXPECT_EQ(actual.weights, expected.weights);
      EXPECT_EQ(actual.statistics, expected.statistics);
      EXPECT_EQ(actual.norm, expected.norm);
    }
  }
}

TEST(MpiExchange, LibrarySumsAreCloseAndEqualOnAllRanks) {
  ExchangeOptions options = options_for(8, true);
  const Result canonical = run(communicator(), options);
  options.mode = ExchangeMode::kLibrary;
  const Result library = run(communicator(), options);
  for (std::size_t i = 0; i < library.weights.size(); ++i) {
    ASSERT_NEAR(library.weights[i], canonical.weights[i], 1e-5);
  }
  const std::string bytes(reinterpret_cast<const char*>(library.weights.data()),
                          library.weights.size() * sizeof(float));
  for (const std::string& other : communicator().all_gather_text(bytes)) {
    EXPECT_TRUE(other == bytes);
  }
}

// Bucket 0 is through on all ranks before any shard has ended.
TEST(MpiExchange, BeginsBeforeTheLastBackwardHasEnded) {
  Model model;
  Communicator& ranks = communicator();
  Exchange exchange(ranks, model.device(), model.parameters(), options_for(ranks.size(), false));
  exchange.begin(model.queue(), model.add_gradient());
  const std::int64_t shard = ranks.rank();
  const auto gradients = exchange.shard(shard, model.queue());
  model.complete(*gradients, 0, shard, 4);
  model.complete(*gradients, 0, shard, 3);
  std::vector<float> values;
  for (int r = 0; r < ranks.size(); ++r) {
    values.push_back(test::wild(0, static_cast<std::uint64_t>(r), 18160));
  }
  ASSERT_EQ(model.parameters().info(4).offset, 18160);
  while (model.weights()[18160] == 0) {
    EXPECT_FALSE(exchange.poll());
  }
  EXPECT_EQ(model.weights()[18160], test::tree_sum(values));
  ranks.barrier();
  for (int p = 2; p >= 0; --p) {
    model.complete(*gradients, 0, shard, p);
  }
  Model::finish(*gradients, shard);
  while (!exchange.poll()) {
  }
  EXPECT_NE(model.weights()[0], 0);
}

TEST(MpiExchange, MayBeAbandonedInMidStep) {
  {
    Model model;
    Communicator& ranks = communicator();
    Exchange exchange(ranks, model.device(), model.parameters(), options_for(ranks.size(), false));
    exchange.begin(model.queue(), model.add_gradient());
    const auto gradients = exchange.shard(ranks.rank(), model.queue());
    if (ranks.rank() == 0) {
      model.complete(*gradients, 0, 0, 4);
      model.complete(*gradients, 0, 0, 3);
    }
    EXPECT_FALSE(exchange.poll());
  }
  communicator().barrier();
}

}  // namespace
}  // namespace gentrain::comm

int main(int argc, char** argv) {
  return gentrain::test::run_mpi_tests(argc, argv);
}
