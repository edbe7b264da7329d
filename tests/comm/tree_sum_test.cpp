// Sums over the tree: the bits of adding node by node, for any ranks and any order of the shards.
#include "comm/tree_sum.h"

#include <algorithm>
#include <functional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/local_ranks.h"
#include "tests/support/noise.h"

namespace gentrain::comm {
namespace {

using test::LocalRanks;
using test::message_of;

std::vector<double> vector_of(std::int64_t shard, std::int64_t elements) {
  const std::vector<float> values = test::floats(elements, static_cast<std::uint64_t>(shard) + 1);
  std::vector<double> wide(values.begin(), values.end());
  for (double& value : wide) {
    value /= 3;
  }
  return wide;
}

/// The value of a node, by the definition of the tree.
std::vector<double> value_of(const TreeNode& node, std::int64_t shards, std::int64_t elements) {
  if (node.level == 0) {
    return vector_of(node.index, elements);
  }
  std::vector<double> left = value_of({node.level - 1, node.index * 2}, shards, elements);
  const TreeNode right{node.level - 1, node.index * 2 + 1};
  if (covered(right, shards).size() > 0) {
    const std::vector<double> other = value_of(right, shards, elements);
    std::transform(left.begin(), left.end(), other.begin(), left.begin(), std::plus<>());
  }
  return left;
}

/// `body` as every rank, each on a thread of its own.
void on_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  LocalRanks world(ranks);
  std::vector<std::jthread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&world, &body, r] { body(world.rank(r)); });
  }
}

TEST(TreeSum, HasTheBitsOfTheTreeForAnyRanks) {
  for (const std::int64_t shards : {1, 2, 5, 8, 13, 16}) {
    for (const std::int64_t elements : {1, 3, 100}) {
      const std::vector<double> expected = value_of(root_of(shards), shards, elements);
      for (const int ranks : {1, 2, 3, 4, 5, 16}) {
        if (ranks > shards) {
          continue;
        }
        on_ranks(ranks, [&](Communicator& communicator) {
          TreeSum sum(communicator, shards);
          for (const bool backwards : {false, true}) {  // one sum after another
            const Range owned = sum.owned();
            for (std::int64_t i = 0; i < owned.size(); ++i) {
              const std::int64_t shard = backwards ? owned.last - 1 - i : owned.first + i;
              std::vector<double> value = sum.zeros(elements);
              EXPECT_EQ(value, std::vector<double>(static_cast<std::size_t>(elements)));
              value = vector_of(shard, elements);
              sum.put(shard, std::move(value));
            }
            EXPECT_EQ(sum.finish(elements), expected) << shards << " shards, " << ranks << " ranks";
          }
        });
      }
    }
  }
}

TEST(TreeSum, ShardsMayComeFromSeveralThreads) {
  LocalRanks world(1);
  TreeSum sum(world.rank(0), 16);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::jthread> threads;
    for (std::int64_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&sum, thread] {
        for (std::int64_t shard = thread; shard < 16; shard += 4) {
          sum.put(shard, vector_of(shard, 7));
        }
      });
    }
    threads.clear();
    ASSERT_EQ(sum.finish(7), value_of(root_of(16), 16, 7));
  }
}

/// The twin: from the first shard to the last the sum has other bits.
TEST(TreeSum, AnotherOrderIsAnotherSum) {
  std::vector<double> plain(100);
  for (std::int64_t shard = 0; shard < 16; ++shard) {
    const std::vector<double> value = vector_of(shard, 100);
    std::transform(plain.begin(), plain.end(), value.begin(), plain.begin(), std::plus<>());
  }
  EXPECT_NE(plain, value_of(root_of(16), 16, 100));
}

TEST(TreeSum, ASumThatIsGivenUpLeavesNothing) {
  LocalRanks world(1);
  TreeSum sum(world.rank(0), 4);
  sum.put(0, {1});
  sum.put(2, {1});
  sum.clear();
  for (std::int64_t shard = 0; shard < 4; ++shard) {
    sum.put(shard, {10});
  }
  EXPECT_EQ(sum.finish(1), std::vector<double>{40});
}

TEST(TreeSum, RefusesWhatDoesNotFit) {
  LocalRanks world(2);
  TreeSum sum(world.rank(0), 4);
  EXPECT_EQ(message_of<Error>([&] { sum.put(2, {1}); }),
            "shard 2 is not one of rank 0, which has [0, 2)");
  sum.put(0, {1});
  EXPECT_EQ(message_of<Error>([&] { sum.finish(1); }),
            "a sum of 1 elements over shards [0, 2): a partial sum has 0");
  EXPECT_EQ(message_of<Error>([&] {
              sum.put(1, {1, 2});
            }),
            "shard 1: a vector of 2 elements but its sibling has 1");
  EXPECT_EQ(message_of<JobError>([&] { TreeSum(world.rank(0), 1); }),
            "2 ranks but only 1 shards: start at most 1 ranks or set batch.shards to 2 or more");
}

}  // namespace
}  // namespace gentrain::comm
