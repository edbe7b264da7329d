// Graphs that compute: against ops written out by hand, gradients of trained and frozen parts,
// folding, and that nothing is computed which nobody asked for.
#include <array>
#include <cmath>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/graph/executor.h"
#include "core/ops/norm.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/counting_device.h"
#include "tests/support/gradients.h"

namespace gentrain::graph {
namespace {

using test::message_of;
using test::Workbench;
using Names = std::vector<std::string>;
using Values = std::vector<double>;

Convolution same_conv(std::int64_t out, std::int64_t kernel, bool bias) {
  Convolution node;
  node.out = out;
  node.kernel_h = node.kernel_w = kernel;
  node.padding.same = true;
  node.bias = bias;
  return node;
}

/// Two branches behind a stem, side by side, a sum, pooling and a dense layer.
Graph branches() {
  Graph graph;
  int x = graph.add("x", Input{{6, 5, 2}});
  x = graph.add("stem", same_conv(3, 3, false), {x});
  x = graph.add("stem_norm", BatchNormalization{.epsilon = 1e-2, .gamma = false}, {x});
  x = graph.add("stem_relu", Activate{}, {x});
  const int left = graph.add("left", same_conv(2, 1, true), {x});
  const int left_relu = graph.add("left_tanh", Activate{.activation = Activation::kTanh}, {left});
  int right = graph.add("right", same_conv(2, 3, false), {x});
  right = graph.add("right_norm", BatchNormalization{}, {right});
  right =
      graph.add("right_leaky", Activate{.activation = Activation::kRelu, .slope = 0.2}, {right});
  const int both = graph.add("both", Concatenation{}, {left_relu, right});
  const int sum = graph.add("sum", Addition{}, {both, both});
  const int relu = graph.add("sum_relu", Activate{}, {sum});
  const int pool = graph.add("pool",
                             Pooling{.pooling = PoolingKind::kAverage,
                                     .window = {3, 3},
                                     .stride = {2, 2},
                                     .padding = {.same = true, .explicit_padding = {}}},
                             {relu});
  const int flat = graph.add("flat", Flatten{}, {pool});
  const int dense = graph.add("dense", Dense{.out = 3, .bias = true}, {flat});
  graph.add("probabilities", Softmax{}, {dense});
  return graph;
}

class GraphExecutor : public ::testing::Test {
 protected:
  explicit GraphExecutor(Device& device = test::reference_device(), DType dtype = DType::kF64)
      : bench_(device), dtype_(dtype) {
    register_parameters(branches(), parameters_, {Initializer::Kind::kUniformFanIn});
    parameters_.allocate(bench_.device(), bench_.queue(), dtype_);
    parameters_.initialize(bench_.device(), bench_.queue(), RngKey(1));
    for (const char* name :
         {"stem_norm/beta", "stem_norm/running_mean", "stem_norm/running_var", "right_norm/gamma",
          "right_norm/beta", "right_norm/running_mean", "right_norm/running_var"}) {
      randomize(name);
    }
    parameters_.mark_changed();
    x_ = bench_.random({4, 6, 5, 2}, RngKey(9), dtype_);
  }

  void randomize(const std::string& name) {
    const Tensor& to = of(name);
    Context context = plain();
    ops::copy(context, bench_.random(to.shape(), RngKey(to.elements() + name.size()), dtype_, 0.3),
              to);
  }
  [[nodiscard]] const Tensor& of(const std::string& name) const {
    return parameters_[parameters_.find(name)];
  }
  [[nodiscard]] Context plain(Tape* tape = nullptr, bool training = false) const {
    return {bench_.device(), bench_.queue(), tape, training, RngKey(2)};
  }

  struct Maps {
    Tensor stem, both, logits;
  };

  /// The same network out of ops, one by one.
  Maps by_hand(Context& context, bool batch_statistics = false) const {
    ops::BatchNormOptions norm{.epsilon = 1e-2};
    norm.batch_statistics = batch_statistics;
    Tensor stem = ops::conv2d(context, x_, of("stem/weight"), {}, {.padding = {1, 1, 1, 1}});
    stem = ops::batch_norm(
        context, stem,
        {{}, of("stem_norm/beta"), of("stem_norm/running_mean"), of("stem_norm/running_var")},
        norm);
    stem = ops::activate(context, stem, Activation::kRelu);
    const Tensor left = ops::activate(
        context, ops::conv2d(context, stem, of("left/weight"), of("left/bias")), Activation::kTanh);
    norm.epsilon = 1e-3;
    Tensor right = ops::conv2d(context, stem, of("right/weight"), {}, {.padding = {1, 1, 1, 1}});
    right = ops::batch_norm(context, right,
                            {of("right_norm/gamma"), of("right_norm/beta"),
                             of("right_norm/running_mean"), of("right_norm/running_var")},
                            norm);
    right = ops::leaky_relu(context, right, 0.2);
    const std::array sides = {left, right};
    const Tensor both = ops::concat(context, sides);
    Tensor y = ops::activate(context, ops::add(context, both, both), Activation::kRelu);
    y = ops::average_pool2d(context, y, {3, 3}, {2, 2}, {0, 1, 1, 1});
    y = ops::reshape(context, y, {4, 36});
    return {stem, both, ops::linear(context, y, of("dense/weight"), of("dense/bias"))};
  }

  /// Gradients of the sum of squares of the logits at all parameters but the frozen ones.
  template <class Forward>
  test::GradientStore gradients(const std::set<int>& frozen, const Forward& forward) {
    test::GradientStore store(bench_, parameters_, frozen);
    Tape tape(bench_.device(), bench_.queue());
    ParameterGradients* const sets[] = {&store};
    tape.begin(sets);
    Context context = plain(&tape, true);
    tape.backward(ops::squared_error(context, forward(context), 0.0, 1).loss);
    return store;
  }

  /// Those of a part of the parameters.
  [[nodiscard]] std::set<int> starting_with(const std::vector<std::string>& prefixes) const {
    std::set<int> found;
    for (int i = 0; i < parameters_.size(); ++i) {
      for (const std::string& prefix : prefixes) {
        if (parameters_.info(i).name.starts_with(prefix)) {
          found.insert(i);
        }
      }
    }
    return found;
  }

  void expect_same_gradients(const std::set<int>& frozen, bool batch_statistics, double bound) {
    const Executor executor(branches(), parameters_, {.batch_statistics = batch_statistics});
    const Names logits = {"dense"};
    const auto actual = gradients(
        frozen, [&](Context& context) { return executor.forward(context, x_, logits)[0]; });
    const auto expected = gradients(
        frozen, [&](Context& context) { return by_hand(context, batch_statistics).logits; });
    EXPECT_EQ(std::set<int>(actual.completed().begin(), actual.completed().end()),
              std::set<int>(expected.completed().begin(), expected.completed().end()));
    EXPECT_EQ(actual.completed().size() + frozen.size(),
              static_cast<std::size_t>(parameters_.size()));
    for (const int p : actual.completed()) {
      const Shape& shape = parameters_.info(p).shape;
      EXPECT_TRUE(test::within(bound, shape, bench_.values(actual.gradient(p)),
                               bench_.values(expected.gradient(p))))
          << parameters_.info(p).name;
    }
  }

  Workbench bench_;
  DType dtype_;
  ParameterSet parameters_;
  Tensor x_;
};

/// The same on the CPU in f32.
class GraphExecutorCpu : public GraphExecutor {
 protected:
  GraphExecutorCpu() : GraphExecutor(test::cpu_device(), DType::kF32) {}
};

TEST_F(GraphExecutor, ComputesWhatTheOpsDo) {
  const Executor executor(branches(), parameters_);
  Context context = plain();
  const Names wanted = {"stem_relu", "dense", "both", "probabilities", "x"};
  const std::vector<Tensor> maps = executor.forward(context, x_, wanted);
  const Maps expected = by_hand(context);
  const auto near = [&](const Tensor& actual, const Tensor& right) {
    return test::within(1e-12, right.shape(), bench_.values(actual), bench_.values(right));
  };
  EXPECT_TRUE(near(maps[0], expected.stem));
  EXPECT_TRUE(near(maps[1], expected.logits));
  EXPECT_TRUE(near(maps[2], expected.both));
  EXPECT_TRUE(near(maps[3], ops::softmax(context, expected.logits)));
  EXPECT_EQ(maps[4].data(), x_.data());
  EXPECT_EQ(executor.folds_made(), 2);
}

TEST_F(GraphExecutorCpu, FoldingChangesLittle) {
  const Executor executor(branches(), parameters_);
  Context context = plain();
  const Names wanted = {"both", "dense"};
  const std::vector<Tensor> maps = executor.forward(context, x_, wanted);
  const Maps expected = by_hand(context);
  EXPECT_TRUE(test::within(1e-5, expected.both.shape(), bench_.values(maps[0]),
                           bench_.values(expected.both)));
  EXPECT_TRUE(test::within(1e-5, expected.logits.shape(), bench_.values(maps[1]),
                           bench_.values(expected.logits)));
}

TEST_F(GraphExecutorCpu, ComputesInBf16AndGivesFloats) {
  const Executor executor(branches(), parameters_);
  Context context = plain();
  context.bf16 = true;
  const Names wanted = {"both", "dense", "probabilities"};
  const std::vector<Tensor> maps = executor.forward(context, x_, wanted);
  context.bf16 = false;
  const Maps expected = by_hand(context);
  for (const Tensor& map : maps) {
    EXPECT_EQ(map.dtype(), DType::kF32);
  }
  EXPECT_TRUE(test::within(0.05, expected.logits.shape(), bench_.values(maps[1]),
                           bench_.values(expected.logits)));
}

TEST_F(GraphExecutor, GradientsWithConstantStatistics) {
  expect_same_gradients({}, false, 1e-12);
}

TEST_F(GraphExecutor, GradientsWithStatisticsOfTheBatch) {
  expect_same_gradients({}, true, 1e-12);
}

TEST_F(GraphExecutor, GradientsBehindAFrozenPart) {
  const std::set<int> frozen = starting_with({"stem"});
  expect_same_gradients(frozen, false, 1e-11);
  const Executor executor(branches(), parameters_, {.batch_statistics = true});
  test::GradientStore store(bench_, parameters_, frozen);
  Tape tape(bench_.device(), bench_.queue());
  ParameterGradients* const sets[] = {&store};
  tape.begin(sets);
  Context context = plain(&tape, true);
  const std::array wanted = {executor.graph().find("dense")};
  int folded = 0;
  for (const Step& step : executor.steps(context, wanted)) {
    folded += step.norm >= 0 ? 1 : 0;
  }
  EXPECT_EQ(folded, 1) << "that of the stem; the other one is trained";
  // A frozen batch norm keeps the running statistics, whatever trained ones take.
  const Names stem = {"stem_relu"};
  Context evaluation = plain();
  EXPECT_EQ(bench_.values(executor.forward(context, x_, stem)[0]),
            bench_.values(executor.forward(evaluation, x_, stem)[0]));
}

TEST_F(GraphExecutor, ATrainedNormOfAFrozenConvolutionIsNotFolded) {
  std::set<int> frozen = starting_with({"stem", "left", "right/", "dense"});
  for (const int p : starting_with({"stem_norm"})) {
    frozen.erase(p);
  }
  expect_same_gradients(frozen, false, 1e-11);
}

TEST_F(GraphExecutor, TheGradientOfAnImageGoesThroughFoldedWeights) {
  const Executor executor(branches(), parameters_);
  EXPECT_TRUE(test::gradients_agree(
      bench_, {bench_.random({1, 6, 5, 2}, RngKey(4), DType::kF64)},
      [&](Context& context, std::span<const Tensor> in) {
        const Names wanted = {"both", "dense"};
        const std::vector<Tensor> maps = executor.forward(context, in[0], wanted);
        return ops::add(context, ops::sum(context, maps[0]), ops::sum(context, maps[1]));
      }));
  EXPECT_EQ(executor.folds_made(), 2);
}

TEST_F(GraphExecutor, FoldsOncePerVersionForAllThreads) {
  const Executor executor(branches(), parameters_);
  const Names wanted = {"dense"};
  std::vector<Values> results(4);
  std::vector<std::thread> threads;
  for (Values& result : results) {
    threads.emplace_back([&] {
      const Workbench bench(bench_.device());
      Context context{bench.device(), bench.queue(), nullptr, false, {}};
      result = bench.values(executor.forward(context, x_, wanted)[0]);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(executor.folds_made(), 2);
  for (const Values& result : results) {
    EXPECT_EQ(result, results[0]);
  }
  std::vector<bool> changed(static_cast<std::size_t>(parameters_.size()), false);
  changed[static_cast<std::size_t>(parameters_.find("right_norm/beta"))] = true;
  Context context = plain();
  ops::copy(context, bench_.full({2}, 3, dtype_), of("right_norm/beta"));
  parameters_.mark_changed(changed);
  const Tensor after = executor.forward(context, x_, wanted)[0];
  EXPECT_EQ(executor.folds_made(), 3) << "the stem's did not change";
  EXPECT_TRUE(test::within(1e-12, after.shape(), bench_.values(after),
                           bench_.values(by_hand(context).logits)));
}

TEST_F(GraphExecutor, ComputesOnlyWhatIsWanted) {
  test::CountingDevice device(bench_.device());
  const auto queue = device.make_queue();
  Context context{device, *queue, nullptr, false, {}};
  const Executor executor(branches(), parameters_);
  executor.forward(context, x_, Names{"left"});
  EXPECT_EQ(device.calls("conv.forward"), 2);
  EXPECT_EQ(device.calls("norm.normalize"), 0);
  EXPECT_EQ(device.calls("pixel.put_channels"), 0);
  device.clear();
  executor.forward(context, x_, Names{"dense"});
  EXPECT_EQ(device.calls("conv.forward"), 3);
  EXPECT_EQ(device.calls("elementwise.activate"), 0) << "all are fused";
  EXPECT_EQ(device.calls("elementwise.leaky_relu"), 1);
  EXPECT_EQ(device.calls("elementwise.add_activate"), 1);
  EXPECT_EQ(device.calls("loss.softmax"), 0);
}

TEST_F(GraphExecutor, LetsGoOfWhatNobodyReadsAnyMore) {
  Graph graph;
  int x = graph.add("x", Input{{64, 64, 8}});
  for (int i = 0; i < 16; ++i) {
    x = graph.add("layer" + std::to_string(i), Dropout{.rate = 0}, {x});
    x = graph.add("leaky" + std::to_string(i), Activate{.slope = 0.5}, {x});
  }
  const ParameterSet none;
  const Executor executor(std::move(graph), none);
  const Tensor image = bench_.full({1, 64, 64, 8}, 1, DType::kF64);
  Context context = plain();
  CachingAllocator& memory = bench_.device().memory();
  const std::uint64_t before = memory.stats().live_bytes;
  memory.reset_peak();
  const Names wanted = {"leaky15"};
  executor.forward(context, image, wanted);
  EXPECT_LT(memory.stats().peak_bytes - before, 4 * image.bytes());
}

TEST_F(GraphExecutor, GlobalPoolingOfManyPixels) {
  Graph graph;
  const int x = graph.add("x", Input{{17, 18, 3}});
  graph.add("mean", GlobalPooling{}, {x});
  graph.add("max", GlobalPooling{PoolingKind::kMax}, {x});
  const ParameterSet none;
  const Executor executor(std::move(graph), none);
  const Tensor image = bench_.random({1, 17, 18, 3}, RngKey(3), DType::kF64);
  const Values pixels = bench_.values(image);
  Context context = plain();
  const Names wanted = {"mean", "max"};
  const std::vector<Tensor> pooled = executor.forward(context, image, wanted);
  for (std::size_t c = 0; c < 3; ++c) {
    double sum = 0;
    double largest = -2;
    for (std::size_t i = c; i < pixels.size(); i += 3) {
      sum += pixels[i];
      largest = std::max(largest, pixels[i]);
    }
    EXPECT_NEAR(bench_.values(pooled[0])[c], sum / (17 * 18), 1e-12);
    EXPECT_EQ(bench_.values(pooled[1])[c], largest);
  }
}

TEST_F(GraphExecutor, ParametersThroughANode) {
  const Executor executor(branches(), parameters_);
  EXPECT_THAT(executor.parameters_through("left"),
              ::testing::ElementsAre("stem/weight", "stem_norm/beta", "stem_norm/running_mean",
                                     "stem_norm/running_var", "left/weight", "left/bias"));
}

TEST_F(GraphExecutor, Errors) {
  const Executor executor(branches(), parameters_);
  Context context = plain();
  const auto forward = [&](const Shape& shape, const std::string& name) {
    executor.forward(context, bench_.full(shape, 1, dtype_), Names{name});
  };
  EXPECT_EQ(message_of<ShapeError>([&] {
              forward({1, 6, 5, 3}, "dense");
            }),
            "the network's input x is [6, 5, 2] for each sample, but a batch [1, 6, 5, 3] came");
  EXPECT_THROW(forward({0, 6, 5, 2}, "dense"), ShapeError);
  EXPECT_THROW(forward({}, "dense"), ShapeError);
  EXPECT_THAT(message_of<JobError>([&] {
                forward({1, 6, 5, 2}, "middle");
              }),
              ::testing::HasSubstr("the network has no layer 'middle'"));
  EXPECT_EQ(message_of<ShapeError>([&] { executor.compute(context, {}, {}); }),
            "the network has 1 inputs but gets 0 tensors");
  const ParameterSet none;
  EXPECT_EQ(message_of<ShapeError>([&] { Executor(branches(), none); }),
            "the parameter stem/weight is missing");
  EXPECT_EQ(message_of<ShapeError>([&] { Executor({}, none); }), "the graph has no input");
  ParameterSet other;
  other.add("stem/weight", {3, 3, 3, 1}, {}, 1, 1);
  EXPECT_EQ(message_of<ShapeError>([&] { Executor(branches(), other); }),
            "the parameter stem/weight has shape [3, 3, 3, 1], [3, 3, 3, 2] needed");
}

TEST_F(GraphExecutor, WhatAnOpRefusesNamesItsNode) {
  Graph graph;
  const int x = graph.add("x", Input{{4, 4, 1}});
  graph.add("conv_a", same_conv(2, 3, true), {x});
  ParameterSet parameters;
  register_parameters(graph, parameters, {});
  parameters.allocate(bench_.device(), bench_.queue(), DType::kF32);
  const Executor executor(std::move(graph), parameters);
  Context context = plain();
  EXPECT_THAT(
      message_of<ShapeError>([&] {
        executor.forward(context, bench_.full({1, 4, 4, 1}, 1, DType::kF64), Names{"conv_a"});
      }),
      ::testing::EndsWith("(conv_a)"))
      << "the parameters are f32, the image is f64";
}

}  // namespace
}  // namespace gentrain::graph
