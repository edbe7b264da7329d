// The rules of the tape: who gets a gradient, what frozen parts cost, when memory returns, and what
// misuse is told.
#include "core/autograd.h"

#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/ops/ops.h"
#include "core/parameters.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/counting_device.h"
#include "tests/support/gradients.h"

namespace gentrain {
namespace {

using test::Calls;
using test::GradientStore;
using test::message_of;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsNan;

/// Two dense layers and their parameters, on a device that counts kernels.
class Autograd : public ::testing::Test {
 protected:
  enum Index : int { kW1, kB1, kW2, kB2 };

  Autograd() {
    const Initializer uniform{Initializer::Kind::kUniformFanIn};
    parameters_.add("first/weight", {3, 4}, uniform, 4, 3);
    parameters_.add("first/bias", {3}, uniform, 4, 3);
    parameters_.add("second/weight", {2, 3}, uniform, 3, 2);
    parameters_.add("second/bias", {2}, uniform, 3, 2);
    parameters_.allocate(device_, bench_.queue(), DType::kF64);
    parameters_.initialize(device_, bench_.queue(), RngKey(1));
  }

  void begin(GradientStore& store) {
    const std::array<ParameterGradients*, 1> sets{&store};
    tape_.begin(sets);
    device_.clear();
  }
  Tensor first(const Tensor& x) {
    return ops::linear(context_, x, parameters_[kW1], parameters_[kB1], Activation::kTanh);
  }
  Tensor second(const Tensor& x) {
    return ops::linear(context_, x, parameters_[kW2], parameters_[kB2]);
  }
  /// Sum of the two layers' results.
  Tensor loss() { return ops::sum(context_, second(first(x_))); }

  test::CountingDevice device_{test::reference_device()};
  test::Workbench bench_{device_};
  ParameterSet parameters_;
  Tape tape_{device_, bench_.queue()};
  Context context_{device_, bench_.queue(), &tape_, false, {}};
  Tensor x_ = bench_.random({5, 4}, RngKey(2), DType::kF64);
};

TEST_F(Autograd, EveryParameterIsWrittenAndCompletedOnce) {
  GradientStore store(bench_, parameters_);
  begin(store);
  tape_.backward(loss());
  EXPECT_THAT(store.completed(), ElementsAre(kW2, kB2, kW1, kB1));
  for (int i = 0; i < parameters_.size(); ++i) {
    EXPECT_THAT(bench_.values(store.gradient(i)), Each(::testing::Not(IsNan()))) << i;
  }
}

TEST_F(Autograd, ParameterGradientsAgreeWithDifferences) {
  GradientStore store(bench_, parameters_);
  begin(store);
  tape_.backward(loss());
  context_.tape = nullptr;
  const std::vector<double> at = bench_.values(parameters_.arena());
  const auto loss_at = [&](std::int64_t element, double change) {
    std::vector<double> moved = at;
    moved[static_cast<std::size_t>(element)] += change;
    copy_from_host<double>(device_, bench_.queue(), moved, parameters_.arena());
    return bench_.value(loss());
  };
  for (int p = 0; p < parameters_.size(); ++p) {
    std::vector<double> expected;
    for (std::int64_t i = 0; i < parameters_.info(p).shape.elements(); ++i) {
      const std::int64_t element = parameters_.info(p).offset + i;
      expected.push_back((loss_at(element, 1e-5) - loss_at(element, -1e-5)) / 2e-5);
    }
    EXPECT_TRUE(
        test::within(1e-8, parameters_.info(p).shape, bench_.values(store.gradient(p)), expected))
        << parameters_.info(p).name;
  }
}

TEST_F(Autograd, AFrozenNetworkRecordsNothing) {
  GradientStore store(bench_, parameters_, {kW1, kB1, kW2, kB2});
  begin(store);
  const Tensor y = loss();
  EXPECT_EQ(tape_.size(), 0U);
  EXPECT_EQ(y.grad_ref().kind, GradRef::Kind::kNone);
  EXPECT_EQ(message_of<Error>([&] { tape_.backward(y); }),
            "backward: the loss depends on nothing that wants a gradient on this tape");
}

TEST_F(Autograd, FrozenLowerLayersCostNothing) {
  GradientStore store(bench_, parameters_, {kW1, kB1});
  begin(store);
  const Tensor y = loss();
  EXPECT_EQ(tape_.size(), 2U) << "the second layer and the sum";
  device_.clear();
  tape_.backward(y);
  EXPECT_EQ(device_.calls(), (Calls{{"elementwise.fill", 2},  // seed of the loss, gradient of sum
                                    {"matmul.linear_backward_weights", 1}}));
  EXPECT_THAT(store.completed(), ElementsAre(kW2, kB2));
  EXPECT_THAT(bench_.values(store.gradient(kW1)), Each(IsNan()));
}

TEST_F(Autograd, FrozenUpperLayersPassGradientsOnly) {
  GradientStore store(bench_, parameters_, {kW2, kB2});
  begin(store);
  const Tensor y = loss();
  device_.clear();
  tape_.backward(y);
  EXPECT_EQ(device_.calls(), (Calls{{"elementwise.fill", 2},
                                    {"elementwise.activate_backward", 1},
                                    {"matmul.linear_backward_data", 1},
                                    {"matmul.linear_backward_weights", 1}}));
  EXPECT_THAT(store.completed(), ElementsAre(kW1, kB1));
}

TEST_F(Autograd, AFrozenWeightBesideALearningBiasStaysUntouched) {
  GradientStore store(bench_, parameters_, {kW1, kW2});
  begin(store);
  tape_.backward(loss());
  EXPECT_THAT(store.completed(), ElementsAre(kB2, kB1));
  EXPECT_THAT(bench_.values(store.gradient(kW2)), Each(IsNan()));
  EXPECT_THAT(bench_.values(store.gradient(kB2)), Each(5.0));
}

TEST_F(Autograd, ParametersOfOtherSetsAreConstants) {
  ParameterSet others;
  others.add("factor", {5, 2}, {Initializer::Kind::kOnes}, 1, 1);
  others.allocate(device_, bench_.queue(), DType::kF64);
  others.initialize(device_, bench_.queue(), RngKey(1));
  GradientStore store(bench_, parameters_);
  begin(store);
  const Tensor product = ops::multiply(context_, second(first(x_)), others[0]);
  device_.clear();
  tape_.backward(ops::sum(context_, product));
  EXPECT_EQ(device_.calls("elementwise.multiply"), 1) << "not for the factor";
  EXPECT_EQ(store.completed().size(), 4U);
}

TEST_F(Autograd, TwoSetsAreServedInOnePass) {
  ParameterSet others;
  others.add("shift", {5, 2}, {}, 1, 1);
  others.allocate(device_, bench_.queue(), DType::kF64);
  GradientStore store(bench_, parameters_);
  GradientStore other_store(bench_, others);
  const std::array<ParameterGradients*, 2> sets{&store, &other_store};
  tape_.begin(sets);
  tape_.backward(ops::sum(context_, ops::add(context_, second(first(x_)), others[0])));
  EXPECT_THAT(bench_.values(other_store.gradient(0)), Each(1.0));
  EXPECT_EQ(store.completed().size(), 4U);
  EXPECT_THAT(other_store.completed(), ElementsAre(0));
}

/// x, watched, becomes relu(x) and tanh(x); what `join` makes of both is summed.
class InPlace : public Autograd {
 protected:
  using Join = Tensor (*)(Context&, const Tensor&, const Tensor&);

  void walk(Join join) {
    tape_.begin({});
    tape_.watch(x_);
    const Tensor relu = ops::activate(context_, x_, Activation::kRelu);
    const Tensor tanh = ops::activate(context_, x_, Activation::kTanh);
    const Tensor loss = ops::sum(context_, join(context_, relu, tanh));
    const std::uint64_t before = device_.memory().stats().live_bytes;
    device_.memory().reset_peak();
    tape_.backward(loss);
    most_ = device_.memory().stats().peak_bytes - before;
  }
  void expect_gradient(const std::function<double(double)>& derivative) {
    const std::vector<double> x = bench_.values(x_);
    const std::vector<double> gradient = bench_.values(tape_.gradient(x_));
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(gradient[i], derivative(x[i]), 1e-12) << i;
    }
  }
  static double tanh_slope(double x) { return 1 - std::tanh(x) * std::tanh(x); }

  std::uint64_t most_ = 0;  // bytes of gradients alive at once
};

TEST_F(InPlace, AGradientThatTwoReadIsNotWrittenOver) {
  walk([](Context& context, const Tensor& a, const Tensor& b) { return ops::add(context, a, b); });
  expect_gradient([](double x) { return (x > 0 ? 1 : 0) + tanh_slope(x); });
}

TEST_F(InPlace, AGradientThatOneReadsIsWrittenOver) {
  walk([](Context& context, const Tensor& a, const Tensor& /*b*/) {
    return ops::activate(context, a, Activation::kTanh);
  });
  expect_gradient([](double x) { return x > 0 ? tanh_slope(x) : 0; });
  EXPECT_LT(most_, 2 * CachingAllocator::size_class(x_.bytes()));
}

TEST_F(Autograd, GradientsOfAParameterUsedTwiceAdd) {
  GradientStore store(bench_, parameters_);
  begin(store);
  const Tensor y = second(first(x_));
  const Tensor z = second(first(ops::scale(context_, x_, 1.0)));  // the same numbers again
  tape_.backward(ops::sum(context_, ops::add(context_, y, z)));
  EXPECT_THAT(store.completed(), ElementsAre(kW2, kB2, kW1, kB1));
  GradientStore once(bench_, parameters_);
  begin(once);
  tape_.backward(loss());
  for (int p = 0; p < parameters_.size(); ++p) {
    std::vector<double> doubled = bench_.values(once.gradient(p));
    for (double& value : doubled) {
      value *= 2;
    }
    EXPECT_EQ(bench_.values(store.gradient(p)), doubled) << p;
  }
}

TEST_F(Autograd, AParameterMayBeBothInputsOfOneOp) {
  GradientStore store(bench_, parameters_);
  begin(store);
  tape_.backward(ops::sum(context_, ops::multiply(context_, parameters_[kB2], parameters_[kB2])));
  std::vector<double> expected = bench_.values(parameters_[kB2]);
  for (double& value : expected) {
    value *= 2;
  }
  EXPECT_EQ(bench_.values(store.gradient(kB2)), expected);
  EXPECT_THAT(store.completed(), ElementsAre(kB2));
}

TEST_F(Autograd, AParameterThatTheLossDoesNotReachGetsZerosAndCompletes) {
  GradientStore store(bench_, parameters_);
  begin(store);
  const Tensor hidden = first(x_);
  second(hidden);  // recorded, but not part of the loss
  tape_.backward(ops::sum(context_, hidden));
  EXPECT_THAT(store.completed(), ::testing::UnorderedElementsAre(kW1, kB1, kW2, kB2));
  EXPECT_THAT(bench_.values(store.gradient(kW2)), Each(0.0));
  EXPECT_THAT(bench_.values(store.gradient(kB2)), Each(0.0));
}

TEST_F(Autograd, AWatchedTensorGetsItsGradient) {
  tape_.begin({});
  tape_.watch(x_);
  tape_.backward(ops::sum(context_, ops::scale(context_, x_, 3)));
  EXPECT_THAT(bench_.values(tape_.gradient(x_)), Each(3.0));
}

TEST_F(Autograd, AWatchedTensorThatTheLossDoesNotReachHasNoGradient) {
  tape_.begin({});
  tape_.watch(x_);
  Tensor other = bench_.full({2}, 1, DType::kF64);
  tape_.watch(other);
  tape_.backward(ops::sum(context_, ops::scale(context_, x_, 3)));
  EXPECT_FALSE(tape_.gradient(other).defined());
}

TEST_F(Autograd, TensorsOfAnotherTapeAreConstants) {
  Tape other(device_, bench_.queue());
  other.begin({});
  other.watch(x_);
  GradientStore store(bench_, parameters_);
  begin(store);
  const Tensor y = loss();
  device_.clear();
  tape_.backward(y);
  EXPECT_EQ(device_.calls("matmul.linear_backward_data"), 1) << "to the first layer, not to x";
}

TEST_F(Autograd, NothingIsRecordedWithoutATape) {
  context_.tape = nullptr;
  EXPECT_EQ(loss().grad_ref().kind, GradRef::Kind::kNone);
}

TEST_F(Autograd, MemoryReturnsWhenTheGraphWasUsed) {
  GradientStore store(bench_, parameters_);
  const std::uint64_t before = device_.memory().stats().live_bytes;
  {
    begin(store);
    const Tensor y = loss();
    EXPECT_GT(device_.memory().stats().live_bytes, before);
    tape_.backward(y);
    EXPECT_EQ(tape_.size(), 0U);
  }
  EXPECT_EQ(device_.memory().stats().live_bytes, before);
}

TEST_F(Autograd, EachNodeFreesItsTensorsWhenItWasUsed) {
  // Ten activations in a row: backward frees one result for each gradient it makes, so the peak
  // stays within two tensors (gradient in and out) and a few scalars of the forward pass.
  const std::int64_t elements = 1024;
  Tensor y = bench_.full({elements}, 0.5, DType::kF64);
  tape_.begin({});
  tape_.watch(y);
  for (int i = 0; i < 10; ++i) {
    y = ops::activate(context_, y, Activation::kTanh);
  }
  const Tensor total = ops::sum(context_, y);
  y = Tensor{};
  const std::uint64_t forward = device_.memory().stats().live_bytes;
  device_.memory().reset_peak();
  tape_.backward(total);
  EXPECT_LE(device_.memory().stats().peak_bytes, forward + 2 * elements * sizeof(double) + 256);
}

TEST_F(Autograd, BeginForgetsAGraphThatWasNotUsed) {
  GradientStore store(bench_, parameters_);
  begin(store);
  const std::uint64_t before = device_.memory().stats().live_bytes;
  loss();
  begin(store);
  EXPECT_EQ(device_.memory().stats().live_bytes, before);
  EXPECT_EQ(tape_.size(), 0U);
  tape_.backward(loss());
  EXPECT_THAT(store.completed(), ElementsAre(kW2, kB2, kW1, kB1));
}

TEST_F(Autograd, ASecondBackwardIsRefused) {
  GradientStore store(bench_, parameters_);
  begin(store);
  const Tensor y = loss();
  tape_.backward(y);
  EXPECT_EQ(message_of<Error>([&] { tape_.backward(y); }),
            "backward: this graph was used and freed already; run the forward pass again");
}

/// Two losses over the same layers: the first is for the second layer, the second for the first.
class TwoLosses : public Autograd {
 protected:
  const std::vector<bool> upper_{false, false, true, true};
  const std::vector<bool> lower_{true, true, false, false};
};

TEST_F(TwoLosses, OfOneRecordingGiveTheGradientsThatTheyGiveAlone) {
  const auto record = [&](GradientStore& store) {
    begin(store);
    const Tensor y = second(first(x_));
    return std::array{ops::sum(context_, ops::multiply(context_, y, y)), ops::sum(context_, y)};
  };
  GradientStore squares(bench_, parameters_);
  tape_.backward(record(squares)[0]);
  GradientStore sums(bench_, parameters_);
  tape_.backward(record(sums)[1]);

  GradientStore both(bench_, parameters_);
  const auto losses = record(both);
  PartOfGradients upper(both, upper_);
  PartOfGradients lower(both, lower_);
  const std::array<ParameterGradients*, 1> to_upper{&upper};
  const std::array<ParameterGradients*, 1> to_lower{&lower};
  tape_.backward(losses[0], to_upper, Tape::Graph::kKeep);
  EXPECT_THAT(both.completed(), ElementsAre(kW2, kB2));
  tape_.backward(losses[1], to_lower, Tape::Graph::kFree);
  EXPECT_THAT(both.completed(), ElementsAre(kW2, kB2, kW1, kB1));
  for (const int i : {kW1, kB1}) {
    EXPECT_EQ(bench_.values(both.gradient(i)), bench_.values(sums.gradient(i))) << i;
  }
  for (const int i : {kW2, kB2}) {
    EXPECT_EQ(bench_.values(both.gradient(i)), bench_.values(squares.gradient(i))) << i;
  }
  EXPECT_EQ(tape_.size(), 0U);
}

TEST_F(TwoLosses, WhatLeadsToNoReceiverIsNotComputed) {
  GradientStore store(bench_, parameters_);
  begin(store);
  const Tensor y = loss();
  PartOfGradients upper(store, upper_);
  const std::array<ParameterGradients*, 1> receivers{&upper};
  device_.clear();
  tape_.backward(y, receivers, Tape::Graph::kKeep);
  EXPECT_EQ(device_.calls("matmul.linear_backward_weights"), 1);
  EXPECT_EQ(device_.calls("matmul.linear_backward_data"), 0);
}

TEST_F(TwoLosses, AWatchedTensorHasTheGradientOfTheLastOne) {
  GradientStore store(bench_, parameters_);
  begin(store);
  tape_.watch(x_);
  const Tensor once = ops::sum(context_, x_);
  const Tensor twice = ops::scale(context_, once, 2);
  const std::array<ParameterGradients*, 1> receivers{&store};
  tape_.backward(twice, receivers, Tape::Graph::kKeep);
  EXPECT_THAT(bench_.values(tape_.gradient(x_)), Each(2.0));
  tape_.backward(once, receivers, Tape::Graph::kFree);
  EXPECT_THAT(bench_.values(tape_.gradient(x_)), Each(1.0));
}

TEST_F(TwoLosses, OneThatLeadsToNoReceiverIsRefused) {
  GradientStore store(bench_, parameters_);
  begin(store);
  const Tensor y = ops::sum(context_, first(x_));
  PartOfGradients upper(store, upper_);
  const std::array<ParameterGradients*, 1> receivers{&upper};
  EXPECT_EQ(message_of<Error>([&] { tape_.backward(y, receivers, Tape::Graph::kKeep); }),
            "backward: the loss depends on nothing that wants a gradient on this tape");
}

TEST_F(Autograd, RecordingOnAUsedGraphIsRefused) {
  GradientStore store(bench_, parameters_);
  begin(store);
  tape_.backward(loss());
  EXPECT_EQ(message_of<Error>([&] { first(x_); }),
            "linear: this graph was used by backward() already; begin a new one");
}

TEST_F(Autograd, ALossOfAnEarlierRecordingIsRefused) {
  GradientStore store(bench_, parameters_);
  begin(store);
  const Tensor old = loss();
  begin(store);
  EXPECT_EQ(message_of<Error>([&] { tape_.backward(old); }),
            "backward: the loss depends on nothing that wants a gradient on this tape");
}

TEST_F(Autograd, ALossOfSeveralElementsIsRefused) {
  GradientStore store(bench_, parameters_);
  begin(store);
  const Tensor y = second(first(x_));
  EXPECT_EQ(message_of<ShapeError>([&] { tape_.backward(y); }),
            "backward: the loss must have one element but has shape [5, 2]");
}

TEST_F(Autograd, AGradientOfAnotherShapeIsRefused) {
  tape_.begin({});
  tape_.watch(x_);
  Tensor y = bench_.full({}, 1, DType::kF64);
  tape_.record("wrong", y, {x_}, [](const Tensor& dy, GradSink& sink) { sink.put(0, dy); });
  EXPECT_EQ(message_of<ShapeError>([&] { tape_.backward(y); }),
            "wrong: the gradient has shape [] but its tensor has [5, 4]");
}

TEST_F(Autograd, TheGradientOfAnUnwatchedTensorIsRefused) {
  tape_.begin({});
  EXPECT_EQ(message_of<Error>([&] { static_cast<void>(tape_.gradient(x_)); }),
            "gradient: this tensor is not watched by the tape");
}

TEST_F(Autograd, WantsTellsTheClosureWhatIsNeeded) {
  GradientStore store(bench_, parameters_, {kB2});
  begin(store);
  tape_.watch(x_);
  Tensor y = bench_.full({}, 0, DType::kF64);
  std::vector<bool> wanted;
  tape_.record("probe", y,
               {x_, parameters_[kW1], parameters_[kB2], Tensor{}, bench_.full({1}, 0, DType::kF64)},
               [&](const Tensor&, GradSink& sink) {
                 for (int i = 0; i < 5; ++i) {
                   wanted.push_back(sink.wants(i));
                 }
               });
  tape_.backward(y);
  EXPECT_THAT(wanted, ElementsAre(true, true, false, false, false));
}

TEST_F(Autograd, MakeHandsOutTheParametersSlotItself) {
  GradientStore store(bench_, parameters_);
  begin(store);
  Tensor y = bench_.full({}, 0, DType::kF64);
  tape_.record("probe", y, {parameters_[kW1], parameters_[kW1]},
               [&](const Tensor&, GradSink& sink) {
                 const Tensor first_use = sink.make(0);
                 EXPECT_EQ(first_use.data(), store.gradient(kW1).data());
                 device_.elementwise().fill(bench_.queue(), 1, first_use.view());
                 sink.put(0, first_use);
                 const Tensor second_use = sink.make(1);
                 EXPECT_NE(second_use.data(), store.gradient(kW1).data());
                 device_.elementwise().fill(bench_.queue(), 2, second_use.view());
                 sink.put(1, second_use);
               });
  tape_.backward(y);
  EXPECT_THAT(bench_.values(store.gradient(kW1)), Each(3.0));
}

}  // namespace
}  // namespace gentrain
