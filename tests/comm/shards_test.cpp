// Shards, covers and the tree: for every number of shards up to 64 and every number of ranks, what
// the ranks add is what the tree, level by level, adds.
#include "comm/shards.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "comm/gradient_tree.h"
#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::comm {
namespace {

/// Stands for a sum and the order in which it was taken: another order gives another mark.
using Mark = std::uint64_t;

/// Never 0.
Mark mark_of(std::int64_t shard) {
  return static_cast<Mark>(shard) + 1;
}
Mark sum_of(Mark left, Mark right) {
  const Mark mixed = (left * 0x9E3779B97F4A7C15U + (right ^ (right >> 31))) * 0xBF58476D1CE4E5B9U;
  return mixed ^ (mixed >> 29);
}

Mark level_by_level(std::int64_t shards) {
  std::vector<Mark> values;
  for (std::int64_t s = 0; s < shards; ++s) {
    values.push_back(mark_of(s));
  }
  while (values.size() > 1) {
    std::vector<Mark> above;
    for (std::size_t i = 0; i < values.size(); i += 2) {
      above.push_back(i + 1 < values.size() ? sum_of(values[i], values[i + 1]) : values[i]);
    }
    values = above;
  }
  return values.front();
}

/// The partial sums of one rank whose shards end in a shuffled order.
std::vector<Mark> merge(const GradientTree& tree, std::mt19937& random) {
  using Next = GradientTree::Next;
  std::vector<std::int64_t> order;
  for (std::int64_t s = tree.owned().first; s < tree.owned().last; ++s) {
    order.push_back(s);
  }
  std::shuffle(order.begin(), order.end(), random);
  std::vector<Mark> parked(tree.nodes());
  std::vector<Mark> partials(static_cast<std::size_t>(tree.partials_of(tree.rank())));
  for (const std::int64_t shard : order) {
    Mark value = mark_of(shard);
    std::size_t node = tree.leaf(shard);
    while (value != 0 && tree.next(node) != Next::kPartial) {
      EXPECT_NE(tree.next(node), Next::kForeign);
      if (tree.next(node) == Next::kMerge) {
        const Mark sibling = std::exchange(parked[node ^ 1], 0);
        if (sibling == 0) {
          parked[node] = std::exchange(value, 0);
        } else {
          value = node % 2 == 0 ? sum_of(value, sibling) : sum_of(sibling, value);
        }
      }
      node /= 2;
    }
    if (value != 0) {
      partials[static_cast<std::size_t>(tree.partial_index(node))] = value;
    }
  }
  return partials;
}

TEST(Shards, PartsCoverTheWhole) {
  EXPECT_EQ(part_of(16, 3, 0), (Range{0, 5}));
  EXPECT_EQ(part_of(16, 3, 1), (Range{5, 10}));
  EXPECT_EQ(part_of(16, 3, 2), (Range{10, 16}));
  EXPECT_EQ(part_of(2, 4, 0), (Range{0, 0}));
  for (std::int64_t total = 0; total < 40; ++total) {
    for (std::int64_t parts = 1; parts < 20; ++parts) {
      std::int64_t next = 0;
      for (std::int64_t part = 0; part < parts; ++part) {
        const Range range = part_of(total, parts, part);
        EXPECT_EQ(range.first, next);
        EXPECT_LE(range.size(), (total + parts - 1) / parts);
        next = range.last;
      }
      EXPECT_EQ(next, total);
    }
  }
}

TEST(Shards, RootsAndCoveredShards) {
  EXPECT_EQ(root_of(1), (TreeNode{0, 0}));
  EXPECT_EQ(root_of(2), (TreeNode{1, 0}));
  EXPECT_EQ(root_of(5), (TreeNode{3, 0}));
  EXPECT_EQ(root_of(16), (TreeNode{4, 0}));
  EXPECT_EQ(covered({2, 1}, 16), (Range{4, 8}));
  EXPECT_EQ(covered({2, 1}, 6), (Range{4, 6}));
  EXPECT_EQ(covered({2, 1}, 4).size(), 0);
  EXPECT_EQ(covered({0, 9}, 4).size(), 0);
}

TEST(Shards, CoversAreTheFewestNodes) {
  using Nodes = std::vector<TreeNode>;
  EXPECT_EQ(cover({0, 16}, 16), (Nodes{{4, 0}}));
  EXPECT_EQ(cover({0, 5}, 16), (Nodes{{2, 0}, {0, 4}}));
  EXPECT_EQ(cover({5, 10}, 16), (Nodes{{0, 5}, {1, 3}, {1, 4}}));
  EXPECT_EQ(cover({10, 16}, 16), (Nodes{{1, 5}, {2, 3}}));
  EXPECT_EQ(cover({4, 6}, 6), (Nodes{{2, 1}}));
  EXPECT_EQ(cover({3, 3}, 6), Nodes{});
}

TEST(Shards, RunsAreNodesThatKeepTheWorkersBusy) {
  using Runs = std::vector<Range>;
  EXPECT_EQ(runs_of({0, 4}, 1, 2), (Runs{{0, 1}, {1, 2}, {2, 3}, {3, 4}}));
  EXPECT_EQ(runs_of({0, 16}, 64, 1), (Runs{{0, 16}}));
  EXPECT_EQ(runs_of({0, 16}, 64, 2), (Runs{{0, 8}, {8, 16}}));
  EXPECT_EQ(runs_of({0, 16}, 7, 2), (Runs{{0, 4}, {4, 8}, {8, 12}, {12, 16}}));
  EXPECT_EQ(runs_of({0, 8}, 8, 3), runs_of({0, 8}, 1, 3)) << "3, 3 and 2";
  EXPECT_EQ(runs_of({0, 16}, 16, 5), (Runs{{0, 4}, {4, 8}, {8, 12}, {12, 16}})) << "one is idle";
  EXPECT_EQ(runs_of({5, 10}, 8, 1), (Runs{{5, 6}, {6, 8}, {8, 10}}));
  EXPECT_EQ(runs_of({3, 3}, 8, 1), Runs{});
  for (std::int64_t first = 0; first < 20; ++first) {
    for (std::int64_t last = first; last < 40; ++last) {
      std::int64_t next = first;
      for (const Range& run : runs_of({first, last}, 8, 2)) {
        EXPECT_EQ(run.first, next);
        EXPECT_EQ(cover(run, 40).size(), 1U) << run.first << " to " << run.last;
        EXPECT_LE(run.size(), 8);
        next = run.last;
      }
      EXPECT_EQ(next, last);
    }
  }
}

TEST(Shards, RunsHoldFewGradients) {
  EXPECT_EQ(gradient_copies(runs_of({0, 16}, 16, 1), 16, 1), 1);
  EXPECT_EQ(gradient_copies(runs_of({0, 16}, 16, 2), 16, 2), 2);
  EXPECT_EQ(gradient_copies(runs_of({0, 16}, 4, 2), 16, 2), 3);  // two, and the first eight
}

TEST(Shards, RanksAddWhatTheTreeAdds) {
  std::mt19937 random(7);
  int pairs = 0;
  for (std::int64_t shards = 1; shards <= 64; ++shards) {
    const Mark expected = level_by_level(shards);
    for (int ranks = 1; ranks <= shards; ++ranks) {
      std::vector<Mark> partials;
      std::vector<TreeAdd> adds;
      for (int r = 0; r < ranks; ++r) {
        const GradientTree tree(shards, ranks, r);
        EXPECT_EQ(tree.first_partial(r), static_cast<int>(partials.size()));
        const std::vector<Mark> own = merge(tree, random);
        partials.insert(partials.end(), own.begin(), own.end());
        adds = tree.adds();
      }
      for (const TreeAdd& add : adds) {
        Mark& into = partials[static_cast<std::size_t>(add.into)];
        into = sum_of(into, partials[static_cast<std::size_t>(add.from)]);
      }
      ASSERT_EQ(partials.front(), expected) << shards << " shards, " << ranks << " ranks";
      ++pairs;
    }
  }
  EXPECT_EQ(pairs, 2080);
}

// Every rank plans the adds of all: the time must not grow with the square of their number.
TEST(Shards, ManyRanksArePlannedQuickly) {
  constexpr int kRanks = 1 << 16;
  const auto start = std::chrono::steady_clock::now();
  const GradientTree tree(kRanks, kRanks, 77);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(tree.partials(), kRanks);
  EXPECT_EQ(tree.adds().size(), kRanks - 1U);
  EXPECT_EQ(tree.next(tree.leaf(77)), GradientTree::Next::kPartial);
}

TEST(Shards, AnotherOrderIsAnotherSum) {
  const Mark one = mark_of(1);
  const Mark two = mark_of(2);
  const Mark three = mark_of(3);
  EXPECT_NE(sum_of(sum_of(one, two), three), sum_of(one, sum_of(two, three)));
  EXPECT_NE(sum_of(one, two), sum_of(two, one));
}

TEST(Shards, OneRankHasOnePartialSum) {
  for (std::int64_t shards = 1; shards <= 64; ++shards) {
    const GradientTree tree(shards, 1, 0);
    EXPECT_EQ(tree.partials(), 1);
    EXPECT_TRUE(tree.adds().empty());
  }
}

TEST(Shards, MoreRanksThanShardsAreRefused) {
  EXPECT_EQ(test::message_of<JobError>([] { const GradientTree tree(8, 16, 0); }),
            "16 ranks but only 8 shards: start at most 8 ranks or set batch.shards to 16 or more");
}

}  // namespace
}  // namespace gentrain::comm
