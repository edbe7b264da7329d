// Batch normalisation and PReLU: values by hand, gradients against central differences in f64 on
// the reference device, running statistics, messages of errors; the layer.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/nn/layers.h"
#include "core/ops/norm.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/core/ops_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/counting_device.h"
#include "tests/support/gradients.h"

namespace gentrain {
namespace {

using ops::BatchNormOptions;
using ops::BatchNormParameters;
using test::gradients_agree;
using test::message_of;
using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsNan;
using Inputs = std::span<const Tensor>;

class NormOps : public Ops {
 protected:
  /// Running statistics of c channels, no gamma and no beta.
  [[nodiscard]] BatchNormParameters running(std::int64_t c) const {
    return {{},
            {},
            bench_.random({c}, RngKey(21), DType::kF64),
            bench_.random({c}, RngKey(22), DType::kF64, 0.5, 2)};
  }

  Context training_{bench_.device(), bench_.queue(), nullptr, true, {}};
};

TEST_F(NormOps, BatchNormByHand) {
  // Channel 0: mean 2, variance 4. Channel 1: mean 5, variance 0.
  const Tensor x = tensor({2, 1, 1, 2}, {0, 5, 4, 5});
  const BatchNormParameters p{tensor({2}, {3, 1}), tensor({2}, {10, -7}), tensor({2}, {0, 0}),
                              tensor({2}, {1, 1})};
  const double by = std::sqrt(4 + 0.25);
  const BatchNormOptions options{.epsilon = 0.25};
  EXPECT_THAT(
      bench_.values(ops::batch_norm(training_, x, p, options)),
      ElementsAre(DoubleNear(10 - 3 * 2 / by, 1e-14), -7, DoubleNear(10 + 3 * 2 / by, 1e-14), -7));
  const double running = std::sqrt(1.25);
  EXPECT_THAT(
      bench_.values(ops::batch_norm(context_, x, p, options)),
      ElementsAre(10, DoubleNear(-7 + 5 / running, 1e-14), DoubleNear(10 + 3 * 4 / running, 1e-14),
                  DoubleNear(-7 + 5 / running, 1e-14)));
}

TEST_F(NormOps, BatchNormAddsTheResidualBeforeTheActivation) {
  const Tensor x = tensor({2, 1}, {-1, 1});
  const BatchNormParameters p{{}, {}, tensor({1}, {0}), tensor({1}, {1})};
  const Tensor residual = tensor({2, 1}, {-3, 0.5});
  BatchNormOptions options{.epsilon = 1e-30, .activation = Activation::kRelu};
  EXPECT_THAT(bench_.values(ops::batch_norm(training_, x, p, options, residual)),
              ElementsAre(0, 1.5));
  options.slope = 0.25;
  EXPECT_THAT(bench_.values(ops::batch_norm(training_, x, p, options, residual)),
              ElementsAre(-1, 1.5));
  options.activation = Activation::kTanh;
  EXPECT_THAT(bench_.values(ops::batch_norm(training_, x, p, options, residual)),
              ElementsAre(std::tanh(-4.0), std::tanh(1.5)));
}

TEST_F(NormOps, BatchNormGradients) {
  struct {
    Activation activation;
    double slope;
  } const cases[] = {{Activation::kNone, 0},
                     {Activation::kRelu, 0},
                     {Activation::kRelu, 0.2},
                     {Activation::kTanh, 0}};
  const std::vector<Tensor> inputs{random({3, 2, 2, 3}), random({3}, 2), random({3}, 3),
                                   random({3, 2, 2, 3}, 4)};
  for (const auto& c : cases) {
    for (const bool training : {true, false}) {
      EXPECT_TRUE(gradients_agree(
          bench_, inputs,
          [&](Context& context, Inputs in) {
            BatchNormParameters p = running(3);
            p.gamma = in[1];
            p.beta = in[2];
            return ops::batch_norm(context, in[0], p,
                                   {.activation = c.activation, .slope = c.slope}, in[3]);
          },
          training))
          << name_of(c.activation) << " slope " << c.slope << " training " << training;
    }
  }
}

TEST_F(NormOps, BatchNormGradientsWithoutTheRest) {
  for (const bool batch_statistics : {true, false}) {
    EXPECT_TRUE(gradients_agree(
        bench_, {random({7, 4})},
        [&](Context& context, Inputs in) {
          return ops::batch_norm(context, in[0], running(4),
                                 {.batch_statistics = batch_statistics});
        },
        true));
  }
}

TEST_F(NormOps, BatchNormGradientsWithEitherGammaOrBeta) {
  const std::vector<Tensor> inputs{random({3, 2, 2, 4}), random({4}, 2)};
  for (const bool gamma : {true, false}) {
    for (const bool training : {true, false}) {
      EXPECT_TRUE(gradients_agree(
          bench_, inputs,
          [&](Context& context, Inputs in) {
            BatchNormParameters p = running(4);
            (gamma ? p.gamma : p.beta) = in[1];
            return ops::batch_norm(context, in[0], p, {.activation = Activation::kRelu});
          },
          training))
          << (gamma ? "gamma" : "beta") << " training " << training;
    }
  }
}

TEST_F(NormOps, WithoutBetaOrGammaIsZerosOrOnes) {
  const Tensor x = random({2, 3, 3, 2});
  const Tensor scale = random({2}, 5);
  const Tensor shift = random({2}, 6);
  for (Context* context : {&training_, &context_}) {
    const auto normalised = [&](const Tensor& gamma, const Tensor& beta) {
      BatchNormParameters p = running(2);
      p.gamma = gamma;
      p.beta = beta;
      return bench_.values(ops::batch_norm(*context, x, p));
    };
    EXPECT_EQ(normalised(scale, {}), normalised(scale, tensor({2}, {0, 0})));
    EXPECT_EQ(normalised({}, shift), normalised(tensor({2}, {1, 1}), shift));
    EXPECT_NE(normalised(scale, {}), normalised(scale, shift));
  }
}

TEST_F(NormOps, AFrozenLayerIsAnAffineMapInTrainingToo) {
  const Tensor x = random({2, 3, 3, 4});
  const BatchNormParameters p = running(4);
  const std::vector<double> evaluated = bench_.values(ops::batch_norm(context_, x, p));
  EXPECT_EQ(bench_.values(ops::batch_norm(training_, x, p, {.batch_statistics = false})),
            evaluated);
  EXPECT_NE(bench_.values(ops::batch_norm(training_, x, p)), evaluated);
}

TEST_F(NormOps, OneValuePerChannelGivesBeta) {
  BatchNormParameters p = running(3);
  p.beta = tensor({3}, {1, 2, 3});
  EXPECT_THAT(bench_.values(ops::batch_norm(training_, random({1, 1, 1, 3}), p)),
              ElementsAre(1, 2, 3));
}

TEST_F(NormOps, BatchNormKeepsNan) {
  const Tensor x = tensor({2, 2}, {1, std::nan(""), 2, 3});
  const std::vector<double> y =
      bench_.values(ops::batch_norm(training_, x, running(2), {.activation = Activation::kRelu}));
  EXPECT_THAT(y[1], IsNan());
  EXPECT_THAT(y[3], IsNan());
  EXPECT_FALSE(std::isnan(y[0]));
}

TEST_F(NormOps, BatchNormErrors) {
  const Tensor x = random({2, 3, 3, 4});
  const auto error = [&](const Tensor& in, const BatchNormParameters& p,
                         const BatchNormOptions& options = {}, const Tensor& residual = {}) {
    return message_of<ShapeError>([&] { ops::batch_norm(training_, in, p, options, residual); });
  };
  EXPECT_EQ(error(random({2, 3, 4}), running(4)),
            "batch_norm: x must be [n, h, w, c] or [n, c], not empty, but is [2, 3, 4]");
  EXPECT_EQ(error(random({0, 4}), running(4)),
            "batch_norm: x must be [n, h, w, c] or [n, c], not empty, but is [0, 4]");
  EXPECT_EQ(error(x, running(3)), "batch_norm: running_mean must have shape [4] but has [3]");
  BatchNormParameters p = running(4);
  p.running_var = random({3});
  EXPECT_EQ(error(x, p), "batch_norm: running_var must have shape [4] but has [3]");
  p = running(4);
  p.gamma = random({5});
  EXPECT_EQ(error(x, p), "batch_norm: gamma must have shape [4] but has [5]");
  p = running(4);
  p.beta = random({1, 4});
  EXPECT_EQ(error(x, p), "batch_norm: beta must have shape [4] but has [1, 4]");
  EXPECT_EQ(error(x, running(4), {}, random({2, 3, 3, 1})),
            "batch_norm: the residual must have shape [2, 3, 3, 4] but has [2, 3, 3, 1]");
  EXPECT_EQ(error(x, running(4), {.epsilon = 0}), "normalize: epsilon is 0: above 0 needed");
  EXPECT_EQ(error(x, running(4), {.activation = Activation::kRelu, .slope = 2}),
            "normalize: slope is 2: from 0 to 1 needed");
}

/// A layer of two channels and its parameters.
class BatchNormLayer : public NormOps {
 protected:
  BatchNormLayer() {
    parameters_.allocate(bench_.device(), bench_.queue(), DType::kF64);
    parameters_.initialize(bench_.device(), bench_.queue(), RngKey(1));
  }

  /// The loss is the sum of the squares of what the layer makes of each x.
  std::vector<int> backward(test::GradientStore& store, const std::vector<Tensor>& xs,
                            const BatchNormOptions& options) {
    Tape tape(bench_.device(), bench_.queue());
    ParameterGradients* const sets[] = {&store};
    tape.begin(sets);
    Context context{bench_.device(), bench_.queue(), &tape, true, {}};
    Tensor loss;
    for (const Tensor& x : xs) {
      const Tensor y = layer_.forward(context, x, options);
      const Tensor term = ops::sum(context, ops::multiply(context, y, y));
      loss = loss.defined() ? ops::add(context, loss, term) : term;
    }
    tape.backward(loss);
    return store.completed();
  }

  ParameterSet parameters_;
  nn::BatchNorm2d layer_{parameters_, "bn1", 2};
  const Tensor real_ = tensor({2, 1, 1, 2}, {0, 5, 4, 5});  // means 2, 5; variances 4, 0
  const Tensor fake_ = tensor({2, 1, 1, 2}, {1, 3, 1, 9});  // means 1, 6; variances 0, 9
};

TEST_F(BatchNormLayer, RegistersItsParameters) {
  ASSERT_EQ(parameters_.size(), 4);
  const std::vector<std::string> names{"bn1/gamma", "bn1/beta", "bn1/running_mean",
                                       "bn1/running_var"};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(parameters_.info(i).name, names[static_cast<std::size_t>(i)]);
    EXPECT_EQ(parameters_.info(i).shape, Shape{2});
    EXPECT_THAT(bench_.values(parameters_[i]), Each(i == 0 || i == 3 ? 1 : 0)) << i;
  }
}

TEST_F(BatchNormLayer, HandsItsStatisticsOn) {
  test::GradientStore store(bench_, parameters_);
  backward(store, {real_}, {.weight = 0.5});
  EXPECT_THAT(bench_.values(store.gradient(2)), ElementsAre(1, 2.5));
  // Without bias: 2 / (2 - 1) times the mean square.
  EXPECT_THAT(bench_.values(store.gradient(3)), ElementsAre(4, 0));
}

TEST_F(BatchNormLayer, UsedTwiceItHandsOnBothOnce) {
  test::GradientStore store(bench_, parameters_);
  const std::vector<int> completed = backward(store, {real_, fake_}, {.weight = 0.25});
  EXPECT_THAT(bench_.values(store.gradient(2)), ElementsAre(0.75, 2.75));
  EXPECT_THAT(bench_.values(store.gradient(3)), ElementsAre(2, 4.5));
  EXPECT_THAT(completed, ::testing::UnorderedElementsAre(0, 1, 2, 3));
}

TEST_F(BatchNormLayer, WithRunningStatisticsItHandsOnThoseSoThatTheyStay) {
  test::GradientStore store(bench_, parameters_);
  backward(store, {real_}, {.weight = 0.5, .batch_statistics = false});
  EXPECT_THAT(bench_.values(store.gradient(2)), ElementsAre(0, 0));
  EXPECT_THAT(bench_.values(store.gradient(3)), ElementsAre(0.5, 0.5));
}

TEST_F(BatchNormLayer, FrozenStatisticsAreNotHandedOn) {
  test::GradientStore store(bench_, parameters_, {0, 2, 3});
  EXPECT_THAT(backward(store, {real_}, {}), ElementsAre(1));
  for (const int frozen : {0, 2, 3}) {
    EXPECT_THAT(bench_.values(store.gradient(frozen)), Each(IsNan())) << "nothing was written";
  }
}

TEST_F(BatchNormLayer, ErrorsNameTheLayer) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              layer_.forward(training_, random({2, 3}), {});
            }),
            "batch_norm: gamma must have shape [3] but has [2] (bn1)");
}

TEST_F(NormOps, WithoutAnActivationTheResidualsGradientIsNotCopied) {
  test::CountingDevice counting(bench_.device());
  const test::Workbench bench(counting);
  Tensor x = random({2, 3});
  Tensor residual = random({2, 3}, 2);
  Tape tape(counting, bench.queue());
  tape.begin({});
  tape.watch(x);
  tape.watch(residual);
  Context context{counting, bench.queue(), &tape, true, {}};
  tape.backward(ops::sum(context, ops::batch_norm(context, x, running(3), {}, residual)));
  EXPECT_THAT(bench.values(tape.gradient(residual)), Each(1));
  EXPECT_EQ(counting.calls("norm.normalize_backward"), 1);
  EXPECT_EQ(counting.calls("elementwise.scale"), 0);
}

TEST_F(NormOps, PreluByHand) {
  const Tensor x = tensor({2, 2}, {-2, -2, 3, 0});
  EXPECT_THAT(bench_.values(ops::prelu(context_, x, tensor({2}, {0.5, -1}))),
              ElementsAre(-1, 2, 3, 0));
}

TEST_F(NormOps, PreluGradients) {
  EXPECT_TRUE(gradients_agree(
      bench_, {random({3, 2, 2, 5}), random({5}, 2)},
      [](Context& context, Inputs in) { return ops::prelu(context, in[0], in[1]); }));
  const Tensor alpha = random({5}, 2);
  EXPECT_TRUE(gradients_agree(bench_, {random({4, 5})}, [&](Context& context, Inputs in) {
    return ops::prelu(context, in[0], alpha);
  }));
  const Tensor x = random({4, 5});
  EXPECT_TRUE(gradients_agree(
      bench_, {alpha}, [&](Context& context, Inputs in) { return ops::prelu(context, x, in[0]); }));
}

TEST_F(NormOps, PreluErrors) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::prelu(context_, random({2, 3}), random({2}));
            }),
            "prelu: alpha must have shape [3] but has [2]");
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::prelu(context_, random({0, 3}), random({3}));
            }),
            "prelu: x must be [..., c], not empty, but is [0, 3]");
}

}  // namespace
}  // namespace gentrain
