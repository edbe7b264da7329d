// Concatenation along channels: values, gradients, what wants none, errors.
#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/core/ops_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/counting_device.h"
#include "tests/support/gradients.h"

namespace gentrain {
namespace {

using test::message_of;
using ::testing::ElementsAre;

class ConcatOp : public Ops {
 protected:
  std::string error_of(const std::vector<Tensor>& xs) {
    return message_of<ShapeError>([&] { ops::concat(context_, xs); });
  }
};

TEST_F(ConcatOp, PutsChannelsSideBySide) {
  const std::array xs = {tensor({1, 2, 1, 2}, {1, 2, 3, 4}), tensor({1, 2, 1, 1}, {5, 6}),
                         tensor({1, 2, 1, 2}, {7, 8, 9, 10})};
  const Tensor y = ops::concat(context_, xs);
  EXPECT_EQ(y.shape(), Shape({1, 2, 1, 5}));
  EXPECT_THAT(bench_.values(y), ElementsAre(1, 2, 5, 7, 8, 3, 4, 6, 9, 10));
  EXPECT_EQ(ops::concat(context_, {xs.data(), 1}).data(), xs[0].data());
}

TEST_F(ConcatOp, Gradients) {
  EXPECT_TRUE(test::gradients_agree(bench_, {random({2, 3, 1, 2}, 1), random({2, 3, 1, 3}, 2)},
                                    [](Context& context, std::span<const Tensor> in) {
                                      const std::array xs = {in[0], in[1], in[0]};
                                      return ops::concat(context, xs);
                                    }));
  EXPECT_TRUE(test::gradients_agree(
      bench_, {random({4, 2}, 1), random({4, 1}, 2)},
      [](Context& context, std::span<const Tensor> in) { return ops::concat(context, in); }));
}

TEST_F(ConcatOp, WhatWantsNoGradientGetsNone) {
  test::CountingDevice device(bench_.device());
  const auto queue = device.make_queue();
  Tensor a = random({2, 3}, 1);
  const Tensor b = random({2, 4}, 2);
  Tape tape(device, *queue);
  Context context{device, *queue, &tape, true, {}};
  tape.begin({});
  tape.watch(a);
  const std::array xs = {a, b};
  tape.backward(ops::sum(context, ops::concat(context, xs)));
  EXPECT_THAT(bench_.values(tape.gradient(a)), ::testing::Each(1));
  EXPECT_EQ(device.calls("pixel.take_channels"), 1);
}

TEST_F(ConcatOp, Errors) {
  EXPECT_EQ(error_of({}), "concat: there is no tensor, one at least is needed");
  EXPECT_EQ(error_of({random({})}), "concat: a tensor [] has no channels");
  EXPECT_EQ(error_of({random({2, 3}), random({3, 3})}),
            "concat: [3, 3] does not fit beside [2, 3]: all extents but the last must be equal, "
            "none 0");
  EXPECT_EQ(error_of({random({2, 3}), random({2, 1, 3})}),
            "concat: [2, 1, 3] does not fit beside [2, 3]: all extents but the last must be equal, "
            "none 0");
  EXPECT_EQ(error_of({random({2, 0})}),
            "concat: [2, 0] does not fit beside [2, 0]: all extents but the last must be equal, "
            "none 0");
  EXPECT_EQ(error_of({random({2, 3}), bench_.random({2, 3}, RngKey(1), DType::kF32)}),
            "concat: a tensor of f32 does not fit beside one of f64");
}

}  // namespace
}  // namespace gentrain
