// Shape rules of the kinds that networks out of files bring along, what they refuse, and sharing.
#include <limits>
#include <memory>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/graph/graph.h"
#include "core/graph/node_parameters.h"
#include "core/graph/plan.h"
#include "core/graph/shapes.h"
#include "core/nn/layers.h"
#include "kernels/error.h"
#include "tests/core/graph_fixture.h"
#include "tests/support/compare.h"

namespace gentrain::graph {
namespace {

using test::message_of;
using ::testing::ElementsAre;

/// Three positions to two: the sum of the first two, and the last one twice.
ops::AxisRows two_rows() {
  ops::AxisRows rows;
  rows.from = 3;
  rows.begins = {0, 2, 3};
  rows.sources = {0, 1, 2};
  rows.weights = {1, 1, 2};
  return rows;
}

/// [9, 8, 6] to images of 4 outputs with 3 x 2 kernels.
TransposedConvolution transposed_to(std::int64_t to_h, std::int64_t to_w) {
  TransposedConvolution node;
  node.out = 4;
  node.kernel_h = 3;
  node.kernel_w = 2;
  node.stride = {2, 1};
  node.to_h = to_h;
  node.to_w = to_w;
  return node;
}

TEST(GraphShapesOfKinds, GroupsAndDilation) {
  Convolution node = conv(6, 3);
  node.groups = 3;
  node.dilation = {2, 3};
  EXPECT_EQ(shape_of(node, {{9, 9, 12}}), Shape({5, 3, 6}));
  EXPECT_EQ(products_of(node, {9, 9, 12}, {5, 3, 6}), 5 * 3 * 6 * 3 * 3 * 4);
  node.padding.same = true;
  node.stride = {2, 2};
  EXPECT_EQ(shape_of(node, {{9, 9, 12}}), Shape({5, 5, 6})) << "same: what the kernel covers";
  EXPECT_EQ(error_of(node, {{9, 9, 10}}),
            "its 3 groups do not divide the 10 channels of its input and its 6 outputs");
  node.groups = 4;
  EXPECT_EQ(error_of(node, {{9, 9, 12}}),
            "its 4 groups do not divide the 12 channels of its input and its 6 outputs");
  node.groups = 0;
  EXPECT_THAT(error_of(node, {{9, 9, 12}}), ::testing::StartsWith("its 0 groups"));
  node = conv(1, 4);
  node.dilation = {3, 1};
  EXPECT_EQ(error_of(node, {{9, 9, 1}}),
            "its kernel of 10 x 4 does not fit into [9, 9, 1] with padding [0, 0, 0, 0]");
  node.dilation = {0, 1};
  EXPECT_THAT(error_of(node, {{9, 9, 1}}), ::testing::HasSubstr("dilation 0 x 1"));
}

TEST(GraphShapesOfKinds, TransposedConvolutions) {
  EXPECT_EQ(shape_of(transposed_to(19, 9), {{9, 8, 6}}), Shape({19, 9, 4}));
  EXPECT_EQ(shape_of(transposed_to(20, 9), {{9, 8, 6}}), Shape({20, 9, 4}))
      << "the stride leaves two";
  EXPECT_EQ(products_of(transposed_to(19, 9), {9, 8, 6}, {19, 9, 4}), 9 * 8 * 6 * 3 * 2 * 4);
  EXPECT_EQ(error_of(transposed_to(21, 9), {{9, 8, 6}}),
            "a convolution of its result of 21 x 9 pixels gives 10 x 8 pixels, but its input is "
            "[9, 8, 6]");
  EXPECT_EQ(error_of(transposed_to(0, 9), {{9, 8, 6}}),
            "its result has 0 x 9 pixels, at least 1 x 1 are needed");
  TransposedConvolution node = transposed_to(19, 9);
  node.groups = 4;
  EXPECT_EQ(error_of(node, {{9, 8, 6}}),
            "its 4 groups do not divide the 6 channels of its input and its 4 outputs");
  node.groups = 1;
  node.padding.top = -1;
  EXPECT_THAT(error_of(node, {{9, 8, 6}}), ::testing::HasSubstr("padding [-1, 0, 0, 0]"));
}

TEST(GraphShapesOfKinds, ConstantsVariablesAndInputs) {
  EXPECT_EQ(shape_of(Input{{2, 3, 4, 5}}, {}), Shape({2, 3, 4, 5}));
  EXPECT_EQ(shape_of(constant({}, {1}), {}), Shape());
  EXPECT_EQ(shape_of(Variable{{3, 1}}, {}), Shape({3, 1}));
  EXPECT_EQ(error_of(Input{{}}, {}), "its shape is []: 1 to 4 extents of at least 1 are needed");
  EXPECT_EQ(error_of(Variable{{1, 1, 1, 1, 1}}, {}),
            "its shape is [1, 1, 1, 1, 1]: 0 to 4 extents of at least 1 are needed");
  EXPECT_EQ(error_of(Variable{{std::int64_t{1} << 40}}, {}),
            "1099511627776 values are too many, at most 1e+11 are supported");
  EXPECT_EQ(error_of(constant({2}, {1}), {}),
            "its shape [2] has 2 elements but there are 1 values");
  EXPECT_EQ(error_of(Constant{{2}, nullptr}, {}),
            "its shape [2] has 2 elements but there are 0 values");
  EXPECT_EQ(error_of(constant({}, {1}), {{1}}), "a constant has no inputs but there are 1");
  EXPECT_EQ(error_of(Variable{}, {{1}}), "a variable has no inputs but there are 1");
}

TEST(GraphShapesOfKinds, FunctionsOfElements) {
  EXPECT_EQ(shape_of(Pointwise{}, {{2, 3}}), Shape({2, 3}));
  EXPECT_EQ(shape_of(Identity{}, {{2, 3}}), Shape({2, 3}));
  PointwiseRule rule;
  rule.a = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(error_of(Pointwise{rule}, {{2}}), "affine: a is nan: a finite f32 needed");
  EXPECT_EQ(shape_of(Prelu{{1, 3}}, {{2, 3}}), Shape({2, 3}));
  EXPECT_EQ(error_of(Prelu{{3}}, {{2, 3}}),
            "its alpha [3] does not fit its input [2, 3]: as many extents are needed, each the "
            "input's or 1");
  EXPECT_THAT(error_of(Prelu{{2, 2}}, {{2, 3}}), ::testing::StartsWith("its alpha [2, 2]"));
  EXPECT_EQ(error_of(Prelu{}, {{}}), "a sample with at least one axis is needed but it gets []");
  for (const double slope : {1e39, std::numeric_limits<double>::infinity()}) {
    EXPECT_THAT(error_of(Activate{Activation::kRelu, slope}, {{2}}),
                ::testing::HasSubstr("at least 0 and finite as f32 needed, and 0 but of relu"));
    EXPECT_THAT(error_of(BatchNormalization{.epsilon = slope}, {{2}}),
                ::testing::HasSubstr("above 0 and finite as f32"));
  }
}

TEST(GraphShapesOfKinds, TwoInputsAreAlignedAtTheirLastAxes) {
  EXPECT_EQ(shape_of(Binary{}, {{4, 3, 2}, {2}}), Shape({4, 3, 2}));
  EXPECT_EQ(shape_of(Binary{}, {{}, {4, 3}}), Shape({4, 3}));
  EXPECT_EQ(shape_of(Binary{}, {{4, 1}, {2, 1, 3}}), Shape({2, 4, 3}));
  EXPECT_EQ(error_of(Binary{}, {{4, 3}, {4}}),
            "its inputs [4, 3], [4] do not fit: aligned at their last axes, extents must be equal "
            "or 1");
  EXPECT_EQ(error_of(Binary{}, {{4}}), "two inputs are needed but there are 1");
  EXPECT_EQ(error_of(Binary{}, {{1000000, 1}, {1000000}}),
            "1000000 x 1000000 values are too many, at most 1e+11 are supported");
}

TEST(GraphShapesOfKinds, MovedElements) {
  EXPECT_EQ(shape_of(Reshape{{6, 4}}, {{2, 3, 4}}), Shape({6, 4}));
  EXPECT_EQ(shape_of(Reshape{{}}, {{1}}), Shape());
  EXPECT_EQ(error_of(Reshape{{5}}, {{2, 3}}),
            "it makes [5] of [2, 3]: at most 5 extents and as many elements are needed");
  EXPECT_THAT(error_of(Reshape{{6, 1, 1, 1, 1, 1}}, {{2, 3}}),
              ::testing::StartsWith("it makes [6, 1, 1, 1, 1, 1] of [2, 3]"));
  EXPECT_EQ(shape_of(Permute{{2, 0, 1}}, {{2, 3, 4}}), Shape({4, 2, 3}));
  EXPECT_EQ(error_of(Permute{{0, 0}}, {{2, 3}}),
            "its axes are [0, 0]: different ones of the 2 axes of [2, 3] needed");
  EXPECT_EQ(error_of(Permute{{0}}, {{2, 3}}), "it has 1 axes but [2, 3] has 2");
  EXPECT_EQ(shape_of(LargestAlong{{0, 2}}, {{2, 3, 4}}), Shape({1, 3, 1}));
  EXPECT_EQ(error_of(LargestAlong{{2}}, {{2, 3}}),
            "its axes are [2]: different ones of the 2 axes of [2, 3] needed");
  EXPECT_EQ(shape_of(Concatenation{.axis = 0}, {{2, 3}, {4, 3}}), Shape({6, 3}));
  EXPECT_EQ(error_of(Concatenation{.axis = 0}, {{2, 3}, {4, 2}}),
            "its inputs [2, 3], [4, 2] must be equal but for axis 0");
  EXPECT_EQ(error_of(Concatenation{}, {{}, {}}), "axis -1 is none of the 0 axes of []");
  EXPECT_EQ(shape_of(Dense{.out = 5}, {{2, 3, 4}}), Shape({2, 3, 5}));
  EXPECT_EQ(products_of(Dense{.out = 5}, {2, 3, 4}, {2, 3, 5}), 2 * 3 * 4 * 5);
  EXPECT_EQ(shape_of(Softmax{.axis = 0}, {{2, 3}}), Shape({2, 3}));
}

TEST(GraphShapesOfKinds, MapsOfAxes) {
  EXPECT_EQ(shape_of(axis_map(1, two_rows()), {{5, 3, 2}}), Shape({5, 2, 2}));
  EXPECT_EQ(error_of(axis_map(0, two_rows()), {{5, 3, 2}}),
            "it maps 3 positions but axis 0 of [5, 3, 2] has 5");
  EXPECT_EQ(error_of(axis_map(3, two_rows()), {{5, 3, 2}}),
            "axis 3 is none of the 3 axes of [5, 3, 2]");
  EXPECT_EQ(error_of(AxisMap{}, {{5}}), "it has no rows");
  const auto broken = [](const auto& change) {
    ops::AxisRows rows = two_rows();
    change(rows);
    return error_of(axis_map(0, std::move(rows)), {{3}});
  };
  const std::string apart = " begins of rows, 3 sources and 3 weights do not fit together";
  EXPECT_EQ(broken([](ops::AxisRows& rows) { rows.begins = {0}; }), "its 1" + apart);
  EXPECT_EQ(broken([](ops::AxisRows& rows) { rows.begins = {1, 2, 3}; }), "its 3" + apart);
  EXPECT_EQ(broken([](ops::AxisRows& rows) { rows.begins = {0, 4, 3}; }), "its 3" + apart);
  EXPECT_EQ(broken([](ops::AxisRows& rows) { rows.begins = {0, 2, 2}; }), "its 3" + apart);
  EXPECT_EQ(broken([](ops::AxisRows& rows) { rows.weights.pop_back(); }),
            "its 3 begins of rows, 3 sources and 2 weights do not fit together");
  EXPECT_EQ(broken([](ops::AxisRows& rows) { rows.sources[1] = 3; }),
            "its source 3 is none of the 3 positions before");
  EXPECT_EQ(broken([](ops::AxisRows& rows) { rows.sources[1] = -1; }),
            "its source -1 is none of the 3 positions before");
}

TEST(GraphSharing, TheFirstOfTheNodesRegisters) {
  Graph graph;
  const int x = graph.add("x", Input{{8, 8, 2}});
  const int a = graph.add("a", conv(2, 3), {x}, "twin");
  const int relu = graph.add("relu", Activate{}, {a}, "twin");
  const int b = graph.add("b", conv(2, 3), {relu}, "twin");
  EXPECT_EQ(graph.node(x).parameters, "x");
  EXPECT_EQ(graph.node(b).parameters, "twin");
  EXPECT_TRUE(graph.registers(a));
  EXPECT_FALSE(graph.registers(b));
  EXPECT_FALSE(graph.registers(relu)) << "it has none, whatever it is called";
  const auto refused = [&](const NodeKind& kind, int input) {
    return message_of<ShapeError>([&] { graph.add("c", kind, {input}, "twin"); });
  };
  EXPECT_EQ(refused(BatchNormalization{}, b),
            "c (batch normalization) cannot share the parameters twin with a (convolution): it is "
            "of another kind");
  EXPECT_EQ(
      refused(conv(3, 3), b),
      "c (convolution) cannot share the parameters twin with a: it needs weight [3, 3, 3, 2], "
      "bias [3], but they are weight [2, 3, 3, 2], bias [2]");
  EXPECT_EQ(graph.size(), 4);
}

TEST(GraphSharing, BeforeASoftmax) {
  Graph graph;
  const int x = graph.add("x", Input{{2, 3}});
  const int rows = graph.add("rows", Softmax{.axis = 1, .log = true}, {x});
  const int columns = graph.add("columns", Softmax{.axis = 0}, {x});
  const int name = graph.add("name", Identity{}, {rows});
  EXPECT_EQ(before_softmax(graph, name), x);
  EXPECT_EQ(before_softmax(graph, rows), x);
  EXPECT_EQ(before_softmax(graph, columns), columns) << "a loss is of rows";
  EXPECT_EQ(before_softmax(graph, x), x);
}

TEST(GraphSharing, WhatIsTheSameForEverySample) {
  Graph graph;
  const int x = graph.add("x", Input{{2}});
  const int one = graph.add("one", constant({2}, {1, 1}));
  const int twice = graph.add("twice", Binary{}, {one, one});
  const int drop = graph.add("drop", Dropout{}, {twice});
  graph.add("sum", Binary{}, {x, twice});
  graph.add("value", Variable{{2}});
  EXPECT_THAT(shared_by_samples(graph), ElementsAre(false, true, true, false, false, true));
  EXPECT_EQ(graph.node(drop).shape, Shape({2}));
}

std::string listed(const ParameterSet& parameters) {
  std::string text;
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    text += fmt::format("{} {} {} {} {} {} {} {}\n", info.name, info.shape.str(),
                        static_cast<int>(info.initializer.kind), info.initializer.value,
                        info.fan_in, info.fan_out, static_cast<int>(info.role), info.decay);
  }
  return text;
}

TEST(GraphParameters, StartAsThoseOfLayers) {
  for (const auto kind : {Initializer::Kind::kUniformFanIn, Initializer::Kind::kKaimingNormal}) {
    const Initializer initializer{kind};
    ParameterSet layers;
    nn::Conv2d(layers, "conv",
               {.in = 3,
                .out = 4,
                .kernel_h = 2,
                .kernel_w = 5,
                .stride = {},
                .padding = {},
                .bias = true,
                .initializer = initializer});
    nn::BatchNorm2d(layers, "norm", 4, 0.9);
    nn::PRelu(layers, "prelu", 4);
    nn::Linear(layers, "dense", 4, 7, true, initializer);
    ParameterSet nodes;
    Convolution convolution = conv(4, 2);
    convolution.kernel_w = 5;
    register_node(convolution, {9, 9, 3}, "conv", initializer, nodes);
    register_node(BatchNormalization{.decay = 0.9}, {4}, "norm", initializer, nodes);
    register_node(Prelu{{4}}, {4}, "prelu", initializer, nodes);
    register_node(Dense{.out = 7}, {4}, "dense", initializer, nodes);
    EXPECT_EQ(listed(nodes), listed(layers));
  }
}

TEST(GraphParameters, OfOtherKinds) {
  ParameterSet nodes;
  Convolution grouped = conv(4, 3);
  grouped.groups = 2;
  grouped.bias = false;
  register_node(grouped, {9, 9, 6}, "grouped", {Initializer::Kind::kUniformFanIn}, nodes);
  register_node(transposed_to(19, 9), {9, 8, 6}, "up", {Initializer::Kind::kUniformFanIn}, nodes);
  register_node(BatchNormalization{.gamma = false, .beta = false}, {4}, "norm", {}, nodes);
  register_node(Variable{{2, 3}}, {}, "free", {}, nodes);
  const auto text = listed(nodes);
  EXPECT_THAT(text, ::testing::HasSubstr("grouped/weight [4, 3, 3, 3] 2 0 27 36"));
  EXPECT_THAT(text, ::testing::HasSubstr("up/weight [6, 3, 2, 4] 2 0 24 36"));
  EXPECT_THAT(text, ::testing::HasSubstr("up/bias [4]"));
  EXPECT_THAT(text, ::testing::HasSubstr("norm/running_var [4]"));
  EXPECT_THAT(text, ::testing::HasSubstr("free/value [2, 3] 0"));
  EXPECT_EQ(nodes.size(), 6);
}

}  // namespace
}  // namespace gentrain::graph
