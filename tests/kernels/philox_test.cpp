// Philox4x32-10 against the known answers of the Random123 distribution, and the keys built on it.
#include "kernels/philox.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>

namespace gentrain {
namespace {

TEST(Philox, KnownAnswerForZeros) {
  EXPECT_EQ(philox({0, 0}, {0, 0, 0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
}

TEST(Philox, KnownAnswerForOnes) {
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox({kOnes, kOnes}, {kOnes, kOnes, kOnes, kOnes}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, KnownAnswerForDigitsOfPi) {
  EXPECT_EQ(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, WorksAtCompileTime) {
  static_assert(philox({0, 0}, {0, 0, 0, 0})[0] == 0x6627e8d5);
  static_assert(RngKey(1).fold(2) == RngKey(1).fold(2));
}

TEST(RngKey, DependsOnEverySeedBit) {
  std::set<PhiloxBlock> blocks{RngKey(0).block(0)};
  for (int bit = 0; bit < 64; ++bit) {
    blocks.insert(RngKey(std::uint64_t{1} << bit).block(0));
  }
  EXPECT_EQ(blocks.size(), 65U);
}

TEST(RngKey, DependsOnEveryIndexBit) {
  const RngKey key(7);
  std::set<PhiloxBlock> blocks{key.block(0)};
  std::set<PhiloxBlock> folded{key.fold(0).block(0)};
  for (int bit = 0; bit < 64; ++bit) {
    blocks.insert(key.block(std::uint64_t{1} << bit));
    folded.insert(key.fold(std::uint64_t{1} << bit).block(0));
  }
  EXPECT_EQ(blocks.size(), 65U);
  EXPECT_EQ(folded.size(), 65U);
}

TEST(RngKey, FoldsInOrder) {
  EXPECT_NE(RngKey(7).fold(1).fold(2), RngKey(7).fold(2).fold(1));
  EXPECT_NE(RngKey(7).fold(0), RngKey(7));
  EXPECT_NE(RngKey(7).fold(0).fold(0), RngKey(7).fold(0));
  EXPECT_EQ(RngKey(7).fold(3).fold(4), RngKey(7).fold(3).fold(4));
}

TEST(RngKey, AFoldIsNotABlock) {
  // Were key.fold(i) made of key.block(i)'s words, sub-streams would repeat their parent's numbers.
  const RngKey key(11);
  const PhiloxBlock block = key.block(5);
  EXPECT_NE(RngKey(block[0] | (std::uint64_t{block[1]} << 32)).block(0), key.fold(5).block(0));
}

TEST(UniformFloat, CoversTheUnitInterval) {
  EXPECT_EQ(uniform_float(0), 0.0F);
  EXPECT_EQ(uniform_float(0xff), 0.0F);
  EXPECT_EQ(uniform_float(0x100), 0x1p-24F);
  EXPECT_EQ(uniform_float(0x80000000), 0.5F);
  EXPECT_EQ(uniform_float(0xffffffff), 1.0F - 0x1p-24F);
}

TEST(UniformFloat, IsUniform) {
  // 40,000 numbers in 16 bins: each bin within 5 standard deviations of 2,500.
  std::array<int, 16> bins{};
  for (std::uint64_t i = 0; i < 10000; ++i) {
    for (const std::uint32_t word : RngKey(3).block(i)) {
      ++bins[static_cast<std::size_t>(uniform_float(word) * 16.0F)];
    }
  }
  for (const int count : bins) {
    EXPECT_NEAR(count, 2500, 5 * std::sqrt(40000.0 / 16 * 15 / 16));
  }
}

}  // namespace
}  // namespace gentrain
