// Nodes that share parameters, and what is the same for every sample: constants and variables.
#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/core/graph_fixture.h"
#include "tests/support/compare.h"

namespace gentrain::graph {
namespace {

using test::message_of;
using Values = std::vector<double>;
using ::testing::ElementsAre;

/// Two convolutions behind each other, of the same parameters or of some that are called apart.
Graph twice(const std::string& first, const std::string& second) {
  Graph graph;
  const int x = graph.add("x", Input{{4, 3, 2}});
  Convolution node = conv(2, 3);
  node.padding.same = true;
  const int a = graph.add("a", node, {x}, first);
  const int tanh = graph.add("tanh", Activate{Activation::kTanh}, {a});
  graph.add("b", node, {tanh}, second);
  return graph;
}

TEST(GraphSharedParameters, TheGradientIsTheSumOverTheCalls) {
  GraphBench shared(twice("twin", "twin"));
  GraphBench apart(twice("a", "b"));
  EXPECT_EQ(shared.parameters().size(), 2);
  for (const char* name : {"weight", "bias"}) {
    const Values values =
        shared.bench().values(shared.parameters()[shared.index_of(fmt::format("twin/{}", name))]);
    apart.set(apart.index_of(fmt::format("a/{}", name)), values);
    apart.set(apart.index_of(fmt::format("b/{}", name)), values);
  }
  const std::vector<Tensor> x = {shared.random({2, 4, 3, 2})};
  EXPECT_EQ(shared.values(x), apart.values(x));
  const auto sum = shared.gradients(x);
  const auto parts = apart.gradients(x);
  for (const char* name : {"weight", "bias"}) {
    Values expected =
        apart.bench().values(parts.gradient(apart.index_of(fmt::format("a/{}", name))));
    const Values more =
        apart.bench().values(parts.gradient(apart.index_of(fmt::format("b/{}", name))));
    std::ranges::transform(expected, more, expected.begin(), std::plus<>());
    EXPECT_THAT(shared.bench().values(sum.gradient(shared.index_of(fmt::format("twin/{}", name)))),
                ::testing::Pointwise(::testing::DoubleNear(1e-10), expected))
        << name;
  }
  shared.expect_gradients(x);
  EXPECT_THAT(shared.executor().parameters_through("b"), ElementsAre("twin/weight", "twin/bias"));
}

/// Two inputs through one batch normalisation, beside each other.
Graph twin_norms() {
  Graph graph;
  const int a = graph.add("a", Input{{2}});
  const int b = graph.add("b", Input{{2}});
  const int left = graph.add("left", BatchNormalization{.beta = false}, {a}, "norm");
  const int right = graph.add("right", BatchNormalization{.beta = false}, {b}, "norm");
  graph.add("both", Concatenation{}, {left, right});
  return graph;
}

TEST(GraphSharedParameters, StatisticsAreTheMeanOfTheCalls) {
  const GraphBench bench(twin_norms(), {.batch_statistics = true});
  const auto store = bench.gradients(
      {bench.tensor({2, 2}, {1, 2, 3, 4}), bench.tensor({2, 2}, {5, 6, 9, 10})}, true);
  EXPECT_THAT(bench.bench().values(store.gradient(bench.index_of("norm/running_mean"))),
              ElementsAre((2 + 7) / 2.0, (3 + 8) / 2.0));
  EXPECT_THAT(bench.bench().values(store.gradient(bench.index_of("norm/running_var"))),
              ::testing::Pointwise(::testing::DoubleNear(1e-12), Values{5, 5}));
}

TEST(GraphSharedParameters, AreFoldedWhereverTheyStand) {
  Graph graph;
  const int x = graph.add("x", Input{{4, 3, 4}});
  Convolution node = conv(4, 3);
  node.padding.same = true;
  node.groups = 2;
  int y = x;
  for (const char* name : {"1", "2"}) {
    y = graph.add(std::string("conv") + name, node, {y}, "conv");
    y = graph.add(std::string("norm") + name, BatchNormalization{.beta = false}, {y}, "norm");
    y = graph.add(std::string("relu") + name, Activate{}, {y});
  }
  const GraphBench bench(std::move(graph));
  const std::vector<Tensor> inputs = {bench.random({2, 4, 3, 4})};
  const Values folded = bench.values(inputs);
  EXPECT_EQ(bench.executor().folds_made(), 2);
  // Parameters that are trained are not folded.
  test::GradientStore store(bench.bench(), bench.parameters());
  Tape tape(bench.bench().device(), bench.bench().queue());
  ParameterGradients* const sets[] = {&store};
  tape.begin(sets);
  Context recording = bench.context(&tape);
  EXPECT_THAT(bench.bench().values(bench.outputs(recording, inputs)[0]),
              ::testing::Pointwise(::testing::DoubleNear(1e-12), folded));
  EXPECT_EQ(bench.executor().folds_made(), 2);
}

TEST(GraphSharedParameters, NormsBehindOneConvolutionAreFoldedApart) {
  Graph graph;
  const int x = graph.add("x", Input{{4, 3, 2}});
  const int y = graph.add("conv", conv(2, 3), {x});
  const std::vector<int> a = {graph.add("a", BatchNormalization{.epsilon = 1e-3}, {y}, "norm")};
  const std::vector<int> b = {graph.add("b", BatchNormalization{.epsilon = 2}, {y}, "norm")};
  const GraphBench first(graph);
  const GraphBench second(graph);
  const std::vector<Tensor> inputs = {first.random({1, 4, 3, 2})};
  const auto values = [&](const GraphBench& bench, const std::vector<int>& wanted) {
    Context context = bench.context();
    return bench.bench().values(bench.executor().compute(context, inputs, wanted)[0]);
  };
  const Values of_a = values(first, a);
  const Values of_b = values(first, b);
  EXPECT_NE(of_a, of_b);
  EXPECT_EQ(values(second, b), of_b);
  EXPECT_EQ(values(second, a), of_a);
  EXPECT_EQ(first.executor().folds_made(), 2);
  EXPECT_EQ(values(first, b), of_b);
  EXPECT_EQ(first.executor().folds_made(), 2) << "made once while it is the same one";
}

/// x, [2, 3] for each sample, with a constant and a variable in various places.
Graph with_constants() {
  Graph graph;
  const int x = graph.add("x", Input{{2, 3}});
  const int row = graph.add("row", constant({3}, {10, 20, 30}));
  const int column = graph.add("column", Variable{{2, 1}});
  const int table = graph.add("table", Binary{}, {row, column});
  const int turned = graph.add("turned", Permute{{1, 0}}, {table});
  const int sum = graph.add("sum", Binary{}, {x, table});
  const int added = graph.add("added", Addition{}, {x, table});
  const int joined = graph.add("joined", Concatenation{.axis = 0}, {table, sum});
  graph.set_outputs({sum, turned, added, joined, row});
  return graph;
}

TEST(GraphConstants, AreRepeatedForEverySample) {
  GraphBench bench(with_constants());
  bench.set(bench.index_of("column/value"), {1, 2});
  const Tensor x = bench.tensor({2, 2, 3}, {0, 0, 0, 0, 0, 0, 100, 100, 100, 100, 100, 100});
  Context context = bench.context();
  const std::vector<Tensor> y = bench.outputs(context, {x});
  const auto values = [&](int i) { return bench.bench().values(y[static_cast<std::size_t>(i)]); };
  const Values sum = {11, 21, 31, 12, 22, 32, 111, 121, 131, 112, 122, 132};
  EXPECT_EQ(values(0), sum);
  EXPECT_EQ(y[1].shape(), Shape({2, 3, 2}));
  EXPECT_THAT(values(1), ElementsAre(11, 12, 21, 22, 31, 32, 11, 12, 21, 22, 31, 32));
  EXPECT_EQ(values(2), sum);
  EXPECT_THAT(values(3), ElementsAre(11, 21, 31, 12, 22, 32, 11, 21, 31, 12, 22, 32,  //
                                     11, 21, 31, 12, 22, 32, 111, 121, 131, 112, 122, 132));
  EXPECT_THAT(values(4), ElementsAre(10, 20, 30, 10, 20, 30));
}

TEST(GraphConstants, VariablesHaveTheSumOverTheSamplesAsGradient) {
  Graph graph = with_constants();
  for (const char* output : {"sum", "turned", "added", "joined"}) {
    graph.set_outputs({graph.index_of(output)});
    GraphBench bench(graph);
    const std::vector<Tensor> x = {bench.random({2, 2, 3})};
    if (std::string(output) != "turned") {
      bench.expect_gradients(x);
    }
    EXPECT_EQ(bench.gradients(x).completed().size(), 1) << output;
  }
}

TEST(GraphConstants, AreOneNumberToo) {
  Graph graph;
  const int x = graph.add("x", Input{{3}});
  graph.add("y", Binary{BinaryFunction::kDivide}, {graph.add("one", constant({}, {1})), x});
  GraphBench bench(std::move(graph));
  EXPECT_THAT(bench.values({bench.tensor({2, 3}, {1, 2, 4, -1, -2, -4})}),
              ElementsAre(1, 0.5, 0.25, -1, -0.5, -0.25));
}

TEST(GraphConstants, AreMadeOnceForAllThreads) {
  Graph graph;
  const int x = graph.add("x", Input{{3}});
  const int c = graph.add("c", constant({3}, {1, 2, 3}));
  graph.set_outputs({graph.add("sum", Binary{}, {x, c}), c});
  const GraphBench bench(std::move(graph));
  const Tensor given = bench.tensor({1, 3}, {10, 20, 30});
  std::vector<Values> sums(4);
  std::vector<Tensor> constants(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    threads.emplace_back([&, i] {
      const test::Workbench own(bench.bench().device());
      Context context{own.device(), own.queue(), nullptr, false, {}};
      const std::vector<Tensor> y = bench.outputs(context, {given});
      sums[i] = own.values(y[0]);
      constants[i] = y[1];
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (std::size_t i = 0; i < sums.size(); ++i) {
    EXPECT_THAT(sums[i], ElementsAre(11, 22, 33));
    EXPECT_EQ(constants[i].data(), constants[0].data()) << "one tensor for all";
  }
}

TEST(GraphConstants, TakeOneShardAtATime) {
  const GraphBench bench(with_constants());
  Context context = bench.context();
  const SideBySide shards{{1, 1}, {RngKey(1), RngKey(2)}};
  context.shards = &shards;
  EXPECT_THAT(message_of<Error>([&] {
                static_cast<void>(bench.outputs(context, {bench.random({2, 2, 3})}));
              }),
              ::testing::HasSubstr("a constant of a graph: 2 shards stand side by side"));
  const std::vector<int> column = {bench.executor().graph().index_of("column")};
  const std::vector<Tensor> x = {bench.random({2, 2, 3})};
  EXPECT_THAT(
      message_of<Error>([&] { static_cast<void>(bench.executor().compute(context, x, column)); }),
      ::testing::HasSubstr("a variable of a graph: 2 shards stand side by side"));
}

TEST(GraphConstants, DropoutDrawsForEverySample) {
  Graph graph;
  graph.add("x", Input{{1}});
  const int ones = graph.add("ones", constant({64}, std::vector<float>(64, 1)));
  graph.add("drop", Dropout{.rate = 0.5}, {ones});
  const GraphBench bench(std::move(graph));
  Context context = bench.context(nullptr, true);
  const Values y = bench.bench().values(bench.outputs(context, {bench.random({2, 1})})[0]);
  ASSERT_EQ(y.size(), 128);
  EXPECT_FALSE(std::equal(y.begin(), y.begin() + 64, y.begin() + 64));
}

/// f32 on the CPU, in bf16: constants, variables and softmaxes beside samples.
TEST(GraphBf16, MixesConstantsAndSoftmaxes) {
  Graph graph;
  const int x = graph.add("x", Input{{2, 3}});
  const int row = graph.add("row", constant({3}, {0.5, 0.25, 2}));
  const int column = graph.add("column", Variable{{2, 1}});
  const int weighted = graph.add("weighted", Binary{BinaryFunction::kMultiply}, {x, row});
  const int prelu = graph.add("prelu", Prelu{{2, 1}}, {weighted});
  const int softmax = graph.add("softmax", Softmax{}, {prelu});
  const int sum = graph.add("sum", Binary{}, {softmax, column});
  const int joined = graph.add("joined", Concatenation{.axis = 0}, {sum, softmax, x});
  graph.set_outputs({joined, softmax});
  const test::Workbench bench(test::cpu_device());
  ParameterSet parameters;
  register_parameters(graph, parameters, {});
  parameters.allocate(bench.device(), bench.queue());
  parameters.initialize(bench.device(), bench.queue(), RngKey(1));
  const Executor executor(graph, parameters);
  const std::vector<Tensor> inputs = {bench.random({2, 2, 3}, RngKey(3), DType::kF32)};
  Context context{bench.device(), bench.queue(), nullptr, false, {}};
  const std::vector<int> wanted = graph.outputs();
  const std::vector<Tensor> expected = executor.compute(context, inputs, wanted);
  context.bf16 = true;
  const std::vector<Tensor> actual = executor.compute(context, inputs, wanted);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].dtype(), DType::kF32);
    EXPECT_TRUE(
        test::within(0.02, actual[i].shape(), bench.values(actual[i]), bench.values(expected[i])));
  }
  double sum_of_row = 0;
  for (int i = 0; i < 3; ++i) {
    sum_of_row += bench.values(actual[1])[static_cast<std::size_t>(i)];
  }
  EXPECT_NEAR(sum_of_row, 1, 1e-6) << "probabilities that are wanted are not rounded";
}

/// On the CPU: gradients of all parameters, set to `value`, of the sum of squares of the output.
std::vector<Values> gradients_on_cpu(const Graph& graph, float value, bool bf16, const Shape& shape,
                                     const Values& x) {
  const test::Workbench bench(test::cpu_device());
  ParameterSet parameters;
  register_parameters(graph, parameters, {});
  parameters.allocate(bench.device(), bench.queue());
  for (int i = 0; i < parameters.size(); ++i) {
    const std::vector<float> values(static_cast<std::size_t>(parameters.info(i).shape.elements()),
                                    value);
    copy_from_host<float>(bench.device(), bench.queue(), values, parameters[i]);
  }
  parameters.mark_changed();
  const Executor executor(graph, parameters);
  test::GradientStore store(bench, parameters);
  Tape tape(bench.device(), bench.queue());
  ParameterGradients* const sets[] = {&store};
  tape.begin(sets);
  Context context{bench.device(), bench.queue(), &tape, false, {}};
  context.bf16 = bf16;
  const std::vector<Tensor> inputs = {bench.tensor(shape, x, DType::kF32)};
  const Tensor y = executor.compute(context, inputs, graph.outputs())[0];
  tape.backward(ops::squared_error(context, y, 0.0, 0.5).loss);
  std::vector<Values> gradients;
  for (int i = 0; i < parameters.size(); ++i) {
    gradients.push_back(bench.values(store.gradient(i)));
  }
  return gradients;
}

/// Each term has few digits, their sum more than bf16 has.
TEST(GraphBf16, GradientsOfWhatSamplesShareAreNotRounded) {
  const double sum = 1 + std::ldexp(1, -8);
  const Values terms = {1, std::ldexp(1, -8)};
  Graph one;
  const int image = one.add("x", Input{{1}});
  one.add("sum", Binary{}, {image, one.add("a", Variable{{1}})});
  for (const bool bf16 : {false, true}) {
    EXPECT_THAT(gradients_on_cpu(one, 0, bf16, {2, 1}, terms), ElementsAre(ElementsAre(sum)));
  }
  Graph prelu;
  prelu.add("y", Prelu{{1, 1}}, {prelu.add("x", Input{{1, 2}})});
  for (const bool bf16 : {false, true}) {
    EXPECT_THAT(gradients_on_cpu(prelu, 1, bf16, {1, 1, 2}, {-1, -std::ldexp(1, -4)}),
                ElementsAre(ElementsAre(sum)));
  }
}

/// The sum of 257 ones is 256 in bf16.
TEST(GraphBf16, MeansOverManyPixelsAreRoundedOnce) {
  Graph graph;
  graph.add("mean", GlobalPooling{}, {graph.add("x", Input{{257, 257, 1}})});
  const ParameterSet none;
  const Executor executor(std::move(graph), none);
  const test::Workbench bench(test::cpu_device());
  Context context{bench.device(), bench.queue(), nullptr, false, {}};
  context.bf16 = true;
  const std::vector<Tensor> ones = {bench.full({1, 257, 257, 1}, 1, DType::kF32)};
  const std::vector<int> wanted = executor.graph().outputs();
  EXPECT_THAT(bench.values(executor.compute(context, ones, wanted)[0]), ElementsAre(1));
}

}  // namespace
}  // namespace gentrain::graph
