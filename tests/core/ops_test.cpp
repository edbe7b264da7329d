// Every op: its values on small cases worked out by hand, its gradient against central differences
// in f64 on the reference device, and the messages of its errors.
#include "core/ops/ops.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/core/ops_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/counting_device.h"
#include "tests/support/gradients.h"

namespace gentrain {
namespace {

using test::gradients_agree;
using test::message_of;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Inputs = std::span<const Tensor>;

constexpr Activation kActivations[] = {Activation::kNone, Activation::kTanh, Activation::kRelu,
                                       Activation::kSigmoid};

// Convolution

TEST_F(Ops, Conv2dByHand) {
  const Tensor x = tensor({1, 2, 3, 1}, {1, 2, 3, 4, 5, 6});
  const Tensor w = tensor({1, 2, 2, 1}, {1, 10, 100, 1000});
  const Tensor y = ops::conv2d(context_, x, w, tensor({1}, {0.5}));
  EXPECT_EQ(y.shape(), Shape({1, 1, 2, 1}));
  EXPECT_THAT(bench_.values(y), ElementsAre(5421.5, 6532.5));
}

TEST_F(Ops, Conv2dPadsWithZerosAndStrides) {
  const Tensor x = tensor({1, 2, 2, 1}, {1, 2, 3, 4});
  const Tensor w = tensor({1, 2, 2, 1}, {1, 10, 100, 1000});
  const Tensor y = ops::conv2d(context_, x, w, {}, {{2, 1}, {1, 1, 0, 1}});
  EXPECT_EQ(y.shape(), Shape({1, 2, 2, 1}));
  EXPECT_THAT(bench_.values(y), ElementsAre(2100, 200, 43, 4));
}

TEST_F(Ops, Conv2dGradients) {
  for (const Activation activation : kActivations) {
    EXPECT_TRUE(gradients_agree(
        bench_, {random({2, 5, 4, 3}), random({2, 3, 2, 3}, 2), random({2}, 3)},
        [&](Context& context, Inputs in) {
          return ops::conv2d(context, in[0], in[1], in[2], {{2, 1}, {1, 2, 0, 1}, activation});
        }))
        << name_of(activation);
  }
}

TEST_F(Ops, Conv2dGradientsWithoutBias) {
  EXPECT_TRUE(gradients_agree(
      bench_, {random({1, 3, 3, 1}), random({3, 1, 1, 1}, 2)},
      [](Context& context, Inputs in) { return ops::conv2d(context, in[0], in[1], {}); }));
}

TEST_F(Ops, Conv2dErrors) {
  const Tensor x = random({2, 5, 5, 64});
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::conv2d(context_, x, random({4, 3, 3, 3}), {});
            }),
            "conv2d: weights have 3 input channels but x has 64");
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::conv2d(context_, random({5, 64}), x, {});
            }),
            "conv2d: x must be [n, h, w, c] and weights [oc, kh, kw, c / groups], but they are "
            "[5, 64] and [2, 5, 5, 64]");
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::conv2d(context_, x, random({4, 3, 3, 64}), random({5}));
            }),
            "conv2d: bias must have shape [4] but has [5]");
  EXPECT_THROW(ops::conv2d(context_, x, random({4, 6, 3, 64}), {}), ShapeError);
  EXPECT_THROW(ops::conv2d(context_, x, random({4, 6, 3, 64}), {}, {.stride = {2, 1}}), ShapeError);
  EXPECT_THROW(ops::conv2d(context_, x, random({4, 3, 3, 64}), {}, {.stride = {0, 1}}), ShapeError);
  EXPECT_THROW(ops::conv2d(context_, random({0, 5, 5, 64}), random({4, 3, 3, 64}), {}), ShapeError);
}

TEST_F(Ops, Conv2dMaxPoolIsConvolutionThenPoolingThenActivation) {
  for (const Activation activation : kActivations) {
    const Tensor x = random({2, 8, 7, 3});
    const Tensor w = random({4, 3, 3, 3}, 2);
    const Tensor bias = random({4}, 3);
    const Tensor fused = ops::conv2d_max_pool(context_, x, w, bias, {{}, {1, 0, 0, 0}, activation});
    const Tensor apart = ops::activate(
        context_,
        ops::max_pool2d(context_, ops::conv2d(context_, x, w, bias, {{}, {1, 0, 0, 0}}), {2, 2},
                        {2, 2}),
        activation);
    EXPECT_EQ(fused.shape(), Shape({2, 3, 2, 4}));
    EXPECT_EQ(bench_.values(fused), bench_.values(apart));
  }
}

TEST_F(Ops, Conv2dMaxPoolGradients) {
  for (const Activation activation : kActivations) {
    EXPECT_TRUE(gradients_agree(
        bench_, {random({2, 6, 7, 2}), random({3, 3, 2, 2}, 2), random({3}, 3)},
        [&](Context& context, Inputs in) {
          return ops::conv2d_max_pool(context, in[0], in[1], in[2], {.activation = activation});
        }))
        << name_of(activation);
  }
}

TEST_F(Ops, Conv2dMaxPoolWithoutAFusedKernelRunsTheStepsApart) {
  // The CPU does not fuse convolutions with a stride.
  test::CountingDevice cpu(test::cpu_device());
  const test::Workbench bench(cpu);
  Tensor x = bench.random({2, 9, 9, 2}, RngKey(1), DType::kF32);
  const Tensor w = bench.random({3, 3, 3, 2}, RngKey(2), DType::kF32);
  const auto gradient = [&](auto function) {
    Tape tape(cpu, bench.queue());
    tape.begin({});
    tape.watch(x);
    Context context{cpu, bench.queue(), &tape, true, {}};
    const Tensor y = function(context);
    tape.backward(ops::sum(context, y));
    return std::pair(bench.values(y), bench.values(tape.gradient(x)));
  };
  const auto fused = gradient([&](Context& context) {
    return ops::conv2d_max_pool(context, x, w, {}, {{2, 2}, {}, Activation::kTanh});
  });
  EXPECT_EQ(cpu.calls("conv.pool_forward"), 0);
  EXPECT_EQ(cpu.calls("pool.max_forward"), 1);
  EXPECT_EQ(fused, gradient([&](Context& context) {
              const Tensor z = ops::conv2d(context, x, w, {}, {.stride = {2, 2}});
              return ops::activate(context, ops::max_pool2d(context, z, {2, 2}, {2, 2}),
                                   Activation::kTanh);
            }));
}

TEST_F(Ops, Conv2dMaxPoolRefusesAResultBelowOneWindow) {
  EXPECT_EQ(
      message_of<ShapeError>([&] {
        ops::conv2d_max_pool(context_, random({1, 3, 4, 1}), random({2, 3, 3, 1}), {});
      }),
      "conv2d_max_pool: a 2x2 window does not fit into the convolution's result [1, 1, 2, 2]");
  // The CPU, which does not fuse this, says the same.
  const test::Workbench cpu(test::cpu_device());
  Context context{cpu.device(), cpu.queue(), nullptr, false, {}};
  EXPECT_EQ(
      message_of<ShapeError>([&] {
        ops::conv2d_max_pool(context, cpu.full({1, 4, 3, 1}, 0, DType::kF32),
                             cpu.full({2, 3, 3, 1}, 0, DType::kF32), {});
      }),
      "conv2d_max_pool: a 2x2 window does not fit into the convolution's result [1, 2, 1, 2]");
}

// Pooling

TEST_F(Ops, MaxPool2dByHand) {
  const Tensor x = tensor({1, 3, 3, 1}, {1, 9, 2, 3, 4, 8, 5, 6, 7});
  EXPECT_THAT(bench_.values(ops::max_pool2d(context_, x, {2, 2}, {1, 1})), ElementsAre(9, 9, 6, 8));
  EXPECT_THAT(bench_.values(ops::max_pool2d(context_, x, {2, 2}, {2, 2})), ElementsAre(9));
}

TEST_F(Ops, MaxPool2dLeavesPaddingOut) {
  const Tensor x = tensor({1, 2, 2, 1}, {-1, -2, -3, -4});
  EXPECT_THAT(bench_.values(ops::max_pool2d(context_, x, {2, 2}, {2, 2}, {1, 1, 1, 1})),
              ElementsAre(-1, -2, -3, -4));
}

TEST_F(Ops, MaxPool2dSendsTheGradientOfATieToTheFirst) {
  Tensor x = tensor({1, 2, 4, 1}, {5, 5, 1, 2, 5, 5, 3, 3});
  Tape tape(bench_.device(), bench_.queue());
  tape.begin({});
  tape.watch(x);
  context_.tape = &tape;
  tape.backward(ops::sum(context_, ops::max_pool2d(context_, x, {2, 2}, {2, 2})));
  EXPECT_THAT(bench_.values(tape.gradient(x)), ElementsAre(1, 0, 0, 0, 0, 0, 1, 0));
}

TEST_F(Ops, Conv2dMaxPoolSendsTheGradientOfATieToTheFirst) {
  Tensor x = tensor({1, 2, 4, 1}, {5, 5, 1, 2, 5, 5, 3, 3});
  Tape tape(bench_.device(), bench_.queue());
  tape.begin({});
  tape.watch(x);
  context_.tape = &tape;
  const Tensor one = tensor({1, 1, 1, 1}, {1});
  tape.backward(ops::sum(context_, ops::conv2d_max_pool(context_, x, one, {})));
  EXPECT_THAT(bench_.values(tape.gradient(x)), ElementsAre(1, 0, 0, 0, 0, 0, 1, 0));
}

TEST_F(Ops, MaxPool2dAddsWhereWindowsOverlap) {
  Tensor x = tensor({1, 1, 3, 1}, {1, 9, 2});
  Tape tape(bench_.device(), bench_.queue());
  tape.begin({});
  tape.watch(x);
  context_.tape = &tape;
  tape.backward(ops::sum(context_, ops::max_pool2d(context_, x, {1, 2}, {1, 1})));
  EXPECT_THAT(bench_.values(tape.gradient(x)), ElementsAre(0, 2, 0));
}

TEST_F(Ops, AveragePool2dLeavesPaddingOut) {
  const Tensor x = tensor({1, 2, 2, 1}, {1, 2, 3, 4});
  EXPECT_THAT(bench_.values(ops::average_pool2d(context_, x, {2, 2}, {1, 1}, {1, 0, 1, 0})),
              ElementsAre(1, 1.5, 2, 2.5));
}

TEST_F(Ops, PoolingGradients) {
  EXPECT_TRUE(gradients_agree(bench_, {random({2, 5, 6, 3})}, [](Context& context, Inputs in) {
    return ops::max_pool2d(context, in[0], {3, 2}, {2, 1}, {1, 0, 0, 1});
  }));
  EXPECT_TRUE(gradients_agree(bench_, {random({2, 5, 6, 3})}, [](Context& context, Inputs in) {
    return ops::average_pool2d(context, in[0], {3, 2}, {2, 1}, {1, 0, 0, 1});
  }));
}

TEST_F(Ops, PoolingErrors) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::max_pool2d(context_, random({5, 5}), {2, 2}, {2, 2});
            }),
            "max_pool2d: x must be [n, h, w, c] but is [5, 5]");
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::average_pool2d(context_, random({5, 5}), {2, 2}, {2, 2});
            }),
            "average_pool2d: x must be [n, h, w, c] but is [5, 5]");
  const Tensor x = random({1, 3, 3, 1});
  EXPECT_THROW(ops::max_pool2d(context_, x, {4, 2}, {2, 2}), ShapeError);
  EXPECT_THROW(ops::max_pool2d(context_, x, {2, 2}, {0, 1}), ShapeError);
  EXPECT_THROW(ops::max_pool2d(context_, x, {2, 2}, {1, 1}, {2, 0, 0, 0}), ShapeError);
  EXPECT_THROW(ops::average_pool2d(context_, random({0, 3, 3, 1}), {2, 2}, {1, 1}), ShapeError);
}

// Dense layers

TEST_F(Ops, LinearByHand) {
  const Tensor x = tensor({2, 2}, {1, 2, 3, 4});
  const Tensor w = tensor({3, 2}, {1, 0, 0, 1, 1, -1});
  EXPECT_THAT(bench_.values(ops::linear(context_, x, w, tensor({3}, {10, 20, 30}))),
              ElementsAre(11, 22, 29, 13, 24, 29));
  EXPECT_THAT(bench_.values(ops::linear(context_, x, w, {}, Activation::kRelu)),
              ElementsAre(1, 2, 0, 3, 4, 0));
}

TEST_F(Ops, LinearGradients) {
  for (const Activation activation : kActivations) {
    EXPECT_TRUE(gradients_agree(bench_, {random({3, 5}), random({4, 5}, 2), random({4}, 3)},
                                [&](Context& context, Inputs in) {
                                  return ops::linear(context, in[0], in[1], in[2], activation);
                                }))
        << name_of(activation);
  }
  EXPECT_TRUE(gradients_agree(
      bench_, {random({1, 3}), random({1, 3}, 2)},
      [](Context& context, Inputs in) { return ops::linear(context, in[0], in[1], {}); }));
}

TEST_F(Ops, LinearErrors) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::linear(context_, random({2, 3}), random({4, 5}), {});
            }),
            "linear: weights take 5 inputs but x has 3");
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::linear(context_, random({2, 1, 3}), random({4, 3}), {});
            }),
            "linear: x must be [n, k] and weights [m, k], but they are [2, 1, 3] and [4, 3]");
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::linear(context_, random({0, 3}), random({4, 3}), {});
            }),
            "linear: x [0, 3] has no rows");
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::linear(context_, random({2, 3}), random({4, 3}), random({3}));
            }),
            "linear: bias must have shape [4] but has [3]");
}

// Pointwise

TEST_F(Ops, ActivateByHand) {
  const Tensor x = tensor({3}, {-1, 0, 2});
  EXPECT_THAT(bench_.values(ops::activate(context_, x, Activation::kRelu)), ElementsAre(0, 0, 2));
  EXPECT_THAT(bench_.values(ops::activate(context_, x, Activation::kTanh)),
              ElementsAre(std::tanh(-1.0), 0, std::tanh(2.0)));
  EXPECT_THAT(bench_.values(ops::activate(context_, x, Activation::kSigmoid)),
              ElementsAre(1 / (1 + std::exp(1.0)), 0.5, 1 / (1 + std::exp(-2.0))));
  EXPECT_THAT(bench_.values(ops::activate(context_, x, Activation::kNone)), ElementsAre(-1, 0, 2));
}

TEST_F(Ops, PointwiseByHand) {
  const Tensor a = tensor({3}, {1, 2, 3});
  const Tensor b = tensor({3}, {10, 20, 30});
  EXPECT_THAT(bench_.values(ops::add(context_, a, b)), ElementsAre(11, 22, 33));
  EXPECT_THAT(bench_.values(ops::add(context_, a, tensor({3}, {-3, 1, -3}), Activation::kRelu)),
              ElementsAre(0, 3, 0));
  EXPECT_THAT(bench_.values(ops::leaky_relu(context_, tensor({3}, {-2, 0, 3}), 0.5)),
              ElementsAre(-1, 0, 3));
  EXPECT_THAT(bench_.values(ops::multiply(context_, a, b)), ElementsAre(10, 40, 90));
  EXPECT_THAT(bench_.values(ops::scale(context_, a, -0.5)), ElementsAre(-0.5, -1, -1.5));
  EXPECT_EQ(bench_.value(ops::sum(context_, b)), 60);
  EXPECT_EQ(ops::sum(context_, b).shape(), Shape());
  EXPECT_EQ(ops::reshape(context_, a, {3, 1}).shape(), Shape({3, 1}));
}

TEST_F(Ops, PointwiseGradients) {
  const std::vector<Tensor> one{random({3, 7})};
  const std::vector<Tensor> two{random({3, 7}), random({3, 7}, 2)};
  for (const Activation activation : kActivations) {
    EXPECT_TRUE(gradients_agree(bench_, one, [&](Context& context, Inputs in) {
      return ops::activate(context, in[0], activation);
    })) << name_of(activation);
  }
  for (const Activation activation : kActivations) {
    EXPECT_TRUE(gradients_agree(bench_, two, [&](Context& context, Inputs in) {
      return ops::add(context, in[0], in[1], activation);
    })) << name_of(activation);
  }
  EXPECT_TRUE(gradients_agree(bench_, one, [](Context& context, Inputs in) {
    return ops::leaky_relu(context, in[0], 0.2);
  }));
  EXPECT_TRUE(gradients_agree(bench_, two, [](Context& context, Inputs in) {
    return ops::multiply(context, in[0], in[1]);
  }));
  EXPECT_TRUE(gradients_agree(
      bench_, one, [](Context& context, Inputs in) { return ops::scale(context, in[0], -2.5); }));
  EXPECT_TRUE(gradients_agree(
      bench_, one, [](Context& context, Inputs in) { return ops::sum(context, in[0]); }));
  EXPECT_TRUE(gradients_agree(bench_, one, [](Context& context, Inputs in) {
    return ops::reshape(context, in[0], {7, 3});
  }));
}

TEST_F(Ops, GradientsOfATensorUsedTwiceAdd) {
  EXPECT_TRUE(gradients_agree(bench_, {random({4})}, [](Context& context, Inputs in) {
    const Tensor square = ops::multiply(context, in[0], in[0]);
    return ops::add(context, square, ops::activate(context, in[0], Activation::kTanh));
  }));
}

TEST_F(Ops, PointwiseErrors) {
  const Tensor a = random({2, 3});
  const Tensor b = random({3, 2});
  EXPECT_EQ(message_of<ShapeError>([&] { ops::add(context_, a, b); }),
            "add: shapes [2, 3] and [3, 2] differ");
  EXPECT_EQ(message_of<ShapeError>([&] { ops::multiply(context_, a, b); }),
            "multiply: shapes [2, 3] and [3, 2] differ");
  EXPECT_EQ(message_of<ShapeError>([&] { ops::leaky_relu(context_, a, 0); }),
            "leaky_relu: slope is 0: above 0 needed");
  EXPECT_EQ(message_of<ShapeError>([&] { ops::reshape(context_, a, {7}); }),
            "reshape: [2, 3] has 6 elements but [7] has 7");
}

TEST_F(Ops, FromBytesScalesAndShifts) {
  const std::vector<double> bytes{0, 51, 255};
  const Tensor y =
      ops::from_bytes(context_, bench_.tensor({3}, bytes, DType::kU8), 1.0 / 255, -0.5);
  EXPECT_EQ(y.dtype(), DType::kF32);
  EXPECT_THAT(bench_.values(y), ElementsAre(-0.5, static_cast<double>(-0.3F), 0.5));
}

TEST_F(Ops, AllFiniteFindsNanAndInfinity) {
  EXPECT_TRUE(ops::all_finite(context_, tensor({3}, {0, -1e300, 5})));
  EXPECT_FALSE(ops::all_finite(context_, tensor({3}, {0, 1, std::nan("")})));
  EXPECT_FALSE(ops::all_finite(context_, tensor({3}, {-INFINITY, 1, 0})));
}

// Dropout

TEST_F(Ops, DropoutDropsOnlyInTraining) {
  const Tensor x = random({50});
  EXPECT_EQ(ops::dropout(context_, x, 0.5, 0).data(), x.data());
  context_.training = true;
  EXPECT_EQ(ops::dropout(context_, x, 0.0, 0).data(), x.data());
  EXPECT_NE(bench_.values(ops::dropout(context_, x, 0.5, 0)), bench_.values(x));
}

TEST_F(Ops, DropoutKeepsTheExpectation) {
  context_.training = true;
  const Tensor ones = bench_.full({10000}, 1, DType::kF64);
  const std::vector<double> y = bench_.values(ops::dropout(context_, ones, 0.25, 3));
  EXPECT_THAT(y, Each(::testing::AnyOf(0.0, 1 / 0.75)));
  // 10,000 draws: five standard deviations.
  const auto zeros = static_cast<double>(std::count(y.begin(), y.end(), 0.0));
  EXPECT_NEAR(zeros, 2500, 5 * std::sqrt(10000 * 0.25 * 0.75));
}

TEST_F(Ops, DropoutMaskIsAFunctionOfKeyAndOp) {
  context_.training = true;
  const Tensor x = bench_.full({200}, 1, DType::kF64);
  const auto mask = [&](std::uint64_t key, std::uint64_t op) {
    context_.key = RngKey(key);
    return bench_.values(ops::dropout(context_, x, 0.5, op));
  };
  EXPECT_EQ(mask(1, 0), mask(1, 0));
  EXPECT_NE(mask(1, 0), mask(1, 1));
  EXPECT_NE(mask(1, 0), mask(2, 0));
}

TEST_F(Ops, DropoutGradient) {
  EXPECT_TRUE(gradients_agree(
      bench_, {random({40})},
      [](Context& context, Inputs in) { return ops::dropout(context, in[0], 0.4, 7); },
      /*training=*/true));
}

TEST_F(Ops, DropoutErrors) {
  const Tensor x = random({4});
  EXPECT_EQ(message_of<ShapeError>([&] { ops::dropout(context_, x, 1.0, 0); }),
            "dropout: the rate must be at least 0 and below 1 but is 1");
  EXPECT_THROW(ops::dropout(context_, x, -0.1, 0), ShapeError);
  EXPECT_THROW(ops::dropout(context_, x, std::nan(""), 0), ShapeError);
}

// Losses

TEST_F(Ops, SoftmaxCrossEntropyByHand) {
  const Tensor logits = tensor({3, 2}, {0, 0, std::log(3.0), 0, 5, 5});
  const Tensor labels = bench_.tensor({3}, std::vector<double>{0, 1, 1}, DType::kI32);
  const ops::CrossEntropy result = ops::softmax_cross_entropy(context_, logits, labels, 0.5);
  const double sum = std::log(2.0) + std::log(4.0) + std::log(2.0);
  EXPECT_EQ(result.loss.shape(), Shape());
  EXPECT_NEAR(bench_.value(result.loss), 0.5 * sum, 1e-14);
  const std::vector<double> sums = bench_.values(result.sums);
  EXPECT_NEAR(sums[0], sum, 1e-14);
  EXPECT_EQ(sums[1], 1) << "row 0 is right, row 1 wrong, row 2 a tie whose first is class 0";
  EXPECT_TRUE(test::within(1e-15, {3, 2}, bench_.values(result.probabilities),
                           std::vector<double>{0.5, 0.5, 0.75, 0.25, 0.5, 0.5}));
}

TEST_F(Ops, SoftmaxCrossEntropySurvivesLargeLogits) {
  const Tensor logits = tensor({1, 3}, {1000, -1000, 999});
  const Tensor labels = bench_.full({1}, 1, DType::kI32);
  const ops::CrossEntropy result = ops::softmax_cross_entropy(context_, logits, labels, 1);
  EXPECT_NEAR(bench_.value(result.loss), 2000 + std::log1p(std::exp(-1.0)), 1e-9);
}

TEST_F(Ops, SoftmaxCrossEntropyGradient) {
  const Tensor labels = bench_.tensor({4}, std::vector<double>{2, 0, 4, 2}, DType::kI32);
  EXPECT_TRUE(gradients_agree(bench_, {random({4, 5})}, [&](Context& context, Inputs in) {
    return ops::softmax_cross_entropy(context, in[0], labels, 0.25).loss;
  }));
}

TEST_F(Ops, SoftmaxCrossEntropyGradientOfWeightedLosses) {
  const Tensor labels = bench_.tensor({2}, std::vector<double>{2, 0}, DType::kI32);
  EXPECT_TRUE(gradients_agree(bench_, {random({2, 3})}, [&](Context& context, Inputs in) {
    const Tensor first = ops::softmax_cross_entropy(context, in[0], labels, 1).loss;
    const Tensor second = ops::sum(context, ops::multiply(context, in[0], in[0]));
    return ops::add(context, ops::scale(context, first, 3), second);
  }));
}

TEST_F(Ops, SoftmaxCrossEntropyErrors) {
  const Tensor labels = bench_.full({2}, 0, DType::kI32);
  const auto message = [&](const Tensor& logits, const Tensor& of) {
    return message_of<ShapeError>([&] { ops::softmax_cross_entropy(context_, logits, of, 1); });
  };
  const std::string needed =
      "softmax_cross_entropy: logits must be [n, k] with n >= 1 and labels [n] of i32, but they "
      "are ";
  EXPECT_EQ(message(random({3, 5}), labels), needed + "[3, 5] and [2] of i32");
  EXPECT_EQ(message(random({2}), labels), needed + "[2] and [2] of i32");
  EXPECT_EQ(message(random({2, 5}), random({2})), needed + "[2, 5] and [2] of f64");
  EXPECT_EQ(message(random({0, 5}), bench_.empty({0}, DType::kI32)),
            needed + "[0, 5] and [0] of i32");
}

TEST_F(Ops, SoftmaxOfRows) {
  const Tensor y = ops::softmax(context_, tensor({2, 2}, {0, std::log(3.0), 700, 700}));
  EXPECT_TRUE(
      test::within(1e-15, {2, 2}, bench_.values(y), std::vector<double>{0.25, 0.75, 0.5, 0.5}));
  EXPECT_EQ(message_of<ShapeError>([&] { ops::softmax(context_, random({3})); }),
            "softmax: logits must be [n, k] but are [3]");
}

TEST_F(Ops, AProbeTellsTheSizeOfTheGradient) {
  Tensor x = random({2, 3});
  double square_sum = -1;
  Tape tape(bench_.device(), bench_.queue());
  Context context{bench_.device(), bench_.queue(), &tape, false, {}};
  tape.begin({});
  tape.watch(x);
  const Tensor y = ops::probe(context, ops::scale(context, x, 2), square_sum);
  EXPECT_EQ(bench_.values(y), bench_.values(ops::scale(context, x, 2)));
  tape.backward(ops::sum(context, ops::scale(context, y, -3)));
  EXPECT_DOUBLE_EQ(square_sum, 6 * 9);
  EXPECT_THAT(bench_.values(tape.gradient(x)), ::testing::Each(-6));
}

TEST_F(Ops, TypesMustAgree) {
  const Tensor x = random({2, 3});
  const Tensor w32 = bench_.random({4, 3}, RngKey(2), DType::kF32);
  EXPECT_THAT(message_of<ShapeError>([&] { ops::linear(context_, x, w32, {}); }),
              HasSubstr("w has type f32: f64 needed"));
}

}  // namespace
}  // namespace gentrain
