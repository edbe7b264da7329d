// Graphs as JSON: each kind there and back, what damaged or hostile JSON says; and summaries.
#include "core/graph/graph_json.h"

#include <cmath>
#include <limits>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/graph/summary.h"
#include "kernels/error.h"
#include "tests/core/graph_fixture.h"
#include "tests/support/compare.h"

namespace gentrain::graph {
namespace {

using nlohmann::json;
using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TransposedConvolution some_transposed() {
  TransposedConvolution transposed;
  transposed.out = 2;
  transposed.kernel_h = transposed.kernel_w = 3;
  transposed.stride = {2, 2};
  transposed.padding = {1, 0, 1, 1};
  transposed.to_h = 12;
  transposed.to_w = 9;
  transposed.bias = false;
  transposed.groups = 2;
  transposed.dilation = {1, 1};
  return transposed;
}

ops::AxisRows some_rows() {
  ops::AxisRows rows;
  rows.from = 5;
  rows.begins = {0, 2, 2};
  rows.sources = {4, 0};
  rows.weights = {0.25F, -1};
  rows.fill = -INFINITY;
  return rows;
}

/// One node or more of each kind, no attribute at its default.
Graph all_kinds() {
  Graph graph;
  const int x = graph.add("x", Input{{6, 5, 4}});
  const int c = graph.add("constant", constant({2, 2}, {0.1F, -INFINITY, INFINITY, 1e-42F}));
  const int v = graph.add("variable", Variable{{2, 1}}, {}, "free");
  Convolution convolution = conv(6, 3);
  convolution.kernel_w = 2;
  convolution.stride = {2, 1};
  convolution.padding.explicit_padding = {1, 2, 3, 4};
  convolution.bias = false;
  convolution.activation = Activation::kSigmoid;
  convolution.groups = 2;
  convolution.dilation = {1, 3};
  const int a = graph.add("conv", convolution, {x}, "twin");
  convolution.padding = {.same = true, .explicit_padding = {}};
  graph.add("conv_same", convolution, {x}, "twin");
  graph.add("transposed", some_transposed(), {x});
  graph.add("norm",
            BatchNormalization{.epsilon = 1e-5, .gamma = false, .decay = 0.5, .beta = false}, {a});
  graph.add("leaky", Activate{.activation = Activation::kRelu, .slope = 0.1}, {a});
  for (const auto function : {PointwiseFunction::kClip, PointwiseFunction::kTanhShrink}) {
    graph.add(fmt::format("pointwise{}", static_cast<int>(function)),
              Pointwise{{.function = function, .a = -kInfinity, .b = 0.1, .c = 6}}, {a});
  }
  graph.add("prelu", Prelu{{1, 1, 4}}, {x});
  for (const auto function : {BinaryFunction::kAdd, BinaryFunction::kMinimum}) {
    graph.add(fmt::format("binary{}", static_cast<int>(function)), Binary{function}, {c, v});
  }
  Pooling pooling{
      .pooling = PoolingKind::kAverage, .window = {3, 2}, .stride = {1, 2}, .padding = {}};
  pooling.padding.same = true;
  graph.add("pooling", pooling, {x});
  graph.add("global", GlobalPooling{PoolingKind::kMax}, {x});
  graph.add("dense", Dense{.out = 3, .bias = false, .activation = Activation::kTanh}, {x});
  const int flat = graph.add("flatten", Flatten{}, {x});
  graph.add("reshape", Reshape{{2, 60}}, {flat});
  graph.add("permute", Permute{{2, 0, 1}}, {x});
  graph.add("axis_map", AxisMap{1, std::make_shared<const ops::AxisRows>(some_rows())}, {x});
  graph.add("largest", LargestAlong{{0, 2}}, {x});
  graph.add("dropout", Dropout{.rate = 0.25}, {x});
  const int joined = graph.add("joined", Concatenation{.axis = 0}, {x, x});
  graph.add("joined_last", Concatenation{}, {x, x});
  graph.add("sum", Addition{}, {x, x, x});
  graph.add("softmax", Softmax{.axis = 1, .log = true}, {x});
  graph.add("name", Identity{}, {joined});
  graph.set_outputs({joined, a});
  return graph;
}

TEST(GraphJson, EveryKindThereAndBack) {
  const Graph graph = all_kinds();
  std::set<std::size_t> kinds;
  for (int i = 0; i < graph.size(); ++i) {
    kinds.insert(graph.node(i).kind.index());
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<NodeKind>) << "a new kind belongs into all_kinds()";
  const json written = to_json(graph);
  const Graph read = graph_from_json(json::parse(written.dump()));
  EXPECT_EQ(to_json(read), written);
  ASSERT_EQ(read.size(), graph.size());
  for (int i = 0; i < graph.size(); ++i) {
    EXPECT_EQ(read.node(i).name, graph.node(i).name);
    EXPECT_EQ(read.node(i).kind.index(), graph.node(i).kind.index());
    EXPECT_EQ(read.node(i).inputs, graph.node(i).inputs);
    EXPECT_EQ(read.node(i).shape, graph.node(i).shape);
    EXPECT_EQ(read.node(i).parameters, graph.node(i).parameters);
  }
  EXPECT_EQ(read.outputs(), graph.outputs());
  EXPECT_EQ(read.inputs(), graph.inputs());
}

TEST(GraphJson, AttributesAreThoseOfTheNode) {
  const Graph read = graph_from_json(to_json(all_kinds()));
  const auto& convolution = std::get<Convolution>(read.node(read.index_of("conv")).kind);
  EXPECT_EQ(convolution.kernel_w, 2);
  EXPECT_EQ(convolution.stride.h, 2);
  EXPECT_EQ(convolution.padding.explicit_padding.right, 4);
  EXPECT_FALSE(convolution.bias);
  EXPECT_EQ(convolution.activation, Activation::kSigmoid);
  EXPECT_EQ(convolution.dilation.w, 3);
  const auto& values = *std::get<Constant>(read.node(read.index_of("constant")).kind).values;
  EXPECT_THAT(values, ElementsAre(0.1F, -INFINITY, INFINITY, 1e-42F));
  const auto& rule = std::get<Pointwise>(read.node(read.index_of("pointwise2")).kind).rule;
  EXPECT_EQ(rule.a, -kInfinity);
  EXPECT_EQ(rule.b, 0.1);
  const auto& map = std::get<AxisMap>(read.node(read.index_of("axis_map")).kind);
  EXPECT_THAT(map.rows->sources, ElementsAre(4, 0));
  EXPECT_EQ(map.rows->fill, -INFINITY);
}

TEST(GraphJson, TheFormIsAsDescribed) {
  Graph graph;
  const int x = graph.add("x", Input{{2}});
  graph.add("drop", Dropout{.rate = 0.25}, {x});
  EXPECT_EQ(to_json(graph), json::parse(R"({"version": 1, "outputs": [1], "nodes": [
    {"name": "x", "kind": "input", "inputs": [], "parameters": "x", "attributes": {"shape": [2]}},
    {"name": "drop", "kind": "dropout", "inputs": [0], "parameters": "drop",
     "attributes": {"rate": 0.25}}]})"));
  EXPECT_EQ(graph_from_json(to_json(Graph())).size(), 0);
}

/// What is said of the JSON of all_kinds() after a change.
template <class Change>
std::string said(const Change& change) {
  json changed = to_json(all_kinds());
  change(changed);
  return message_of<IoError>([&] { static_cast<void>(graph_from_json(changed)); });
}
/// After a change of the attributes of a node.
template <class Change>
std::string said_of(const std::string& name, const Change& change) {
  return said([&](json& graph) {
    for (json& node : graph["nodes"]) {
      if (node["name"] == name) {
        change(node["attributes"]);
      }
    }
  });
}

TEST(GraphJsonErrors, OfTheWhole) {
  EXPECT_EQ(message_of<IoError>([] { static_cast<void>(graph_from_json(json::array())); }),
            "the graph: an object needed but it is a list");
  EXPECT_EQ(said([](json& graph) { graph.erase("nodes"); }), "the graph: nodes: it is missing");
  EXPECT_EQ(said([](json& graph) { graph["version"] = 2; }),
            "the graph: its version is 2, 1 needed");
  EXPECT_EQ(said([](json& graph) { graph["more"] = 1; }), "the graph: \"more\": it is not known");
  EXPECT_EQ(said([](json& graph) { graph["nodes"] = 3; }), "the graph: a list needed but it is 3");
  EXPECT_EQ(said([](json& graph) { graph["nodes"] = json(70000, 0); }),
            "the graph: it has 70000 nodes, at most 65536 are supported");
  EXPECT_EQ(said([](json& graph) { graph["outputs"] = {99}; }),
            fmt::format("the graph: output 99 is none of the {} nodes", all_kinds().size()));
  EXPECT_EQ(said([](json& graph) { graph["outputs"] = json::array(); }),
            "the graph: a graph needs an output");
  EXPECT_EQ(said([](json& graph) { graph["outputs"] = {1.5}; }),
            "the graph: outputs: an integer from -2147483648 to 2147483647 needed but it is 1.5");
}

TEST(GraphJsonErrors, OfNodes) {
  const auto node = [](const auto& change) {
    return said([&](json& graph) { change(graph["nodes"][3]); });
  };
  EXPECT_EQ(node([](json& n) { n = nullptr; }),
            "the graph's node 3 (): an object needed but it is null");
  EXPECT_EQ(node([](json& n) { n["kind"] = "warp"; }),
            "the graph's node 3 (conv): its kind \"warp\" is not known");
  EXPECT_EQ(node([](json& n) { n.erase("inputs"); }),
            "the graph's node 3 (conv): inputs: it is missing");
  EXPECT_EQ(node([](json& n) { n["inputs"] = {"x"}; }),
            "the graph's node 3 (conv): inputs: an integer from -2147483648 to 2147483647 needed "
            "but it is \"x\"");
  EXPECT_EQ(node([](json& n) { n["inputs"] = {3}; }),
            "the graph's node 3: conv (convolution): its input 3 is none of the 3 nodes before it");
  EXPECT_EQ(node([](json& n) { n["name"] = std::string(2000, 'a'); }),
            "the graph's node 3 (): name: a text of up to 1024 bytes needed but it is \"" +
                std::string(39, 'a') + "...");
  EXPECT_EQ(node([](json& n) { n["name"] = "x"; }), "the graph's node 3: two nodes are named x");
  EXPECT_EQ(node([](json& n) { n["parameters"] = "free"; }),
            "the graph's node 3: conv (convolution) cannot share the parameters free with variable "
            "(variable): it is of another kind");
  EXPECT_EQ(node([](json& n) { n["attributes"] = json::array(); }),
            "the graph's node 3 (conv): an object needed but it is a list");
  EXPECT_EQ(node([](json& n) { n["color"] = 1; }),
            "the graph's node 3 (conv): \"color\": it is not known");
}

TEST(GraphJsonErrors, OfAttributes) {
  const auto conv_with = [](const char* key, const json& value) {
    return said_of("conv", [&](json& attributes) { attributes[key] = value; });
  };
  const std::string of = "the graph's node 3 (conv): ";
  EXPECT_EQ(said_of("conv", [](json& attributes) { attributes.erase("groups"); }),
            of + "groups: it is missing");
  EXPECT_EQ(conv_with("color", 1), of + "\"color\": it is not known");
  EXPECT_EQ(conv_with("bias", 1), of + "bias: true or false needed but it is 1");
  EXPECT_EQ(conv_with("out", -1),
            of + "out: an integer from 0 to 576460752303423488 needed but it is -1");
  EXPECT_EQ(conv_with("out", std::numeric_limits<std::uint64_t>::max()),
            of + "out: an integer from 0 to 576460752303423488 needed but it is "
                 "18446744073709551615");
  EXPECT_EQ(conv_with("stride", {1, 2, 3}), of + "stride: 2 numbers needed but there are 3");
  EXPECT_EQ(conv_with("activation", "gelu"), of + "activation: \"gelu\" is not known");
  EXPECT_EQ(conv_with("padding", {{"same", true}}), of + "padding: explicit: it is missing");
  EXPECT_THAT(conv_with("out", 7), HasSubstr("its 2 groups do not divide"));
}

TEST(GraphJsonErrors, OfNumbersAndLists) {
  EXPECT_THAT(said_of("x", [](json& a) { a["shape"] = {1, 1, 1, 1, 1, 1, 1}; }),
              HasSubstr("shape: a shape of 7 extents"));
  EXPECT_THAT(said_of("x", [](json& a) { a["shape"] = "large"; }),
              HasSubstr("shape: a list needed but it is \"large\""));
  EXPECT_THAT(said_of("x",
                      [](json& a) {
                        a["shape"] = {1 << 20, 1 << 20};
                      }),
              HasSubstr("x (input): 1048576 x 1048576 values are too many"));
  EXPECT_THAT(said_of("dropout", [](json& a) { a["rate"] = "most"; }),
              HasSubstr("rate: a number needed but it is \"most\""));
  EXPECT_THAT(said_of("dropout", [](json& a) { a["rate"] = "nan"; }), HasSubstr("rate is nan"));
  EXPECT_THAT(said_of("constant", [](json& a) { a["values"][2] = 1e39; }),
              HasSubstr("values: 1e+39 is beyond the numbers of 32 bits"));
  EXPECT_THAT(said_of("constant", [](json& a) { a["values"].push_back(1); }),
              HasSubstr("its shape [2, 2] has 4 elements but there are 5 values"));
  EXPECT_THAT(said_of("axis_map", [](json& a) { a["rows"]["sources"][0] = 5; }),
              HasSubstr("its source 5 is none of the 5 positions before"));
  EXPECT_THAT(said_of("axis_map",
                      [](json& a) {
                        a["rows"]["begins"] = {0, 1LL << 40};
                      }),
              HasSubstr("rows: begins: an integer from -2147483648"));
}

TEST(GraphSummaries, CountSharedParametersOnce) {
  Graph graph;
  const int x = graph.add("x", Input{{5, 5, 2}});
  Convolution node = conv(2, 3);
  node.padding.same = true;
  const int a = graph.add("a", node, {x}, "twin");
  const int b = graph.add("b", node, {a}, "twin");
  const int norm = graph.add("norm", BatchNormalization{}, {b});
  graph.add("dense", Dense{.out = 3}, {graph.add("flat", Flatten{}, {norm})});
  const GraphSummary summary = summary_of(graph);
  ASSERT_EQ(summary.rows.size(), 6);
  EXPECT_EQ(summary.rows[1].kind, "convolution");
  EXPECT_EQ(summary.rows[1].shape, Shape({5, 5, 2}));
  EXPECT_EQ(summary.rows[1].parameters, 3 * 3 * 2 * 2 + 2);
  EXPECT_EQ(summary.rows[1].products, 5 * 5 * 2 * 3 * 3 * 2);
  EXPECT_EQ(summary.rows[1].shared_with, "");
  EXPECT_EQ(summary.rows[2].parameters, 0);
  EXPECT_EQ(summary.rows[2].shared_with, "a");
  EXPECT_EQ(summary.rows[2].products, summary.rows[1].products);
  EXPECT_THAT(summary.rows[2].names, ElementsAre("twin/weight", "twin/bias"));
  EXPECT_EQ(summary.rows[3].parameters, 8);
  EXPECT_EQ(summary.rows[3].statistics, 4);
  EXPECT_EQ(summary.rows[5].products, 150);
  EXPECT_EQ(summary.parameters, 38 + 8 + 153);
  EXPECT_EQ(summary.statistics, 4);
  EXPECT_EQ(summary.products, 2 * 900 + 150);
}

}  // namespace
}  // namespace gentrain::graph
