// Buckets and segments: they cover the arena, begin on block boundaries, and bucket 0 is its end.
#include "comm/buckets.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/reduce.h"
#include "tests/support/compare.h"

namespace gentrain::comm {
namespace {

TEST(Buckets, FirstIsTheEndOfTheArena) {
  // 5 blocks, the last of 16 elements; buckets of two blocks.
  const auto buckets = make_buckets(4 * kReduceBlock + 16, 2 * kReduceBlock, 3, 2);
  ASSERT_EQ(buckets.size(), 4U);
  EXPECT_EQ(buckets[0].elements, (Range{3 * kReduceBlock, 4 * kReduceBlock + 16}));
  EXPECT_EQ(buckets[1].elements, (Range{kReduceBlock, 3 * kReduceBlock}));
  EXPECT_EQ(buckets[2].elements, (Range{0, kReduceBlock}));
  EXPECT_EQ(buckets[0].segments[0], (Range{3 * kReduceBlock, 4 * kReduceBlock}));
  EXPECT_EQ(buckets[0].segments[1], (Range{4 * kReduceBlock, 4 * kReduceBlock + 16}));
  EXPECT_EQ(buckets[2].segments[0].size(), 0);
  EXPECT_EQ(buckets[2].segments[1], (Range{0, kReduceBlock}));
}

TEST(Buckets, EveryRankSumsTheStatistics) {
  const auto buckets = make_buckets(100, kReduceBlock, 3, 2);
  ASSERT_EQ(buckets.size(), 2U);
  EXPECT_EQ(buckets[1].elements, (Range{100, 103}));
  EXPECT_EQ(buckets[1].segments[0], buckets[1].elements);
  EXPECT_EQ(buckets[1].segments[1], buckets[1].elements);
}

/// Checks that the segments of all buckets, ascending, tile [0, elements).
void expect_tiles(std::vector<Bucket> buckets, std::int64_t elements) {
  std::reverse(buckets.begin(), buckets.end());
  std::int64_t next = 0;
  for (const Bucket& bucket : buckets) {
    EXPECT_EQ(bucket.elements.first, next);
    for (const Range& segment : bucket.segments) {
      EXPECT_EQ(segment.first, next);
      EXPECT_TRUE(segment.size() == 0 || segment.first % kReduceBlock == 0);
      next = segment.last;
    }
    EXPECT_EQ(bucket.elements.last, next);
  }
  EXPECT_EQ(next, elements);
}

TEST(Buckets, SegmentsTileTheArenaInBlocks) {
  for (const std::int64_t elements : {0, 16, 4096, 4112, 70000}) {
    for (int ranks = 1; ranks <= 9; ++ranks) {
      auto buckets = make_buckets(elements, 3 * kReduceBlock, 0, ranks);
      buckets.pop_back();
      expect_tiles(std::move(buckets), elements);
    }
  }
}

TEST(Buckets, SizesAreMultiplesOfABlock) {
  for (const std::int64_t size : {0, 5000}) {
    EXPECT_EQ(
        test::message_of<ShapeError>([&] { make_buckets(100, size, 0, 1); }),
        "a bucket of " + std::to_string(size) + " elements: needs a positive multiple of 4096");
  }
}

}  // namespace
}  // namespace gentrain::comm
