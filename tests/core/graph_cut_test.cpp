// Graphs cut in two: where that is possible, and that the parts compute what the whole does.
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "core/graph/cut.h"
#include "kernels/error.h"
#include "tests/core/graph_fixture.h"
#include "tests/support/compare.h"

namespace gentrain::graph {
namespace {

using test::message_of;

/// A stem, two branches, their sum, a dropout, and a dense layer with a constant added.
Graph forked() {
  Graph graph;
  const int one = graph.add("one", constant({3}, {1, 2, 3}));
  int x = graph.add("x", Input{{4, 4, 2}});
  x = graph.add("stem", conv(3, 3), {x});
  x = graph.add("stem_relu", Activate{}, {x});
  const int left = graph.add("left", conv(2, 1), {x});
  const int right = graph.add("right", conv(2, 1), {x});
  x = graph.add("sum", Addition{}, {left, right});
  x = graph.add("drop", Dropout{.rate = 0.5}, {x});
  x = graph.add("flat", Flatten{}, {x});
  x = graph.add("dense", Dense{.out = 3}, {x});
  graph.add("shifted", Binary{}, {x, one});
  return graph;
}

/// The name of what last_fixed() gives where the named nodes are not fixed.
std::string last_without(const std::set<std::string>& free) {
  const Graph graph = forked();
  const int last = last_fixed(graph, graph.index_of("shifted"),
                              [&](int node) { return !free.contains(graph.node(node).name); });
  return last < 0 ? "none" : graph.node(last).name;
}

TEST(LastFixed, IsTheDeepestThatAllLeadsThrough) {
  EXPECT_EQ(last_without({"dense"}), "flat");
  EXPECT_EQ(last_without({"drop"}), "sum");
  EXPECT_EQ(last_without({"left"}), "stem_relu");
  EXPECT_EQ(last_without({"right"}), "stem_relu") << "left is fixed, but does not separate";
  EXPECT_EQ(last_without({"stem_relu"}), "none") << "stem is no result of a step";
  EXPECT_EQ(last_without({"stem"}), "none");
  EXPECT_EQ(last_without({}), "dense");
}

TEST(Behind, ComputesWhatTheWholeDoesInTrainingToo) {
  const GraphBench whole(forked());
  const Graph& graph = whole.executor().graph();
  const Tensor x = whole.random({2, 4, 4, 2});
  const int last = graph.index_of("shifted");
  for (const char* name : {"stem_relu", "sum", "flat"}) {
    const int node = graph.index_of(name);
    const Executor tail(behind(graph, node), whole.parameters());
    EXPECT_EQ(tail.graph().node(tail.graph().inputs()[0]).shape, graph.node(node).shape);
    for (const bool training : {false, true}) {
      Context context = whole.context(nullptr, training);
      const Tensor cut = whole.executor().compute(context, {&x, 1}, {&node, 1})[0];
      const Tensor expected = whole.executor().compute(context, {&x, 1}, {&last, 1})[0];
      EXPECT_EQ(whole.bench().values(tail.compute(context, {&cut, 1}, {&last, 1})[0]),
                whole.bench().values(expected))
          << name << (training ? ", training" : "");
    }
  }
}

TEST(Behind, SaysWhatCannotBeCut) {
  const Graph graph = forked();
  EXPECT_EQ(message_of<ShapeError>([&] { behind(graph, graph.index_of("left")); }),
            "the network's output depends on its input otherwise than through left");
  EXPECT_EQ(message_of<ShapeError>([&] { behind(graph, graph.size()); }),
            "there is nothing behind layer 11 of 11");
  Graph two = forked();
  two.add("y", Input{{1}});
  EXPECT_EQ(message_of<ShapeError>([&] { behind(two, 3); }),
            "the network has 2 inputs, one is needed to go on behind a layer");
}

}  // namespace
}  // namespace gentrain::graph
