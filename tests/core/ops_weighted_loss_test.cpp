// Cross entropy of rows that count differently: by hand, its gradient, its errors.
#include <cmath>

#include <gtest/gtest.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/core/ops_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/gradients.h"

namespace gentrain {
namespace {

using test::gradients_agree;
using test::message_of;
using Inputs = std::span<const Tensor>;

TEST_F(Ops, SoftmaxCrossEntropyOfWeightedRows) {
  const Tensor labels = bench_.tensor({3}, std::vector<double>{0, 1, 1}, DType::kI32);
  const Tensor weights = tensor({3}, {2, 0.5, 3});
  const Tensor logits = tensor({3, 2}, {0, 0, std::log(3.0), 0, 5, 5});
  const ops::CrossEntropy result =
      ops::softmax_cross_entropy(context_, logits, labels, 0.5, weights);
  const double sum = 2 * std::log(2.0) + 0.5 * std::log(4.0) + 3 * std::log(2.0);
  EXPECT_NEAR(bench_.value(result.loss), 0.5 * sum, 1e-14);
  EXPECT_EQ(bench_.values(result.sums)[1], 1);
  EXPECT_TRUE(gradients_agree(bench_, {random({3, 2})}, [&](Context& context, Inputs in) {
    return ops::softmax_cross_entropy(context, in[0], labels, 0.25, weights).loss;
  }));
  EXPECT_EQ(message_of<ShapeError>(
                [&] { ops::softmax_cross_entropy(context_, logits, labels, 1, random({2})); }),
            "softmax_cross_entropy: weights must be [3] of f64, but are [2] of f64");
}

}  // namespace
}  // namespace gentrain
