// Sheets of images.
#include "trainers/pictures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain::trainers {
namespace {

using test::message_of;
using ::testing::ElementsAre;
using ::testing::SizeIs;

TEST(ImagesOf, RoundsAndCutsOff) {
  const std::vector<float> values{0.0F, 1.0F, 0.5F, -3.0F, 7.0F, 0.001F};
  const std::vector<image::Image> images = images_of(values, {1, 3, 1});
  ASSERT_THAT(images, SizeIs(2));
  EXPECT_THAT(images[0].pixels, ElementsAre(0, 255, 128));
  EXPECT_THAT(images[1].pixels, ElementsAre(0, 255, 0));
  EXPECT_EQ(message_of<ShapeError>([&] {
              images_of(values, {2, 2, 1});
            }),
            "images of [2, 2, 1] from 6 values");
}

TEST(ImagesOf, BlackMayBeAnotherValue) {
  const test::Workbench bench(test::cpu_device());
  Context context{bench.device(), bench.queue(), nullptr, false, {}};
  const Tensor x = bench.tensor({2, 1, 2, 1}, std::vector<double>{-1, 1, 0, -1.5}, DType::kF32);
  const std::vector<image::Image> images = images_of(context, x, -1);
  ASSERT_THAT(images, SizeIs(2));
  EXPECT_EQ(images[0].w, 2);
  EXPECT_THAT(images[0].pixels, ElementsAre(0, 255));
  EXPECT_THAT(images[1].pixels, ElementsAre(128, 0));
  EXPECT_THAT(images_of(context, x)[1].pixels, ElementsAre(0, 0));
}

TEST(Sheet, StandsInRowsWithGaps) {
  const image::Image black{1, 2, 1, {0, 0}};
  const image::Image grey{1, 2, 1, {9, 8}};
  const image::Image all = sheet({black, grey, grey}, 2);
  EXPECT_EQ(all.h, 4);
  EXPECT_EQ(all.w, 6);
  EXPECT_THAT(all.pixels, ElementsAre(0, 0, 255, 255, 9, 8,          //
                                      255, 255, 255, 255, 255, 255,  //
                                      255, 255, 255, 255, 255, 255,  //
                                      9, 8, 255, 255, 255, 255));
  EXPECT_EQ(sheet({grey}, 7).pixels, grey.pixels);
}

TEST(Sheet, RefusesWhatDoesNotFit) {
  const image::Image one{1, 2, 1, {0, 0}};
  const image::Image other{2, 1, 1, {0, 0}};
  EXPECT_EQ(message_of<ShapeError>([&] { sheet({}, 2); }), "a sheet of 0 images in 2 columns");
  EXPECT_EQ(message_of<ShapeError>([&] { sheet({one}, 0); }), "a sheet of 1 images in 0 columns");
  EXPECT_EQ(message_of<ShapeError>([&] {
              sheet({one, other}, 2);
            }),
            "a sheet of images of 1 x 2 x 1 and 2 x 1 x 1");
}

}  // namespace
}  // namespace gentrain::trainers
