// Graphs exported to Keras's whole models and imported again: the same outputs, the same arrays,
// and what is refused.
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>

#include "core/io/keras_model_file.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "tests/core/export_cases.h"

namespace gentrain::graph {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class KerasExport : public ExportFiles {
 protected:
  void expect_cases(const std::vector<ExportCase>& cases) const {
    for (const ExportCase& one : cases) {
      SCOPED_TRACE(one.name);
      expect_same(one.input, one.add, export_keras, import_keras);
    }
  }
  [[nodiscard]] std::string refused(const Shape& input, const NodeKind& kind) const {
    return refusal(
        input, [&](Graph& graph, int x) { return graph.add("y", kind, {x}); }, export_keras);
  }
  [[nodiscard]] std::string hash() const {
    const io::Bytes file = io::read_file(path_);
    return io::sha256(std::as_bytes(std::span(file.data.get(), file.size)));
  }
};

TEST_F(KerasExport, WindowsComputeTheSame) {
  expect_cases(window_cases());
}

TEST_F(KerasExport, LayersComputeTheSame) {
  expect_cases(layer_cases());
}

TEST_F(KerasExport, FunctionsComputeTheSame) {
  expect_cases(function_cases());
}

TEST_F(KerasExport, FunctionsOfTwoTensorsComputeTheSame) {
  expect_cases(binary_cases());
}

/// Two inputs and outputs, shared parameters, names that Keras does not take.
Graph network() {
  Graph graph;
  const int a = graph.add("a", Input{{6, 5, 3}});
  const int b = graph.add("b", Input{{6, 5, 3}});
  const int first = graph.add("tower/conv", conv(4, 3), {a});
  const int second = graph.add("tower:1/conv", conv(4, 3), {b}, "tower/conv");
  const int sum = graph.add("sum", Addition{}, {first, second});
  const int norm = graph.add("norm", BatchNormalization{}, {sum});
  const int mean = graph.add("mean", GlobalPooling{}, {norm});
  const int dense = graph.add("dense", Dense{.out = 2}, {mean});
  graph.set_outputs({dense, norm});
  return graph;
}

TEST_F(KerasExport, NamesSharedLayersAndArraysComeBack) {
  const Graph graph = network();
  const Values values = random_parameters(graph);
  const ExportedModel model = exported(graph, values);
  export_keras(model, path_);
  const ImportedModel back = import_keras(path_);
  EXPECT_EQ(back.writer, "Keras 2.15.0");
  const Values arrays = values_of(back);
  EXPECT_EQ(arrays.size(), values.size());
  for (const auto& [name, array] : values) {
    const std::string there = name.starts_with("tower/") ? "tower_" + name.substr(6) : name;
    ASSERT_TRUE(arrays.contains(there)) << there;
    EXPECT_EQ(arrays.at(there), array) << name;
  }
  ASSERT_EQ(back.inputs.size(), 2U);
  EXPECT_EQ(back.inputs[1].name, "b");
  ASSERT_EQ(back.outputs.size(), 2U);
  EXPECT_EQ(back.outputs[0].name, "dense");
  EXPECT_EQ(outputs_of(exported(back, arrays), arrays), outputs_of(model, values));
}

TEST_F(KerasExport, OrdersOfAxesStayThoseOfTheFile) {
  Graph graph;
  const int x = graph.add("x", Input{{5, 6, 3}});
  const int y = graph.add("y", conv(4, 3), {x});
  graph.set_outputs({y});
  const Values values = random_parameters(graph);
  ExportedModel model = exported(graph, values);
  model.inputs[0].axes = {1, 2, 0};  // [3, 5, 6] in the file
  model.outputs[0].axes = {1, 2, 0};
  export_keras(model, path_);
  const ImportedModel back = import_keras(path_);
  const Values arrays = values_of(back);
  EXPECT_EQ(back.graph.node(back.inputs[0].node).shape, (Shape{3, 5, 6}));
  EXPECT_EQ(back.graph.node(back.outputs[0].node).shape, (Shape{4, 3, 4}));
  expect_near(outputs_of(exported(back, arrays), arrays), outputs_of(model, values));
  model.outputs[0].axes = {-1, 1, 0};
  EXPECT_EQ(test::message_of<JobError>([&] { export_keras(model, path_); }),
            "y cannot be exported: its samples are rows of several samples");
}

TEST_F(KerasExport, TheSameModelGivesTheSameBytes) {
  const Graph graph = network();
  const Values values = random_parameters(graph);
  export_keras(exported(graph, values), path_);
  const std::string first = hash();
  export_keras(exported(graph, values), path_);
  EXPECT_EQ(hash(), first);
  Values others = values;
  others.at("dense/bias")[0] += 1;
  export_keras(exported(graph, others), path_);
  EXPECT_NE(hash(), first);
}

TEST_F(KerasExport, WhatKerasHasNoLayerForIsRefused) {
  Convolution sparse = window(2, 3, 3);
  sparse.stride = {2, 2};
  sparse.dilation = {2, 2};
  EXPECT_EQ(
      refused({9, 9, 3}, sparse),
      "y (convolution) cannot be exported to Keras: stride 2 x 2 beside dilation 2 x 2: Keras "
      "takes one of them");
  TransposedConvolution grouped = turned_window(2, 1);
  grouped.to_h = grouped.to_w = 3;
  grouped.groups = 2;
  EXPECT_THAT(refused({3, 3, 2}, grouped), EndsWith("it has 2 groups, Keras's Conv2DTranspose has "
                                                    "one"));
  TransposedConvolution large = turned_window(2, 3);
  large.stride = {2, 2};
  large.padding = {1, 0, 0, 0};
  large.to_h = 9;
  large.to_w = 9;
  EXPECT_THAT(refused({4, 4, 2}, large), HasSubstr("Keras makes no more than 9 x 9"));
  Pooling pool = pooling_window(3, 3);
  pool.padding.explicit_padding = {1, 0, 1, 0};
  EXPECT_THAT(refused({6, 6, 2}, pool), HasSubstr("its padding of [1, 0, 1, 0] is left out of "
                                                  "maxima"));
  pool.pooling = PoolingKind::kAverage;
  EXPECT_THAT(refused({6, 6, 2}, pool), HasSubstr("is left out of means"));
  EXPECT_THAT(refused({4}, function(PointwiseFunction::kErf)),
              EndsWith("Keras 2 and 3 have no layer for the function erf"));
  EXPECT_THAT(refused({4}, function(PointwiseFunction::kPower, 0.5)), EndsWith("the power 0.5"));
  EXPECT_THAT(refused({4}, function(PointwiseFunction::kThreshold, -1, 2)),
              EndsWith("a threshold -1 below which all is 2"));
  EXPECT_THAT(refused({4}, function(PointwiseFunction::kRelu, -1)),
              HasSubstr("a relu of slope -1"));
  EXPECT_THAT(
      refused({3, 3, 2}, axis_map(0, 3, {{}, {{0, 1}}}, -std::numeric_limits<float>::infinity())),
      EndsWith("it fills positions with -inf: Keras's padding is finite"));
}

TEST_F(KerasExport, FunctionsOfTwoTensorsThatAreRefused) {
  const auto of_values = [&](BinaryFunction which, const Shape& shape, bool first) {
    return refusal(
        {2, 3, 4},
        [&](Graph& graph, int x) {
          const int values = graph.add("values", values_of_shape(shape));
          return graph.add("y", Binary{which},
                           first ? std::vector<int>{values, x} : std::vector<int>{x, values});
        },
        export_keras);
  };
  EXPECT_THAT(of_values(BinaryFunction::kDivide, {}, true),
              EndsWith("dividing by a tensor, or by 0"));
  EXPECT_THAT(of_values(BinaryFunction::kMaximum, {4}, false),
              EndsWith("the function maximum of a tensor and several values"));
  EXPECT_THAT(of_values(BinaryFunction::kAdd, {5, 2, 3, 4}, false),
              HasSubstr("repeating [2, 3, 4] along axes of values [5, 2, 3, 4]"));
  EXPECT_THAT(refusal(
                  {4},
                  [](Graph& graph, int x) {
                    const int other = graph.add("other", Activate{}, {x});
                    return graph.add("y", Binary{BinaryFunction::kDivide}, {x, other});
                  },
                  export_keras),
              EndsWith("Keras has no layer that divides one tensor by another"));
  EXPECT_THAT(refusal(
                  {4},
                  [](Graph& graph, int x) {
                    const int values = graph.add("values", Variable{{4}});
                    return graph.add("y", Concatenation{}, {x, values});
                  },
                  export_keras),
              HasSubstr("it reads values (variable), which is the same for every sample"));
  EXPECT_EQ(
      refusal(
          {4}, [](Graph& graph, int /*x*/) { return graph.add("y", Variable{{4}}); }, export_keras),
      "output y cannot be exported to Keras: it depends on no input");
}

TEST_F(KerasExport, AFileThatIsThereIsReplacedOrStays) {
  std::ofstream(path_) << "old";
  Graph graph;
  const int x = graph.add("x", Input{{4}});
  graph.add("y", function(PointwiseFunction::kErf), {x});
  const Values none;
  EXPECT_THROW(export_keras(exported(graph, none), path_), JobError);
  EXPECT_EQ(fs::file_size(path_), 3U);
  Graph plain;
  plain.add("y", Activate{}, {plain.add("x", Input{{4}})});
  export_keras(exported(plain, none), path_);
  EXPECT_GT(fs::file_size(path_), 3U);
  EXPECT_THAT(test::message_of<IoError>(
                  [&] { export_keras(exported(plain, none), folder_ / "nowhere/model.h5"); }),
              HasSubstr("nowhere/model.h5"));
}

TEST_F(KerasExport, ArraysMustHaveAsManyValuesAsTheirShapes) {
  io::KerasModelFile file;
  file.layers.push_back({"dense", {{"dense/kernel:0", {2, 3}, [] { return std::vector{1.0F}; }}}});
  EXPECT_EQ(test::message_of<ShapeError>([&] { io::write_keras_model(path_, file); }),
            path_.string() + ": array dense/kernel:0 has 1 values but the shape [2, 3]");
  EXPECT_FALSE(fs::exists(path_));
}

/// What real Keras wrote, out and in again.
TEST_F(KerasExport, RealModelsComeBackWithTheirArrays) {
  const char* root = std::getenv("GENTRAIN_DATA");
  const fs::path models = fs::path(root == nullptr ? "data" : root) / "models/keras2";
  if (!fs::is_directory(models)) {
    GTEST_SKIP() << "no folder models in $GENTRAIN_DATA";
  }
  for (const char* name : {"resnet", "inception", "depthwise", "grouped", "transpose", "pooling",
                           "shared", "two_outputs", "activations", "mobilenet"}) {
    SCOPED_TRACE(name);
    const ImportedModel model = import_keras(models / (std::string(name) + ".h5"));
    const Values arrays = expect_comes_back(model, export_keras, import_keras);
    EXPECT_EQ(arrays.size(), values_of(model).size());
  }
}

}  // namespace
}  // namespace gentrain::graph
