// What each kind of node computes, against values worked out by hand, and its gradients.
#include <cmath>

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
using ::testing::ElementsAreArray;

/// A graph of one input and one node behind it.
Graph single(const Shape& sample, const NodeKind& kind) {
  Graph graph;
  const int x = graph.add("x", Input{sample});
  graph.add("y", kind, {x});
  return graph;
}

/// What a node without parameters makes of `values`, two samples or more.
Values of_node(const NodeKind& kind, const Shape& sample, const Values& values) {
  const GraphBench bench(single(sample, kind));
  std::vector<std::int64_t> extents{static_cast<std::int64_t>(values.size()) / sample.elements()};
  extents.insert(extents.end(), sample.extents().begin(), sample.extents().end());
  return bench.values({bench.tensor(Shape(extents), values)});
}

/// 1, 2, ...
Values counted(int count) {
  Values values;
  for (int i = 1; i <= count; ++i) {
    values.push_back(i);
  }
  return values;
}

/// Three positions to three: the sum of the first two, nothing, and the last one twice.
ops::AxisRows filled_rows() {
  ops::AxisRows rows;
  rows.from = 3;
  rows.begins = {0, 2, 2, 3};
  rows.sources = {0, 1, 2};
  rows.weights = {1, 1, 2};
  rows.fill = -1;
  return rows;
}

TransposedConvolution transposed(std::int64_t out, std::int64_t to) {
  TransposedConvolution node;
  node.out = out;
  node.kernel_h = node.kernel_w = 2;
  node.stride = {2, 2};
  node.to_h = node.to_w = to;
  return node;
}

TEST(GraphKinds, MoveElements) {
  EXPECT_THAT(of_node(Permute{{1, 0}}, {2, 3}, counted(12)),
              ElementsAre(1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12));
  EXPECT_THAT(of_node(Reshape{{3, 2}}, {2, 3}, counted(12)), ElementsAreArray(counted(12)));
  EXPECT_THAT(of_node(Flatten{}, {2, 3}, counted(12)), ElementsAreArray(counted(12)));
  EXPECT_THAT(of_node(axis_map(1, filled_rows()), {2, 3}, counted(12)),
              ElementsAre(3, -1, 6, 9, -1, 12, 15, -1, 18, 21, -1, 24));
  EXPECT_THAT(of_node(Identity{}, {2, 3}, counted(12)), ElementsAreArray(counted(12)));
}

TEST(GraphKinds, TheIdentityIsAName) {
  const GraphBench bench(single({2}, Identity{}));
  const Tensor x = bench.random({3, 2});
  Context context = bench.context();
  EXPECT_EQ(bench.outputs(context, {x})[0].data(), x.data());
}

TEST(GraphKinds, TheLargestAlongAxes) {
  EXPECT_THAT(of_node(LargestAlong{{0}}, {2, 3}, counted(12)), ElementsAre(4, 5, 6, 10, 11, 12));
  EXPECT_THAT(of_node(LargestAlong{{1, 0}}, {2, 3}, counted(12)), ElementsAre(6, 12));
  EXPECT_THAT(of_node(LargestAlong{{}}, {2, 3}, counted(12)), ElementsAreArray(counted(12)));
  Values many(1400, -5);
  many[613] = -1;
  many[1399] = -2;
  EXPECT_THAT(of_node(LargestAlong{{0}}, {700}, many), ElementsAre(-1, -2))
      << "windows of 255, the last one cut";
  many[300] = std::nan("");
  EXPECT_TRUE(std::isnan(of_node(LargestAlong{{0}}, {700}, many)[0]));
}

TEST(GraphKinds, StandSideBySideAlongAnyAxis) {
  const auto joined = [](int axis) {
    Graph graph;
    const int x = graph.add("x", Input{{2, 3}});
    graph.add("y", Concatenation{.axis = axis}, {x, x});
    const GraphBench bench(std::move(graph));
    return bench.values({bench.tensor({2, 2, 3}, counted(12))});
  };
  EXPECT_THAT(joined(0), ElementsAre(1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 7, 8,
                                     9, 10, 11, 12));
  EXPECT_THAT(joined(1), ElementsAre(1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9, 7, 8, 9, 10, 11,
                                     12, 10, 11, 12));
  EXPECT_EQ(joined(-1), joined(1));
}

TEST(GraphKinds, SoftmaxAlongAnyAxis) {
  const Values x = {0, std::log(3.0), 0, std::log(7.0)};
  const auto near = [](const Values& values) {
    return ::testing::Pointwise(::testing::DoubleNear(1e-12), values);
  };
  EXPECT_THAT(of_node(Softmax{}, {2, 2}, x), near({0.25, 0.75, 0.125, 0.875}));
  EXPECT_THAT(of_node(Softmax{.axis = 0}, {2, 2}, x), near({0.5, 0.3, 0.5, 0.7}));
  EXPECT_THAT(of_node(Softmax{.axis = 0, .log = true}, {2, 2}, x),
              near({std::log(0.5), std::log(0.3), std::log(0.5), std::log(0.7)}));
}

TEST(GraphKinds, PoolWindowsOfAnySize) {
  const Values pixels = test::random_values(2 * 20 * 300, RngKey(4));
  const auto window = [&](std::int64_t row, std::int64_t column, PoolingKind kind) {
    double sum = 0;
    double largest = -2;
    std::int64_t count = 0;
    for (std::int64_t h = std::max<std::int64_t>(row, 0); h < std::min<std::int64_t>(row + 16, 20);
         ++h) {
      for (std::int64_t w = std::max<std::int64_t>(column, 0); w < column + 17; ++w) {
        const double pixel = pixels[static_cast<std::size_t>(h * 300 + w)];
        sum += pixel;
        largest = std::max(largest, pixel);
        ++count;
      }
    }
    return kind == PoolingKind::kMax ? largest : sum / static_cast<double>(count);
  };
  for (const PoolingKind kind : {PoolingKind::kMax, PoolingKind::kAverage}) {
    Pooling node{.pooling = kind, .window = {16, 17}, .stride = {8, 20}, .padding = {}};
    node.padding.explicit_padding = {3, 2, 1, 0};
    const Values y = of_node(node, {20, 300, 1}, pixels);
    ASSERT_EQ(y.size(), 2 * 2 * 15);
    EXPECT_NEAR(y[0], window(-3, -1, kind), 1e-12);
    EXPECT_NEAR(y[14], window(-3, 279, kind), 1e-12);
    EXPECT_NEAR(y[16], window(5, 19, kind), 1e-12);
    Values all = {0, 0};
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      double& of = all[i / 6000];
      of = kind == PoolingKind::kMax ? std::max(of, pixels[i]) : of + pixels[i] / 6000;
    }
    EXPECT_THAT(of_node(GlobalPooling{kind}, {20, 300, 1}, pixels),
                ::testing::Pointwise(::testing::DoubleNear(1e-12), all))
        << "more than 255 columns";
  }
}

TEST(GraphKinds, DenseLayersOverSeveralAxes) {
  GraphBench bench(single({2, 3}, Dense{.out = 2, .activation = Activation::kRelu}));
  bench.set(bench.index_of("y/weight"), {1, 0, 0, 0, 0, -1});
  bench.set(bench.index_of("y/bias"), {10, 6});
  EXPECT_THAT(bench.values({bench.tensor({2, 2, 3}, counted(12))}),
              ElementsAre(11, 3, 14, 0, 17, 0, 20, 0));
}

TEST(GraphKinds, TransposedConvolutions) {
  TransposedConvolution node = transposed(1, 4);
  GraphBench bench(single({2, 2, 1}, node));
  bench.set(bench.index_of("y/weight"), {1, 2, 3, 4});
  bench.set(bench.index_of("y/bias"), {0.5});
  EXPECT_THAT(bench.values({bench.tensor({1, 2, 2, 1}, {1, 0, 0, 10})}),
              ElementsAre(1.5, 2.5, 0.5, 0.5, 3.5, 4.5, 0.5, 0.5, 0.5, 0.5, 10.5, 20.5, 0.5, 0.5,
                          30.5, 40.5));
}

TEST(GraphKinds, GroupsAndDilation) {
  Convolution node = conv(2, 2);
  node.groups = 2;
  node.dilation = {1, 2};
  GraphBench bench(single({2, 3, 2}, node));
  bench.set(bench.index_of("y/weight"), {1, 10, 100, 1000, 1, 1, 1, 1});
  bench.set(bench.index_of("y/bias"), {0, 0.5});
  // Channel 0 is 1 3 5 / 7 9 11, channel 1 is 2 4 6 / 8 10 12; the middle column is not seen.
  EXPECT_THAT(bench.values({bench.tensor({1, 2, 3, 2}, counted(12))}),
              ElementsAre(1 + 50 + 700 + 11000, 2 + 6 + 8 + 12 + 0.5));
}

TEST(GraphKinds, PreluWithSharedSlopes) {
  GraphBench rows(single({2, 3}, Prelu{{2, 1}}));
  rows.set(rows.index_of("y/alpha"), {0.5, 2});
  const Values x = {-2, 0, 4, -2, 1, -4};
  EXPECT_THAT(rows.values({rows.tensor({1, 2, 3}, x)}), ElementsAre(-1, 0, 4, -4, 1, -8));
  GraphBench channels(single({2, 3}, Prelu{{1, 3}}));
  channels.set(channels.index_of("y/alpha"), {0.5, 2, 3});
  EXPECT_THAT(channels.values({channels.tensor({1, 2, 3}, x)}), ElementsAre(-1, 0, 4, -1, 1, -12));
}

TEST(GraphKinds, PreluHasTheSlopeBelowAtZeroWhateverShares) {
  for (const Shape& alpha : {Shape{1, 2}, Shape{1, 1}}) {
    GraphBench bench(single({2, 2}, Prelu{alpha}));
    bench.set(bench.index_of("y/alpha"), Values(static_cast<std::size_t>(alpha.elements()), 3));
    Tensor x = bench.tensor({1, 2, 2}, {0, -1, 1, 0});
    Tape tape(bench.bench().device(), bench.bench().queue());
    tape.begin({});
    tape.watch(x);
    Context context = bench.context(&tape);
    const Tensor y = bench.outputs(context, {x})[0];
    tape.backward(ops::squared_error(context, y, -1.0, 0.5).loss);
    EXPECT_THAT(bench.bench().values(tape.gradient(x)), ElementsAre(3, -6, 2, 3)) << alpha.str();
  }
}

TEST(GraphKinds, BatchNormalizationOfAnyRankWithoutBeta) {
  GraphBench bench(single({2, 2}, BatchNormalization{.epsilon = 1, .gamma = false, .beta = false}));
  bench.set(bench.index_of("y/running_mean"), {1, 2});
  bench.set(bench.index_of("y/running_var"), {3, 0});
  EXPECT_THAT(bench.values({bench.tensor({1, 2, 2}, {1, 2, 3, 4})}), ElementsAre(0, 0, 1, 2));
}

TEST(GraphKinds, PointwiseFunctions) {
  EXPECT_THAT(
      of_node(Pointwise{{.function = PointwiseFunction::kAffine, .a = 2, .b = 1}}, {3}, {0, 1, -1}),
      ElementsAre(1, 3, -1));
}

struct Case {
  const char* name;
  Shape sample;
  NodeKind kind;
};

class GraphGradients : public ::testing::TestWithParam<Case> {};

TEST_P(GraphGradients, AgreeWithDifferences) {
  const Shape& sample = GetParam().sample;
  GraphBench bench(single(sample, GetParam().kind));
  std::vector<std::int64_t> extents{2};
  extents.insert(extents.end(), sample.extents().begin(), sample.extents().end());
  bench.expect_gradients({bench.random(Shape(extents))});
}

Convolution grouped() {
  Convolution node = conv(4, 2);
  node.groups = 2;
  node.dilation = {2, 1};
  node.padding.same = true;
  return node;
}

TransposedConvolution grouped_transposed() {
  TransposedConvolution node = transposed(2, 5);
  node.groups = 2;
  node.padding = {0, 0, 1, 0};
  return node;
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, GraphGradients,
    ::testing::Values(
        Case{"grouped", {4, 3, 4}, grouped()}, Case{"transposed", {2, 3, 4}, grouped_transposed()},
        Case{"norm", {2, 3, 2, 2}, BatchNormalization{}},
        Case{"norm_without_beta", {3}, BatchNormalization{.beta = false}},
        Case{"leaky", {5}, Activate{.activation = Activation::kRelu, .slope = 0.25}},
        Case{"pointwise", {5}, Pointwise{{.function = PointwiseFunction::kMish}}},
        Case{"prelu_rows", {3, 4}, Prelu{{3, 1}}}, Case{"prelu_channels", {3, 4}, Prelu{{1, 4}}},
        Case{"pooling", {17, 18, 1}, Pooling{.window = {16, 17}, .stride = {1, 1}, .padding = {}}},
        Case{"global_average", {2, 260, 1}, GlobalPooling{}},
        Case{"global_max", {2, 260, 1}, GlobalPooling{PoolingKind::kMax}},
        Case{"dense", {2, 2, 3}, Dense{.out = 4, .activation = Activation::kTanh}},
        Case{"flatten", {2, 3}, Flatten{}}, Case{"reshape", {2, 3}, Reshape{{3, 1, 2}}},
        Case{"permute", {2, 3, 4}, Permute{{1, 2, 0}}},
        Case{"axis_map", {2, 3, 2}, axis_map(1, filled_rows())},
        Case{"largest", {3, 4}, LargestAlong{{0}}},
        Case{"largest_of_all", {3, 4}, LargestAlong{{0, 1}}}, Case{"softmax", {2, 4}, Softmax{}},
        Case{"softmax_rows", {3, 2}, Softmax{.axis = 0}},
        Case{"log_softmax", {2, 4}, Softmax{.log = true}}, Case{"identity", {3}, Identity{}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(GraphGradientsOfSeveralInputs, AgreeWithDifferences) {
  Graph graph;
  const int a = graph.add("a", Input{{2, 3}});
  const int b = graph.add("b", Input{{3}});
  const int c = graph.add("c", Input{{2, 1}});
  const int product = graph.add("product", Binary{BinaryFunction::kMultiply}, {a, b});
  const int difference = graph.add("difference", Binary{BinaryFunction::kSubtract}, {c, b});
  const int joined = graph.add("joined", Concatenation{.axis = 0}, {product, difference});
  const int largest = graph.add("largest", Binary{BinaryFunction::kMaximum}, {joined, b});
  graph.add("sum", Addition{}, {largest, joined, joined});
  GraphBench bench(std::move(graph));
  bench.expect_gradients(
      {bench.random({2, 2, 3}, 1), bench.random({2, 3}, 2), bench.random({2, 2, 1}, 3)});
}

TEST(GraphKindErrors, SamplesOfSeveralInputs) {
  Graph graph;
  const int a = graph.add("a", Input{{2}});
  graph.add("sum", Addition{}, {a, graph.add("b", Input{{2}})});
  const GraphBench bench(std::move(graph));
  EXPECT_EQ(message_of<ShapeError>([&] {
              static_cast<void>(bench.values({bench.random({2, 2}), bench.random({1, 2})}));
            }),
            "the network's input b has 1 samples, but a has 2");
}

TEST(GraphKindErrors, DenseLayersOverSeveralAxesTakeOneShard) {
  const GraphBench bench(single({2, 3}, Dense{.out = 2}));
  Context context = bench.context();
  const SideBySide shards{{1, 1}, {RngKey(1), RngKey(2)}};
  context.shards = &shards;
  EXPECT_THAT(message_of<Error>([&] {
                static_cast<void>(bench.outputs(context, {bench.random({2, 2, 3})}));
              }),
              ::testing::HasSubstr("a dense layer over several axes"));
}

}  // namespace
}  // namespace gentrain::graph
