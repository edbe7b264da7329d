// The order of an epoch and parts of data sets: permutations that depend on the seed and nothing
// else.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/data/dataset.h"
#include "core/data/memory_dataset.h"
#include "kernels/error.h"

namespace gentrain::data {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// `count` samples of two bytes: index and index + 100; the label is index % 3.
std::shared_ptr<const Dataset> numbered(std::int64_t count) {
  io::Bytes pixels = io::make_bytes(static_cast<std::size_t>(2 * count));
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < count; ++i) {
    pixels.data[static_cast<std::size_t>(2 * i)] = static_cast<std::uint8_t>(i);
    pixels.data[static_cast<std::size_t>(2 * i + 1)] = static_cast<std::uint8_t>(i + 100);
    labels.push_back(static_cast<std::int32_t>(i % 3));
  }
  return std::make_shared<MemoryDataset>(std::move(pixels), Shape{1, 2, 1}, std::move(labels), 3,
                                         "numbers");
}

std::vector<int> first_bytes(const Dataset& dataset) {
  std::vector<int> bytes;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    std::array<std::uint8_t, 2> sample{};
    dataset.read(i, sample.data());
    bytes.push_back(sample[0]);
  }
  return bytes;
}

TEST(SampleOrder, IsAPermutation) {
  for (const std::int64_t size : {0, 1, 2, 7, 1000, 60000}) {
    std::vector<std::int64_t> order = sample_order(1, 0, size);
    std::sort(order.begin(), order.end());
    std::vector<std::int64_t> all(static_cast<std::size_t>(size));
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(order, all) << size;
  }
}

TEST(SampleOrder, DependsOnSeedAndEpochAlone) {
  const auto order = sample_order(1, 0, 1000);
  EXPECT_EQ(sample_order(1, 0, 1000), order);
  EXPECT_NE(sample_order(2, 0, 1000), order);
  EXPECT_NE(sample_order(1, 1, 1000), order);
}

TEST(SampleOrder, AllOrdersAreAsLikely) {
  std::map<std::vector<std::int64_t>, int> counts;
  for (int epoch = 0; epoch < 12000; ++epoch) {
    ++counts[sample_order(5, epoch, 4)];
  }
  ASSERT_EQ(counts.size(), 24);
  for (const auto& [order, count] : counts) {
    EXPECT_NEAR(count, 500, 110) << order[0] << order[1] << order[2] << order[3];
  }
}

TEST(SampleOrder, RefusesWhatItCannotOrder) {
  EXPECT_THAT([] { sample_order(1, 0, -1); },
              ThrowsMessage<JobError>(HasSubstr("a data set of -1 samples cannot be shuffled")));
}

TEST(Subset, TakesSamplesInTheOrderGiven) {
  const auto part = subset(numbered(10), {7, 0, 7});
  EXPECT_EQ(part->size(), 3);
  EXPECT_EQ(first_bytes(*part), std::vector<int>({7, 0, 7}));
  EXPECT_EQ(part->label(0), 1);
  EXPECT_EQ(part->classes(), 3);
  EXPECT_TRUE(part->in_memory());
  EXPECT_EQ(part->description(), "3 of 10 samples of numbers");
}

TEST(Subset, HasTheHashOfItsContent) {
  EXPECT_EQ(subset(numbered(10), {0, 1, 2})->sha256(), numbered(3)->sha256());
  EXPECT_NE(subset(numbered(10), {0, 2, 1})->sha256(), numbered(3)->sha256());
}

TEST(Subset, RefusesAnIndexOutside) {
  EXPECT_THAT(
      [] {
        subset(numbered(10), {0, 10});
      },
      ThrowsMessage<ShapeError>(HasSubstr("sample 10 of numbers, which has 10")));
  EXPECT_THAT([] { subset(numbered(10), {-1}); },
              ThrowsMessage<ShapeError>(HasSubstr("sample -1 of numbers")));
}

TEST(SplitValidation, PartsAreDisjointAndKeepTheOrder) {
  const Split split = split_validation(numbered(100), 0.1, 3);
  const std::vector<int> train = first_bytes(*split.train);
  const std::vector<int> validation = first_bytes(*split.validation);
  EXPECT_EQ(train.size(), 90);
  EXPECT_EQ(validation.size(), 10);
  EXPECT_TRUE(std::is_sorted(train.begin(), train.end()));
  EXPECT_TRUE(std::is_sorted(validation.begin(), validation.end()));
  std::set<int> all(train.begin(), train.end());
  all.insert(validation.begin(), validation.end());
  EXPECT_EQ(all.size(), 100);
}

TEST(SplitValidation, DependsOnTheSeed) {
  const auto validation = [](std::uint64_t seed) {
    return first_bytes(*split_validation(numbered(100), 0.3, seed).validation);
  };
  EXPECT_EQ(validation(1), validation(1));
  EXPECT_NE(validation(1), validation(2));
}

TEST(SplitValidation, IndicesAreThoseOfTheDataSets) {
  const SplitIndices indices = split_indices(100, 0.4, 3);
  const Split split = split_validation(numbered(100), 0.4, 3);
  const std::vector<int> train = first_bytes(*split.train);
  const std::vector<int> validation = first_bytes(*split.validation);
  EXPECT_EQ(indices.train, std::vector<std::int64_t>(train.begin(), train.end()));
  EXPECT_EQ(indices.validation, std::vector<std::int64_t>(validation.begin(), validation.end()));
  EXPECT_NE(split_indices(100, 0.4, 4).train, indices.train);
}

TEST(SplitValidation, RefusesEmptyParts) {
  EXPECT_THAT([] { split_validation(numbered(10), 0.01, 1); },
              ThrowsMessage<JobError>(
                  HasSubstr("data.validation: a fraction of 0.01 of 10 samples leaves 10 for "
                            "training and 0 for validation")));
  EXPECT_THAT([] { split_validation(numbered(10), 0.99, 1); },
              ThrowsMessage<JobError>(HasSubstr("leaves 0 for training and 10")));
  for (const double fraction : {0.0, 1.0, -0.5}) {
    EXPECT_THAT([&] { split_validation(numbered(10), fraction, 1); },
                ThrowsMessage<JobError>(HasSubstr("a fraction between 0 and 1 is needed, not")));
  }
}

TEST(PixelStatistics, MeanAndDeviation) {
  PixelStatistics statistics;
  const std::vector<std::uint8_t> pixels = {0, 255, 0, 255, 0};
  statistics.add(pixels);
  statistics.add(std::span(pixels).subspan(1, 1));
  EXPECT_DOUBLE_EQ(statistics.normalization().mean, 0.5);
  EXPECT_DOUBLE_EQ(statistics.normalization().stddev, 0.5);
}

TEST(PixelStatistics, ADeviationOfZeroBecomesOne) {
  PixelStatistics statistics;
  statistics.add(std::vector<std::uint8_t>(100, 51));
  EXPECT_DOUBLE_EQ(statistics.normalization().mean, 0.2);
  EXPECT_EQ(statistics.normalization().stddev, 1);
}

}  // namespace
}  // namespace gentrain::data
