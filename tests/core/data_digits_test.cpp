// The built-in digits: the same bytes for any number of threads, balanced, varied and not too dark.
#include <algorithm>
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/data/digits.h"
#include "kernels/error.h"
#include "tests/support/few_threads.h"

namespace gentrain::data {
namespace {

std::vector<std::uint8_t> pixels(const Dataset& dataset, std::int64_t index) {
  std::vector<std::uint8_t> image(784);
  dataset.read(index, image.data());
  return image;
}

TEST(Digits, SameBytesForAnyNumberOfThreads) {
  const DataPair one = make_digits(1, 301, 50, 1);
  for (const int threads : {2, 3, 7}) {
    const DataPair other = make_digits(1, 301, 50, threads);
    EXPECT_EQ(other.train->sha256(), one.train->sha256()) << threads;
    EXPECT_EQ(other.test->sha256(), one.test->sha256()) << threads;
    EXPECT_EQ(other.train_normalization.mean, one.train_normalization.mean);
  }
}

TEST(Digits, AnImageDependsOnSeedSetAndIndexAlone) {
  const DataPair few = make_digits(1, 10, 10);
  const DataPair many = make_digits(1, 40, 40);
  for (std::int64_t i = 0; i < 10; ++i) {
    EXPECT_EQ(pixels(*few.train, i), pixels(*many.train, i));
    EXPECT_EQ(few.train->label(i), many.train->label(i));
    EXPECT_NE(pixels(*few.train, i), pixels(*few.test, i));
  }
  EXPECT_NE(make_digits(2, 10, 10).train->sha256(), few.train->sha256());
}

TEST(Digits, PartsMakeTheWhole) {
  const DataPair whole = make_digits(3, 200, 90);
  DrawnDigits train(200);
  DrawnDigits test(90);
  draw_digits(3, DigitSet::kTrain, 131, 200, 2, train);
  draw_digits(3, DigitSet::kTrain, 0, 131, 1, train);
  draw_digits(3, DigitSet::kTest, 0, 0, 3, test);
  draw_digits(3, DigitSet::kTest, 0, 90, 3, test);
  const DataPair parts = digits_pair(std::move(train), std::move(test));
  EXPECT_EQ(parts.train->sha256(), whole.train->sha256());
  EXPECT_EQ(parts.test->sha256(), whole.test->sha256());
  EXPECT_EQ(parts.train_normalization.mean, whole.train_normalization.mean);
  EXPECT_EQ(parts.train_normalization.stddev, whole.train_normalization.stddev);
}

TEST(Digits, FewerThreadsThanAskedForDrawTheSame) {
  if (!test::kCanLimitThreads) {
    GTEST_SKIP() << "not under a sanitizer";
  }
  const DataPair one = make_digits(1, 301, 50, 1);
  const test::FewThreads some(true);
  EXPECT_EQ(make_digits(1, 301, 50, 8).train->sha256(), one.train->sha256());
}

TEST(Digits, AreWhatTheySay) {
  const DataPair pair = make_digits(1, 20, 10);
  EXPECT_EQ(pair.train->size(), 20);
  EXPECT_EQ(pair.test->size(), 10);
  EXPECT_EQ(pair.train->sample_shape(), Shape({28, 28, 1}));
  EXPECT_EQ(pair.train->classes(), 10);
  EXPECT_TRUE(pair.train->in_memory());
  EXPECT_EQ(pair.train->description(), "built-in digits, training set");
}

TEST(Digits, ClassesAreBalanced) {
  const DataPair pair = make_digits(1, 5000, 1);
  std::array<int, 10> counts{};
  for (std::int64_t i = 0; i < pair.train->size(); ++i) {
    ++counts.at(static_cast<std::size_t>(pair.train->label(i)));
  }
  // Five deviations of a binomial distribution.
  for (const int count : counts) {
    EXPECT_NEAR(count, 500, 106);
  }
}

TEST(Digits, StatisticsAreThoseOfTheTrainingPixels) {
  const DataPair pair = make_digits(1, 500, 1);
  double sum = 0;
  double squares = 0;
  for (std::int64_t i = 0; i < 500; ++i) {
    for (const std::uint8_t pixel : pixels(*pair.train, i)) {
      sum += pixel / 255.0;
      squares += pixel / 255.0 * (pixel / 255.0);
    }
  }
  const double mean = sum / (500 * 784);
  const double deviation = std::sqrt(squares / (500 * 784) - mean * mean);
  EXPECT_NEAR(pair.train_normalization.mean, mean, 1e-9);
  EXPECT_NEAR(pair.train_normalization.stddev, deviation, 1e-9);
  EXPECT_EQ(pair.test_normalization.mean, pair.train_normalization.mean);
  EXPECT_EQ(pair.test_normalization.stddev, pair.train_normalization.stddev);
  EXPECT_GT(mean, 0.08);
  EXPECT_LT(mean, 0.16);
}

TEST(Digits, EveryImageShowsAStrokeAndNoTwoAreAlike) {
  const DataPair pair = make_digits(1, 500, 1);
  std::set<std::vector<std::uint8_t>> seen;
  for (std::int64_t i = 0; i < 500; ++i) {
    const auto image = pixels(*pair.train, i);
    seen.insert(image);
    const auto bright =
        std::count_if(image.begin(), image.end(), [](std::uint8_t pixel) { return pixel > 100; });
    EXPECT_GT(bright, 10) << i;
    EXPECT_LT(bright, 300) << i;
  }
  EXPECT_EQ(seen.size(), 500);
}

TEST(Digits, RefusesEmptySets) {
  EXPECT_THAT([] { make_digits(1, 0, 10); }, testing::ThrowsMessage<ShapeError>(testing::HasSubstr(
                                                 "0 training and 10 test images by 1 threads")));
}

}  // namespace
}  // namespace gentrain::data
