// The sum of inner squares: its border, its channels, its gradient, what it refuses.
#include <array>

#include <gtest/gtest.h>

#include "core/ops/inner_squares.h"
#include "kernels/error.h"
#include "tests/core/ops_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/gradients.h"

namespace gentrain {
namespace {

using test::gradients_agree;
using test::message_of;

class InnerSquares : public Ops {
 protected:
  std::string refusal(const Shape& shape, std::int64_t border,
                      std::span<const std::int64_t> channels) {
    return message_of<ShapeError>(
        [&] { ops::inner_square_sum(context_, random(shape), border, channels, 1); });
  }
};

TEST_F(InnerSquares, LeaveTheBorderOut) {
  std::vector<double> values(5 * 6 * 2, 100.0);
  for (const std::size_t column : {2U, 3U}) {
    values[(2 * 6 + column) * 2] = 3;
    values[(2 * 6 + column) * 2 + 1] = 4;
  }
  const auto result = ops::inner_square_sum(context_, tensor({1, 5, 6, 2}, values), 2, {}, -0.5);
  EXPECT_DOUBLE_EQ(result.sum, 50);
  EXPECT_DOUBLE_EQ(bench_.value(result.loss), -25);
  const std::array<std::int64_t, 1> second{1};
  EXPECT_DOUBLE_EQ(ops::inner_square_sum(context_, tensor({1, 5, 6, 2}, values), 2, second, 1).sum,
                   32);
}

TEST_F(InnerSquares, OfARowHaveNoBorder) {
  EXPECT_DOUBLE_EQ(ops::inner_square_sum(context_, tensor({1, 3}, {1, 2, 3}), 2, {}, 1).sum, 14);
}

TEST_F(InnerSquares, HaveTheirGradient) {
  const std::array<std::int64_t, 2> channels{0, 2};
  EXPECT_TRUE(gradients_agree(bench_, {random({2, 6, 5, 3})}, [&](Context& context, auto inputs) {
    return ops::inner_square_sum(context, inputs[0], 2, channels, -0.3).loss;
  }));
  EXPECT_TRUE(gradients_agree(bench_, {random({2, 4})}, [&](Context& context, auto inputs) {
    return ops::inner_square_sum(context, inputs[0], 2, {}, 0.7).loss;
  }));
}

TEST_F(InnerSquares, RefuseWhatDoesNotFit) {
  EXPECT_EQ(refusal({1, 4, 9, 2}, 2, {}),
            "inner_square_sum: x is [1, 4, 9, 2], of which a border of 2 pixels leaves nothing");
  EXPECT_EQ(refusal({1, 9, 9, 2}, -1, {}),
            "inner_square_sum: x is [1, 9, 9, 2], of which a border of -1 pixels leaves nothing");
  EXPECT_EQ(refusal({3}, 0, {}), "inner_square_sum: x must be [n, h, w, c] or [n, c] but is [3]");
  const std::array<std::int64_t, 1> third{2};
  EXPECT_EQ(refusal({1, 9, 9, 2}, 2, third),
            "inner_square_sum: there is no channel 2 of [1, 9, 9, 2]: 2 are there");
  const std::array<std::int64_t, 2> twice{1, 1};
  EXPECT_EQ(refusal({1, 9, 9, 2}, 2, twice), "inner_square_sum: channel 1 is given twice");
  const Tensor bytes = bench_.full({1, 9, 9, 2}, 1, DType::kU8);
  EXPECT_EQ(message_of<ShapeError>([&] { ops::inner_square_sum(context_, bytes, 2, {}, 1); }),
            "inner_square_sum: x must be f32 or f64 but is u8");
}

}  // namespace
}  // namespace gentrain
