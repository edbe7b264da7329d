// Geometries of convolutions with groups and dilation: extents, and what is refused.
#include <cstdint>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/conv.h"
#include "kernels/error.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::message_of;
using ::testing::HasSubstr;

/// 12 x 13 pixels of 6 channels to 4, in 2 groups, with dilation and strides.
constexpr ConvGeometry kGrouped{.n = 2,
                                .h = 12,
                                .w = 13,
                                .c = 6,
                                .oc = 4,
                                .kh = 3,
                                .kw = 2,
                                .stride_h = 2,
                                .stride_w = 1,
                                .top = 1,
                                .groups = 2,
                                .dilation_h = 3,
                                .dilation_w = 4};

ConvGeometry with(std::int64_t ConvGeometry::*member, std::int64_t value) {
  ConvGeometry g = kGrouped;
  g.*member = value;
  return g;
}

std::string refusal(const ConvGeometry& g) {
  return message_of<ShapeError>([&] { check(g); });
}

TEST(GroupedConvGeometry, HasTheExtentsOfItsDilatedKernel) {
  EXPECT_NO_THROW(check(kGrouped));
  EXPECT_EQ(kGrouped.covered_h(), 7);
  EXPECT_EQ(kGrouped.covered_w(), 5);
  EXPECT_EQ(kGrouped.w_shape(), Shape({4, 3, 2, 3}));
  EXPECT_EQ(kGrouped.y_shape(), Shape({2, 4, 9, 4}));
}

TEST(GroupedConvGeometry, PlainIsWithoutEither) {
  EXPECT_TRUE(ConvGeometry{}.plain());
  for (const auto member :
       {&ConvGeometry::groups, &ConvGeometry::dilation_h, &ConvGeometry::dilation_w}) {
    ConvGeometry g;
    g.*member = 2;
    EXPECT_FALSE(g.plain());
    EXPECT_FALSE(g == ConvGeometry{});
  }
}

TEST(GroupedConvGeometry, RefusesWhatIsTooSmallOrLarge) {
  using G = ConvGeometry;
  EXPECT_EQ(refusal(with(&G::groups, 0)), "convolution: groups is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(&G::dilation_h, 0)), "convolution: dilation_h is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(&G::dilation_w, -1)), "convolution: dilation_w is -1, at least 1 needed");
  EXPECT_EQ(refusal(with(&G::dilation_w, std::numeric_limits<std::int64_t>::max())),
            "convolution: dilation_w is 9223372036854775807, at most 576460752303423488 supported");
}

TEST(GroupedConvGeometry, RefusesGroupsThatDoNotDivideTheChannels) {
  EXPECT_EQ(refusal(with(&ConvGeometry::groups, 4)),
            "convolution: c (input channels) is 6, a multiple of the 4 groups needed");
  EXPECT_EQ(refusal(with(&ConvGeometry::groups, 3)),
            "convolution: oc (output channels) is 4, a multiple of the 3 groups needed");
  EXPECT_EQ(refusal(with(&ConvGeometry::groups, 12)),
            "convolution: c (input channels) is 6, a multiple of the 12 groups needed");
}

TEST(GroupedConvGeometry, RefusesADilatedKernelBeyondTheImage) {
  EXPECT_NO_THROW(check(with(&ConvGeometry::dilation_h, 6)));
  EXPECT_EQ(refusal(with(&ConvGeometry::dilation_h, 7)),
            "convolution: the image has 13 rows with its padding, the kernel 15: no result");
  EXPECT_EQ(refusal(with(&ConvGeometry::dilation_w, 13)),
            "convolution: the image has 13 columns with its padding, the kernel 14: no result");
  // What it covers does not fit into 64 bits, where it would be a small number again.
  ConvGeometry far = kGrouped;
  far.kh = (std::int64_t{1} << 32) + 1;
  far.dilation_h = std::int64_t{1} << 32;
  EXPECT_THAT(refusal(far), HasSubstr("the kernel 9223372036854775807: no result"));
}

class GroupedConvRefusals : public test::OnBothDevices {
 protected:
  [[nodiscard]] Tensor f32(const Shape& shape) const { return bench_.full(shape, 0, DType::kF32); }
};

INSTANTIATE_TEST_SUITE_P(Devices, GroupedConvRefusals,
                         ::testing::Values(&test::cpu_device, &test::reference_device),
                         test::name_of_device);

TEST_P(GroupedConvRefusals, WeightsHaveTheChannelsOfAGroup) {
  ConvKernels& conv = bench_.device().conv();
  Queue& queue = bench_.queue();
  const ConvGeometry& g = kGrouped;
  const Tensor x = f32(g.x_shape());
  const Tensor y = f32(g.y_shape());
  const Tensor whole = f32({4, 3, 2, 6});
  const char* const needed = "has shape [4, 3, 2, 6]: [4, 3, 2, 3] needed";
  EXPECT_THAT(message_of<ShapeError>([&] {
                conv.forward(queue, g, x.cview(), whole.weights(), {}, Activation::kNone, y.view());
              }),
              HasSubstr(needed));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { conv.backward_data(queue, g, y.cview(), whole.weights(), x.view()); }),
              HasSubstr(needed));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { conv.backward_weights(queue, g, x.cview(), y.cview(), whole.view(), {}); }),
              HasSubstr(needed));
}

TEST_P(GroupedConvRefusals, EveryRoutineChecksTheGeometry) {
  ConvKernels& conv = bench_.device().conv();
  Queue& queue = bench_.queue();
  const ConvGeometry g = with(&ConvGeometry::groups, 0);
  const Tensor any = f32({1});
  const std::string expected = "convolution: groups is 0, at least 1 needed";
  EXPECT_EQ(message_of<ShapeError>([&] {
              conv.forward(queue, g, any.cview(), any.weights(), {}, Activation::kNone, any.view());
            }),
            expected);
  EXPECT_EQ(message_of<ShapeError>(
                [&] { conv.backward_data(queue, g, any.cview(), any.weights(), any.view()); }),
            expected);
  EXPECT_EQ(message_of<ShapeError>(
                [&] { conv.backward_weights(queue, g, any.cview(), any.cview(), any.view(), {}); }),
            expected);
}

}  // namespace
}  // namespace gentrain
