// The exchange over several ranks inside this process: the same bits whatever the number of ranks,
// the order in which shards end, the threads and the size of buckets.
#include "comm/exchange.h"

#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/reduce.h"
#include "tests/comm/exchange_world.h"

namespace gentrain::comm {
namespace {

using test::options_for;
using test::Result;
using test::run_rank;
using test::run_shuffled;
using test::step_shuffled;
using test::World;

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
}  // namespace
}  // namespace gentrain::comm
