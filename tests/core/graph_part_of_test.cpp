// Parts of graphs for images of another size.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/graph/part_of.h"
#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::graph {
namespace {

using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;

/// conv1, two branches, their sum, and a dense layer that needs 8 x 8 pixels.
Graph two_branches() {
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
  const Graph part = part_of(two_branches(), names, {20, 30, 3});
  ASSERT_EQ(part.size(), 4);
  EXPECT_EQ(part.node(0).shape, Shape({20, 30, 3}));
  EXPECT_EQ(part.node(part.find("pool")).shape, Shape({10, 15, 4}));
  EXPECT_EQ(part.find("left"), -1);
  EXPECT_EQ(part.outputs(), (std::vector<int>{part.find("pool"), part.find("conv1")}));
}

TEST(PartOf, TakesANameTwice) {
  const std::array<std::string, 2> names{"sum", "sum"};
  EXPECT_EQ(part_of(two_branches(), names, {9, 9, 3}).outputs().size(), 1U);
}

/// A map of axis 0 of images of 4 x 2 pixels: what each position is a copy of, -1 for none.
Graph mapped(const std::vector<int>& sources, float weight = 1) {
  ops::AxisRows rows{.from = 4, .begins = {0}, .sources = {}, .weights = {}, .fill = 7};
  for (const int source : sources) {
    if (source >= 0) {
      rows.sources.push_back(source);
      rows.weights.push_back(weight);
    }
    rows.begins.push_back(static_cast<std::int32_t>(rows.sources.size()));
  }
  Graph graph;
  const int x = graph.add("input", Input{{4, 2, 1}});
  graph.add("map", AxisMap{0, std::make_shared<const ops::AxisRows>(std::move(rows))}, {x});
  return graph;
}

/// The map for images of so many rows, as mapped() takes it; fails unless all else stays.
std::vector<int> sources_for(const Graph& graph, std::int64_t extent) {
  const std::array<std::string, 1> names{"map"};
  const Graph part = part_of(graph, names, {extent, 3, 1});
  const ops::AxisRows& rows = *std::get<AxisMap>(part.node(1).kind).rows;
  EXPECT_EQ(rows.from, extent);
  EXPECT_EQ(rows.fill, 7);
  EXPECT_EQ(rows.weights, std::vector<float>(rows.sources.size(), 1));
  EXPECT_EQ(part.node(1).shape, Shape({rows.to(), 3, 1}));
  std::vector<int> sources;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows.to()); ++i) {
    const std::int32_t first = rows.begins[i];
    sources.push_back(first == rows.begins[i + 1] ? -1
                                                  : rows.sources[static_cast<std::size_t>(first)]);
  }
  return sources;
}

TEST(PartOf, PadsCropsAndRepeatsAxesOfOtherExtents) {
  const std::vector<int> padding = {-1, 0, 1, 2, 3, -1, -1};
  EXPECT_EQ(sources_for(mapped(padding), 4), padding);
  EXPECT_THAT(sources_for(mapped(padding), 2), ElementsAre(-1, 0, 1, -1, -1));
  EXPECT_THAT(sources_for(mapped(padding), 5), ElementsAre(-1, 0, 1, 2, 3, 4, -1, -1));
  EXPECT_THAT(sources_for(mapped({1, 2, 3}), 6), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(sources_for(mapped({0, 1, 2}), 2), ElementsAre(0));
  EXPECT_THAT(sources_for(mapped({0, 0, 1, 1, 2, 2, 3, 3}), 3), ElementsAre(0, 0, 1, 1, 2, 2));
}

TEST(PartOf, RefusesMapsThatAreUnknownAtAnotherSize) {
  const auto error_of = [](const Graph& graph, const Shape& image) {
    const std::array<std::string, 1> names{"map"};
    return message_of<ShapeError>([&] { part_of(graph, names, image); });
  };
  const std::string message = "map (" + std::string(name_of(NodeKind(AxisMap{}))) +
                              "): does not take images of another size than 4 x 2";
  for (const std::vector<int>& sources : std::vector<std::vector<int>>{
           {3, 2, 1, 0}, {1, 0, 1, 2, 3, 2}, {0, 2}, {0}, {2, 3}, {-1, -1}, {0, 0, 1, 2, 3}}) {
    EXPECT_EQ(error_of(mapped(sources), {5, 2, 1}), message) << testing::PrintToString(sources);
    EXPECT_EQ(sources_for(mapped(sources), 4), sources);
  }
  EXPECT_EQ(error_of(mapped({0, 1, 2, 3}, 0.5F), {5, 2, 1}), message);
  EXPECT_EQ(error_of(mapped({0, 1, 2}), {1, 2, 1}), message) << "nothing is left";
  EXPECT_THAT(error_of(mapped({0, 0, 1, 1, 2, 2, 3, 3}), {600000, 2, 1}),
              HasSubstr("600000 positions are too many"));
}

TEST(PartOf, SaysWhatIsWrong) {
  const std::array<std::string, 1> unknown{"conv2"};
  EXPECT_THAT(message_of<JobError>([&] {
                part_of(two_branches(), unknown, {8, 8, 3});
              }),
              HasSubstr("the network has no layer 'conv2' (known: "));
  const std::array<std::string, 1> pool{"pool"};
  EXPECT_THAT(message_of<ShapeError>([&] {
                part_of(two_branches(), pool, {1, 8, 3});
              }),
              HasSubstr("pool (max pooling): "));
  Graph two = two_branches();
  two.add("other", Input{{3}});
  EXPECT_EQ(message_of<ShapeError>([&] {
              part_of(two, pool, {8, 8, 3});
            }),
            "the network has 2 inputs, one image is given");
}

}  // namespace
}  // namespace gentrain::graph
