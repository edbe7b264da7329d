// Shapes and views: extents, equality, printing and the errors of construction.
#include "kernels/shape.h"

#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/view.h"
#include "tests/support/compare.h"

namespace gentrain {
namespace {

using test::message_of;

TEST(Shape, CountsElements) {
  EXPECT_EQ(Shape({2, 28, 28, 3}).elements(), 2 * 28 * 28 * 3);
  EXPECT_EQ(Shape({5}).elements(), 5);
  EXPECT_EQ(Shape({4, 0, 3}).elements(), 0);
}

TEST(Shape, ScalarHasRankZeroAndOneElement) {
  const Shape scalar;
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(scalar.elements(), 1);
  EXPECT_EQ(scalar.str(), "[]");
  EXPECT_EQ(scalar, Shape({}));
}

TEST(Shape, ComparesRankAndExtents) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
  EXPECT_NE(Shape({2, 3}), Shape({2, 3, 1}));
  EXPECT_NE(Shape({0}), Shape({}));
}

TEST(Shape, PrintsItsExtents) {
  EXPECT_EQ(Shape({2, 28, 28, 1}).str(), "[2, 28, 28, 1]");
}

TEST(Shape, MadeFromASpan) {
  const std::vector<std::int64_t> extents{7, 1, 9};
  const Shape shape{std::span<const std::int64_t>(extents)};
  EXPECT_EQ(shape, Shape({7, 1, 9}));
  EXPECT_EQ(shape[2], 9);
  EXPECT_EQ(shape.extents().size(), 3U);
}

TEST(Shape, RefusesMoreThanSixExtents) {
  EXPECT_EQ(Shape({1, 2, 3, 4, 5, 6}).rank(), 6);
  EXPECT_EQ(message_of<ShapeError>([] {
              Shape({1, 2, 3, 4, 5, 6, 7});
            }),
            "a shape of 7 extents: at most 6 are supported");
}

TEST(Shape, RefusesNegativeExtents) {
  EXPECT_EQ(message_of<ShapeError>([] {
              Shape({2, -1, 3});
            }),
            "shape [2, -1, 3] has a negative extent");
}

TEST(Shape, RefusesMoreElementsThanBytesCanBeCountedOf) {
  constexpr std::int64_t kMost = std::int64_t{1} << 59;
  EXPECT_EQ(Shape({1 << 30, 1 << 29}).elements(), kMost);
  EXPECT_EQ(
      message_of<ShapeError>([] {
        Shape({1 << 30, 1 << 29, 2});
      }),
      "shape [1073741824, 536870912, 2] has too many elements: at most 576460752303423488 are "
      "supported");
  // The product is 0 modulo 2^64: as if there were nothing to hold.
  EXPECT_THROW(Shape({std::int64_t{1} << 32, std::int64_t{1} << 32}), ShapeError);
  EXPECT_THROW(Shape({std::int64_t{1} << 32, std::int64_t{1} << 32, 0}), ShapeError);
  EXPECT_EQ(Shape({0, std::int64_t{1} << 32}).elements(), 0);
}

TEST(View, ReadsAndWritesTheSameElements) {
  std::vector<float> values{1.0F, 2.0F};
  const View view{values.data(), DType::kF32, {2}};
  const ConstView reader = view;
  view.as<float>()[1] = 5.0F;
  EXPECT_EQ(reader.as<float>()[1], 5.0F);
  EXPECT_EQ(reader.elements(), 2);
  EXPECT_TRUE(reader.present());
  EXPECT_FALSE(ConstView{}.present());
}

template <class T>
concept IsElement = requires {
  DTypeOf<T>::kValue;
};

TEST(DType, FourTypesOfTheLanguageHaveOne) {
  EXPECT_EQ(kDTypeOf<float>, DType::kF32);
  EXPECT_EQ(kDTypeOf<double>, DType::kF64);
  EXPECT_EQ(kDTypeOf<std::int32_t>, DType::kI32);
  EXPECT_EQ(kDTypeOf<std::uint8_t>, DType::kU8);
  static_assert(IsElement<std::uint8_t>);
  static_assert(!IsElement<std::int64_t> && !IsElement<std::int8_t> && !IsElement<bool>);
}

TEST(DType, KnowsSizesAndNames) {
  EXPECT_EQ(size_of(DType::kF32), 4U);
  EXPECT_EQ(size_of(DType::kF64), 8U);
  EXPECT_EQ(size_of(DType::kI32), 4U);
  EXPECT_EQ(size_of(DType::kU8), 1U);
  EXPECT_EQ(name_of(DType::kF32), "f32");
  EXPECT_EQ(name_of(DType::kF64), "f64");
  EXPECT_EQ(name_of(DType::kI32), "i32");
  EXPECT_EQ(name_of(DType::kU8), "u8");
}

}  // namespace
}  // namespace gentrain
