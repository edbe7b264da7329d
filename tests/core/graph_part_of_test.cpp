// Parts of graphs for images of another size.
#include <array>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/graph/part_of.h"
#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::graph {
namespace {

using test::message_of;
using testing::HasSubstr;

/// conv1, two branches, their sum, and a dense layer that needs 8 x 8 pixels.
Graph forked() {
  Graph graph;
  Convolution conv;
  conv.out = 4;
  conv.kernel_h = conv.kernel_w = 3;
  conv.padding.same = true;
  int x = graph.add("input", Input{{8, 8, 3}});
  x = graph.add("conv1", conv, {x});
  const int left = graph.add("left", conv, {x});
  const int right = graph.add("right", conv, {x});
  graph.add("sum", Addition{}, {left, right});
  x = graph.add("pool", Pooling{}, {right});
  x = graph.add("flatten", Flatten{}, {x});
  graph.add("dense", Dense{.out = 10}, {x});
  return graph;
}

TEST(PartOf, HasTheNodesThatAreNeeded) {
  const std::array<std::string, 2> names{"pool", "conv1"};
  const Graph part = part_of(forked(), names, {20, 30, 3});
  ASSERT_EQ(part.size(), 4);
  EXPECT_EQ(part.node(0).shape, Shape({20, 30, 3}));
  EXPECT_EQ(part.node(part.find("pool")).shape, Shape({10, 15, 4}));
  EXPECT_EQ(part.find("left"), -1);
  EXPECT_EQ(part.outputs(), (std::vector<int>{part.find("pool"), part.find("conv1")}));
}

TEST(PartOf, TakesANameTwice) {
  const std::array<std::string, 2> names{"sum", "sum"};
  EXPECT_EQ(part_of(forked(), names, {9, 9, 3}).outputs().size(), 1U);
}

TEST(PartOf, SaysWhatIsWrong) {
  const std::array<std::string, 1> unknown{"conv2"};
  EXPECT_THAT(message_of<JobError>([&] {
                part_of(forked(), unknown, {8, 8, 3});
              }),
              HasSubstr("the network has no layer 'conv2' (known: "));
  const std::array<std::string, 1> pool{"pool"};
  EXPECT_THAT(message_of<ShapeError>([&] {
                part_of(forked(), pool, {1, 8, 3});
              }),
              HasSubstr("pool (max pooling): "));
  Graph two = forked();
  two.add("other", Input{{3}});
  EXPECT_EQ(message_of<ShapeError>([&] {
              part_of(two, pool, {8, 8, 3});
            }),
            "the network has 2 inputs, one image is given");
}

}  // namespace
}  // namespace gentrain::graph
