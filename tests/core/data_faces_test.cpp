// The built-in faces.
#include <algorithm>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/data/faces.h"
#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::data {
namespace {

using test::message_of;

std::vector<std::uint8_t> pixels_of(const Dataset& dataset, std::int64_t index) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(dataset.sample_shape().elements()));
  dataset.read(index, pixels.data());
  return pixels;
}

TEST(Faces, AreAFunctionOfSeedAndIndex) {
  const DataPair one = make_faces(3, 5, 4, 1);
  const DataPair other = make_faces(3, 9, 2, 3);
  EXPECT_EQ(one.train->size(), 5);
  EXPECT_EQ(one.test->size(), 4);
  EXPECT_EQ(one.train->sample_shape(), (Shape{96, 96, 3}));
  for (std::int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(pixels_of(*one.train, i), pixels_of(*other.train, i)) << i;
  }
  EXPECT_NE(pixels_of(*one.train, 0), pixels_of(*one.train, 1));
  EXPECT_NE(pixels_of(*one.train, 0), pixels_of(*one.test, 0));
  EXPECT_NE(pixels_of(*one.train, 0), pixels_of(*make_faces(4, 1, 1).train, 0));
  EXPECT_EQ(one.train_normalization.factor() * 255 + one.train_normalization.shift(), 1);
}

TEST(Faces, HaveDarkAndLightParts) {
  const DataPair pair = make_faces(1, 8, 1);
  for (std::int64_t i = 0; i < 8; ++i) {
    const std::vector<std::uint8_t> pixels = pixels_of(*pair.train, i);
    EXPECT_LT(*std::min_element(pixels.begin(), pixels.end()), 40) << i;
    EXPECT_GT(*std::max_element(pixels.begin(), pixels.end()), 200) << i;
  }
}

TEST(Faces, RefuseCountsBelowOne) {
  EXPECT_EQ(message_of<ShapeError>([] { make_faces(1, 0, 3); }),
            "faces: 0 training and 3 test images by 1 threads: at least 1 of each");
}

}  // namespace
}  // namespace gentrain::data
