// Graphs: shape rules of each kind, what they refuse and how the node is named, and what depends on
// what.
#include "core/graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/graph/plan.h"
#include "core/graph/shapes.h"
#include "kernels/error.h"
#include "tests/core/graph_fixture.h"
#include "tests/support/compare.h"

namespace gentrain::graph {
namespace {

using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Convolution window(std::int64_t out, std::int64_t kernel, bool same = false) {
  Convolution node;
  node.out = out;
  node.kernel_h = node.kernel_w = kernel;
  node.padding.same = same;
  return node;
}

TEST(GraphShapes, Windows) {
  EXPECT_EQ(shape_of(window(4, 3), {{9, 7, 2}}), Shape({7, 5, 4}));
  EXPECT_EQ(shape_of(window(4, 3, true), {{9, 7, 2}}), Shape({9, 7, 4}));
  Convolution strided = window(4, 3, true);
  strided.stride = {2, 3};
  EXPECT_EQ(shape_of(strided, {{9, 8, 2}}), Shape({5, 3, 4}));
  strided.padding = {.same = false, .explicit_padding = {1, 0, 2, 2}};
  EXPECT_EQ(shape_of(strided, {{9, 8, 2}}), Shape({4, 4, 4}));
  const Pooling pool{.window = {3, 3}, .padding = {}};
  EXPECT_EQ(shape_of(pool, {{9, 8, 2}}), Shape({4, 3, 2}));
  EXPECT_EQ(shape_of(GlobalPooling{}, {{9, 8, 2}}), Shape({2}));
}

TEST(GraphShapes, SamePaddingPutsTheOddPixelBehind) {
  const ops::Padding padding =
      padding_of({.same = true, .explicit_padding = {}}, {10, 9, 1}, {3, 4}, {2, 1});
  EXPECT_EQ(padding.top, 0);
  EXPECT_EQ(padding.bottom, 1);
  EXPECT_EQ(padding.left, 1);
  EXPECT_EQ(padding.right, 2);
}

TEST(GraphShapes, RowsAndSeveralInputs) {
  EXPECT_EQ(shape_of(Input{{3}}, {}), Shape({3}));
  EXPECT_EQ(shape_of(Flatten{}, {{2, 3, 4}}), Shape({24}));
  EXPECT_EQ(shape_of(Dense{.out = 5}, {{24}}), Shape({5}));
  EXPECT_EQ(shape_of(Concatenation{}, {{2, 3, 4}, {2, 3, 1}, {2, 3, 4}}), Shape({2, 3, 9}));
  EXPECT_EQ(shape_of(Addition{}, {{2, 3, 4}, {2, 3, 4}}), Shape({2, 3, 4}));
  for (const NodeKind& kind : {NodeKind(BatchNormalization{}), NodeKind(Activate{}),
                               NodeKind(Dropout{}), NodeKind(Softmax{})}) {
    EXPECT_EQ(shape_of(kind, {{7}}), Shape({7})) << name_of(kind);
  }
}

TEST(GraphShapes, Products) {
  EXPECT_EQ(products_of(window(4, 3), {9, 7, 2}, {7, 5, 4}), 7 * 5 * 4 * 3 * 3 * 2);
  EXPECT_EQ(products_of(Dense{.out = 5}, {24}, {5}), 120);
  EXPECT_EQ(products_of(Flatten{}, {24}, {24}), 0);
}

TEST(GraphShapeErrors, OfWindows) {
  EXPECT_EQ(error_of(window(4, 3), {{9}}),
            "an image [h, w, c] for each sample is needed but it gets [9]");
  EXPECT_EQ(error_of(window(4, 3), {}), "one input is needed but there are 0");
  EXPECT_EQ(error_of(window(0, 3), {{9, 9, 1}}), "it has 0 outputs, at least 1 is needed");
  EXPECT_EQ(error_of(window(4, 10), {{9, 9, 1}}),
            "its kernel of 10 x 10 does not fit into [9, 9, 1] with padding [0, 0, 0, 0]");
  EXPECT_EQ(error_of(window(4, 0), {{9, 9, 1}}),
            "its kernel of 0 x 0, stride 1 x 1, dilation 1 x 1, padding [0, 0, 0, 0]: extents, "
            "strides and dilations of at least 1 and a padding of at least 0 are needed");
  Convolution huge = window(4, 3);
  huge.padding.explicit_padding.top = Shape::kMaxElements;
  EXPECT_EQ(
      error_of(huge, {{9, 9, 1}}),
      "its kernel, stride, dilation or padding is too large: extents of at most 268435456 are "
      "supported");
  EXPECT_EQ(error_of(window(std::int64_t{1} << 36, 3), {{9, 9, 3}}),
            "68719476736 x 3 x 3 x 3 weights are too many, at most 1e+11 are supported");
  Pooling pool{.window = {2, 256}, .padding = {}};
  EXPECT_EQ(
      error_of(pool, {{300, 300, 1}}),
      "its window of 2 x 256 pixels is too large, at most 255 rows and columns are supported");
  pool = {.window = {2, 2}, .padding = {.same = false, .explicit_padding = {2, 0, 0, 0}}};
  EXPECT_EQ(error_of(pool, {{20, 20, 1}}),
            "its padding [2, 0, 0, 0] is not smaller than its window of 2 x 2");
  EXPECT_EQ(error_of(GlobalPooling{}, {{1, 268435457, 1}}),
            "it gets [1, 268435457, 1]: at most 268435456 rows and columns are supported");
}

TEST(GraphShapeErrors, OfOtherKinds) {
  EXPECT_EQ(error_of(Input{{3}}, {{3}}), "an input of the graph has no inputs but there are 1");
  EXPECT_EQ(error_of(Input{{3, 0, 1}}, {}),
            "its shape is [3, 0, 1]: 1 to 4 extents of at least 1 are needed");
  EXPECT_EQ(error_of(Dense{.out = 2}, {{}}),
            "a sample with at least one axis is needed but it gets []");
  EXPECT_EQ(error_of(Dense{.out = 0}, {{3}}), "it has 0 outputs, at least 1 is needed");
  EXPECT_EQ(error_of(BatchNormalization{.epsilon = 0}, {{3}}),
            "epsilon is 0 and decay 0.99: above 0 and finite as f32, and at least 0 and below 1 "
            "needed");
  EXPECT_EQ(error_of(Activate{.activation = Activation::kTanh, .slope = 0.1}, {{3}}),
            "slope is 0.1: at least 0 and finite as f32 needed, and 0 but of relu");
  EXPECT_EQ(error_of(Dropout{.rate = 1}, {{3}}), "rate is 1: at least 0 and below 1 needed");
  EXPECT_EQ(error_of(Concatenation{}, {{3, 3, 1}}),
            "two inputs or more are needed but there are 1");
  EXPECT_EQ(error_of(Concatenation{}, {{3, 3, 1}, {3, 2, 1}}),
            "its inputs [3, 3, 1], [3, 2, 1] must be equal but for axis 2");
  EXPECT_EQ(error_of(Addition{}, {{3}, {4}}), "its inputs [3], [4] must have one shape");
  EXPECT_EQ(error_of(Softmax{.axis = 3}, {{3, 3, 1}}), "axis 3 is none of the 3 axes of [3, 3, 1]");
}

/// input -> a -> b -> c(b, a) -> d, and e behind a.
Graph diamond() {
  Graph graph;
  const int x = graph.add("x", Input{{4, 4, 1}});
  const int a = graph.add("a", window(2, 3, true), {x});
  const int b = graph.add("b", Activate{}, {a});
  const int c = graph.add("c", Concatenation{}, {b, a});
  graph.add("d", GlobalPooling{}, {c});
  graph.add("e", Flatten{}, {a});
  return graph;
}

TEST(Graphs, NodesByNameAndWhatTheyDependOn) {
  const Graph graph = diamond();
  EXPECT_EQ(graph.size(), 6);
  EXPECT_EQ(graph.find("c"), 3);
  EXPECT_EQ(graph.find("f"), -1);
  EXPECT_EQ(graph.node(3).shape, Shape({4, 4, 4}));
  EXPECT_THAT(graph.inputs(), ElementsAre(0));
  EXPECT_THAT(graph.outputs(), ElementsAre(5)) << "the last node until it is said";
  EXPECT_THAT(graph.nodes_through("d"), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(graph.nodes_through("e"), ElementsAre(0, 1, 5));
  EXPECT_TRUE(Graph().outputs().empty());
}

TEST(Graphs, ErrorsNameTheNode) {
  Graph graph = diamond();
  const auto add = [&](const std::string& name, const NodeKind& kind,
                       const std::vector<int>& inputs) {
    return message_of<ShapeError>([&] { graph.add(name, kind, inputs); });
  };
  EXPECT_EQ(add("", Flatten{}, {0}), "node 6 (flatten) has no name");
  EXPECT_EQ(add("a", Flatten{}, {0}), "two nodes are named a");
  EXPECT_EQ(add("f", Flatten{}, {6}), "f (flatten): its input 6 is none of the 6 nodes before it");
  EXPECT_EQ(add("f", Flatten{}, {-1}),
            "f (flatten): its input -1 is none of the 6 nodes before it");
  EXPECT_EQ(add("f", Addition{}, {3, 1}),
            "f (addition): its inputs [4, 4, 4], [4, 4, 2] must have one shape");
  EXPECT_EQ(graph.size(), 6) << "what is refused leaves nothing behind";
  const auto outputs = [&](const std::vector<int>& nodes) {
    return message_of<ShapeError>([&] { graph.set_outputs(nodes); });
  };
  EXPECT_EQ(outputs({}), "a graph needs an output");
  EXPECT_EQ(outputs({7}), "output 7 is none of the 6 nodes");
  EXPECT_EQ(outputs({2, 2}), "output b is given twice");
  graph.set_outputs({4, 2});
  EXPECT_THAT(graph.outputs(), ElementsAre(4, 2));
}

TEST(Graphs, AnUnknownNameListsWhatIsNearIt) {
  EXPECT_EQ(message_of<JobError>([] { static_cast<void>(diamond().index_of("f")); }),
            "the network has no layer 'f' (known: x, a, b, c, d, e)");
  Graph graph;
  graph.add("x", Input{{2}});
  for (int i = 1; i <= 30; ++i) {
    graph.add("layer_" + std::to_string(i), Activate{}, {0});
  }
  graph.add("mixed8", Activate{}, {0});
  const std::string message =
      message_of<JobError>([&] { static_cast<void>(graph.nodes_through("mixed11")); });
  EXPECT_THAT(message, HasSubstr("'mixed11' (known: mixed8, x, layer_1, "));
  EXPECT_THAT(message, HasSubstr(" and 8 more)"));
}

TEST(GraphPlans, ComputeOnlyWhatIsNeededAndFuseWhatNobodyElseReads) {
  Graph graph = diamond();
  const int norm = graph.add("norm", BatchNormalization{}, {3});
  const int relu = graph.add("relu", Activate{}, {norm});
  const auto steps_for = [&](const std::vector<int>& wanted) {
    std::vector<std::pair<int, int>> steps;
    for (const Step& step : plan_steps(graph, wanted, [](int, int) { return true; })) {
      steps.emplace_back(step.node, step.result);
    }
    return steps;
  };
  using Pairs = std::vector<std::pair<int, int>>;
  EXPECT_EQ(steps_for({2}), (Pairs{{0, 0}, {1, 2}})) << "the convolution takes b along";
  EXPECT_EQ(steps_for({2, 1}), (Pairs{{0, 0}, {1, 1}, {2, 2}})) << "its own output is wanted too";
  EXPECT_EQ(steps_for({3}), (Pairs{{0, 0}, {1, 1}, {2, 2}, {3, 3}})) << "c reads it too";
  EXPECT_EQ(steps_for({relu}), (Pairs{{0, 0}, {1, 1}, {2, 2}, {3, 3}, {norm, relu}}));
}

TEST(GraphPlans, FoldBatchNormsIntoConvolutions) {
  Graph graph;
  graph.add("x", Input{{4, 4, 1}});
  graph.add("conv", window(2, 3), {0});
  graph.add("norm", BatchNormalization{}, {1});
  graph.add("leaky", Activate{.activation = Activation::kRelu, .slope = 0.1}, {2});
  const auto last = [&](bool folds) {
    return plan_steps(graph, std::vector<int>{3}, [&](int, int) { return folds; });
  };
  const std::vector<Step> folded = last(true);
  ASSERT_EQ(folded.size(), 3) << "a convolution takes no leaky ReLU along";
  EXPECT_EQ(folded[1].norm, 2);
  EXPECT_EQ(folded[1].result, 2);
  EXPECT_EQ(folded[2].node, 3);
  const std::vector<Step> apart = last(false);
  ASSERT_EQ(apart.size(), 3);
  EXPECT_EQ(apart[1].norm, -1);
  EXPECT_EQ(apart[2].node, 2) << "a batch normalisation takes it";
  EXPECT_EQ(apart[2].activation, 3);
}

}  // namespace
}  // namespace gentrain::graph
