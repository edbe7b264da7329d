// The ops of generative models: values by hand, gradients against central differences in f64 on the
// reference device, messages of errors.
#include <cmath>

#include <gmock/gmock.h>
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
using ::testing::Each;
using ::testing::ElementsAre;
using Inputs = std::span<const Tensor>;

class GenerativeOps : public Ops {};

TEST_F(GenerativeOps, SigmoidCrossEntropyByHand) {
  const Tensor logits = tensor({2, 2}, {0, std::log(3.0), 1000, -1000});
  const Tensor targets = tensor({2, 2}, {0.25, 1, 1, 0.5});
  const auto result = ops::sigmoid_cross_entropy(context_, logits, targets, 0.5);
  const std::vector<double> rows = bench_.values(result.rows);
  EXPECT_NEAR(rows[0], std::log(2.0) - std::log(0.75), 1e-14);
  EXPECT_NEAR(rows[1], 500, 1e-12) << "large logits do not overflow";
  EXPECT_NEAR(bench_.value(result.loss), 0.5 * (rows[0] + rows[1]), 1e-12);
}

TEST_F(GenerativeOps, SigmoidCrossEntropyGradient) {
  const Tensor targets = bench_.full({3, 4}, 0.3, DType::kF64);
  EXPECT_TRUE(gradients_agree(bench_, {random({3, 4})}, [&](Context& context, Inputs in) {
    const Tensor loss = ops::sigmoid_cross_entropy(context, in[0], targets, 0.25).loss;
    return ops::scale(context, loss, 3);
  }));
}

TEST_F(GenerativeOps, SigmoidCrossEntropyErrors) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::sigmoid_cross_entropy(context_, random({2, 3}), random({3, 2}), 1);
            }),
            "sigmoid_cross_entropy: logits and targets must be [n, k], both at least 1, but they "
            "are [2, 3] and [3, 2]");
  EXPECT_THROW(ops::sigmoid_cross_entropy(context_, random({2}), random({2}), 1), ShapeError);
  EXPECT_THROW(ops::sigmoid_cross_entropy(context_, random({0, 3}), random({0, 3}), 1), ShapeError);
}

TEST_F(GenerativeOps, SigmoidCrossEntropyTowardsOneTarget) {
  const Tensor logits = random({3, 4});
  const Tensor targets = bench_.full({3, 4}, 0.75, DType::kF64);
  EXPECT_EQ(bench_.values(ops::sigmoid_cross_entropy(context_, logits, 0.75, 0.5).rows),
            bench_.values(ops::sigmoid_cross_entropy(context_, logits, targets, 0.5).rows));
  EXPECT_TRUE(gradients_agree(bench_, {random({3, 1})}, [](Context& context, Inputs in) {
    return ops::sigmoid_cross_entropy(context, in[0], 1.0, 0.25).loss;
  }));
}

TEST_F(GenerativeOps, SquaredErrorByHand) {
  const Tensor x = tensor({2, 1, 2, 1}, {1, 2, 3, 4});
  const auto result = ops::squared_error(context_, x, tensor({2, 1, 2, 1}, {1, 4, 0, 3}), 0.5);
  EXPECT_THAT(bench_.values(result.rows), ElementsAre(4, 10));
  EXPECT_EQ(bench_.value(result.loss), 7);
  const auto towards_one = ops::squared_error(context_, x, 1.0, 1);
  EXPECT_THAT(bench_.values(towards_one.rows), ElementsAre(1, 13));
  EXPECT_EQ(bench_.value(towards_one.loss), 14);
}

TEST_F(GenerativeOps, SquaredErrorGradients) {
  const Tensor target = random({3, 2, 2, 4}, 2);
  EXPECT_TRUE(gradients_agree(bench_, {random({3, 2, 2, 4})}, [&](Context& context, Inputs in) {
    const Tensor loss = ops::squared_error(context, in[0], target, 0.25).loss;
    return ops::scale(context, loss, 3);
  }));
  EXPECT_TRUE(gradients_agree(bench_, {random({5, 1})}, [](Context& context, Inputs in) {
    return ops::squared_error(context, in[0], 1.0, 0.1).loss;
  }));
}

TEST_F(GenerativeOps, NoGradientOfASquaredErrorGoesIntoTheTarget) {
  Tensor x = tensor({2}, {1, 2});
  Tensor target = tensor({2}, {0, 4});
  Tape tape(bench_.device(), bench_.queue());
  tape.begin({});
  tape.watch(x);
  tape.watch(target);
  Context context{bench_.device(), bench_.queue(), &tape, true, {}};
  const Tensor twice = ops::scale(context, target, 2);
  tape.backward(ops::squared_error(context, x, twice, 1).loss);
  EXPECT_THAT(bench_.values(tape.gradient(x)), ElementsAre(2, -12));
  EXPECT_FALSE(tape.gradient(target).defined());
}

TEST_F(GenerativeOps, SquaredErrorErrors) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::squared_error(context_, random({2, 3}), random({3, 2}), 1);
            }),
            "squared_error: x and target must have the same shape [n, ...] that is not empty, but "
            "they are [2, 3] and [3, 2]");
  EXPECT_THROW(ops::squared_error(context_, random({0, 3}), 1.0, 1), ShapeError);
  EXPECT_THROW(ops::squared_error(context_, random({}), 1.0, 1), ShapeError);
}

TEST_F(GenerativeOps, PixelShuffleByHand) {
  // Two channels of 2 x 2 pixels each, one behind the other.
  const Tensor x = tensor({1, 1, 1, 8}, {1, 2, 3, 4, -5, 6, -7, 8});
  const Tensor y = ops::pixel_shuffle(context_, x, 2);
  EXPECT_EQ(y.shape(), Shape({1, 2, 2, 2}));
  EXPECT_THAT(bench_.values(y), ElementsAre(1, -5, 2, 6, 3, -7, 4, 8));
  EXPECT_THAT(bench_.values(ops::pixel_shuffle(context_, x, 2, Activation::kRelu)),
              ElementsAre(1, 0, 2, 6, 3, 0, 4, 8));
  EXPECT_THAT(bench_.values(ops::pixel_shuffle(context_, x, 1)), bench_.values(x));
}

TEST_F(GenerativeOps, PixelShuffleGradients) {
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kTanh}) {
    for (const std::int64_t r : {1, 2, 3}) {
      EXPECT_TRUE(gradients_agree(bench_, {random({2, 2, 3, 2 * r * r})},
                                  [&](Context& context, Inputs in) {
                                    return ops::pixel_shuffle(context, in[0], r, activation);
                                  }))
          << name_of(activation) << " r " << r;
    }
  }
}

TEST_F(GenerativeOps, PixelShuffleErrors) {
  const auto error = [&](const Shape& shape, std::int64_t r) {
    return message_of<ShapeError>([&] { ops::pixel_shuffle(context_, random(shape), r); });
  };
  const std::string needed =
      "pixel_shuffle: x must be [n, h, w, c r r], not empty, with r at least 1, but is ";
  EXPECT_EQ(error({2, 8}, 2), needed + "[2, 8] with r = 2");
  EXPECT_EQ(error({1, 2, 2, 6}, 2), needed + "[1, 2, 2, 6] with r = 2");
  EXPECT_EQ(error({1, 2, 2, 4}, 0), needed + "[1, 2, 2, 4] with r = 0");
  EXPECT_EQ(error({0, 2, 2, 4}, 2), needed + "[0, 2, 2, 4] with r = 2");
}

TEST_F(GenerativeOps, GaussianShrinkTakesEachAxisForItself) {
  // Rows and columns of weights whose product weighs a pixel: a picture of r(h) c(w) stays one.
  const std::vector<double> across = {1, 2, 4, 8};
  std::vector<double> picture;
  for (const double row : {1.0, 3.0, -1.0, 2.0}) {
    for (const double column : across) {
      picture.insert(picture.end(), {row * column, -row * column});
    }
  }
  const auto shrink = [&](const Shape& shape, const std::vector<double>& values) {
    return bench_.values(ops::gaussian_shrink(context_, tensor(shape, values), 2, 0.8));
  };
  const std::vector<double> rows = bench_.values(
      ops::gaussian_shrink(context_, tensor({1, 4, 2, 1}, {1, 1, 3, 3, -1, -1, 2, 2}), 2, 0.8));
  const std::vector<double> columns = shrink({1, 2, 4, 1}, {1, 2, 4, 8, 1, 2, 4, 8});
  const std::vector<double> y = shrink({1, 4, 4, 2}, picture);
  ASSERT_EQ(y.size(), 8U);
  for (std::size_t h = 0; h < 2; ++h) {
    for (std::size_t w = 0; w < 2; ++w) {
      EXPECT_NEAR(y[(h * 2 + w) * 2], rows[h] * columns[w], 1e-12);
      EXPECT_NEAR(y[(h * 2 + w) * 2 + 1], -rows[h] * columns[w], 1e-12);
    }
  }
}

TEST_F(GenerativeOps, GaussianShrinkErrors) {
  const std::string needed =
      "gaussian_shrink: x must be [n, h, w, c], not empty, with h and w multiples of r, but is ";
  const auto error = [&](const Shape& shape, std::int64_t r) {
    return message_of<ShapeError>([&] { ops::gaussian_shrink(context_, random(shape), r, 1); });
  };
  EXPECT_EQ(error({2, 8}, 2), needed + "[2, 8] with r = 2");
  EXPECT_EQ(error({1, 4, 6, 3}, 4), needed + "[1, 4, 6, 3] with r = 4");
  EXPECT_EQ(error({1, 4, 4, 3}, 0), needed + "[1, 4, 4, 3] with r = 0");
  EXPECT_EQ(message_of<Error>([&] {
              static_cast<void>(
                  gradients_agree(bench_, {random({1, 4, 4, 1})}, [](Context& context, Inputs in) {
                    return ops::gaussian_shrink(context, in[0], 2, 1);
                  }));
            }),
            "gaussian_shrink has no gradient: it makes images of the input smaller");
}

TEST_F(GenerativeOps, GaussianSampleByHand) {
  const Tensor latent = tensor({1, 4}, {2, -1, 0, std::log(4.0)});
  const auto result = ops::gaussian_sample(context_, latent, tensor({1, 2}, {3, 0.5}), 1);
  const std::vector<double> z = bench_.values(result.z);
  EXPECT_NEAR(z[0], 5, 1e-14);
  EXPECT_NEAR(z[1], 0, 1e-14);
  EXPECT_NEAR(bench_.value(result.rows), (4 + (4 + 1 - 1 - std::log(4.0))) / 2, 1e-14);
}

TEST_F(GenerativeOps, TheStandardNormalDistributionHasNoDivergence) {
  const auto result =
      ops::gaussian_sample(context_, bench_.full({3, 8}, 0, DType::kF64), random({3, 4}), 1);
  EXPECT_THAT(bench_.values(result.rows), Each(0));
}

TEST_F(GenerativeOps, GaussianSampleGradientHasThatOfTheDivergence) {
  constexpr double kScale = 0.25;
  constexpr double kDifference = 1e-5;
  const Tensor noise = random({3, 2}, 7);
  Tensor latent = random({3, 4});
  const std::vector<double> at = bench_.values(latent);
  const auto loss = [&](const std::vector<double>& values) {
    const auto sample = ops::gaussian_sample(context_, tensor({3, 4}, values), noise, kScale);
    const Tensor squares = ops::sum(context_, ops::multiply(context_, sample.z, sample.z));
    return bench_.value(squares) + kScale * bench_.value(ops::sum(context_, sample.rows));
  };
  std::vector<double> expected;
  for (std::size_t i = 0; i < at.size(); ++i) {
    std::vector<double> above = at;
    std::vector<double> below = at;
    above[i] += kDifference;
    below[i] -= kDifference;
    expected.push_back((loss(above) - loss(below)) / (2 * kDifference));
  }
  Tape tape(bench_.device(), bench_.queue());
  tape.begin({});
  tape.watch(latent);
  Context context{bench_.device(), bench_.queue(), &tape, true, {}};
  const auto sample = ops::gaussian_sample(context, latent, noise, kScale);
  tape.backward(ops::sum(context, ops::multiply(context, sample.z, sample.z)));
  EXPECT_TRUE(test::within(1e-7, {3, 4}, bench_.values(tape.gradient(latent)), expected));
}

TEST_F(GenerativeOps, GaussianSampleErrors) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::gaussian_sample(context_, random({2, 3}), random({2, 3}), 1);
            }),
            "gaussian_sample: latent must be [n, 2 k] and noise [n, k], both at least 1, but they "
            "are [2, 3] and [2, 3]");
  EXPECT_THROW(ops::gaussian_sample(context_, random({0, 4}), random({0, 2}), 1), ShapeError);
}

}  // namespace
}  // namespace gentrain
