// Graphs exported to ONNX and imported again: the same outputs, the same arrays, what the file
// says, and what is refused.
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>

#include "core/io/posix_file.h"
#include "core/onnx/model.h"
#include "tests/core/export_cases.h"

namespace gentrain::graph {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class OnnxExport : public ExportFiles {
 protected:
  void expect_cases(const std::vector<ExportCase>& cases) const {
    for (const ExportCase& one : cases) {
      SCOPED_TRACE(one.name);
      expect_same(one.input, one.add, export_onnx, import_onnx);
    }
  }
  [[nodiscard]] onnx::Model parsed() const {
    const io::Bytes file = io::read_file(path_);
    return onnx::onnx_library().parse({file.data.get(), file.size});
  }
};

TEST_F(OnnxExport, WindowsComputeTheSame) {
  expect_cases(window_cases());
}

TEST_F(OnnxExport, LayersComputeTheSame) {
  expect_cases(layer_cases());
}

TEST_F(OnnxExport, FunctionsComputeTheSame) {
  expect_cases(function_cases());
}

TEST_F(OnnxExport, FunctionsOfTwoTensorsComputeTheSame) {
  expect_cases(binary_cases());
}

TEST_F(OnnxExport, FunctionsThatKerasHasNot) {
  using Function = PointwiseFunction;
  const auto behind_exp = [](const NodeKind& kind) {
    return [kind](Graph& graph, int x) {
      return graph.add("y", kind, {graph.add("exp", function(Function::kExp), {x})});
    };
  };
  for (const PointwiseRule& rule :
       {PointwiseRule{Function::kLog}, PointwiseRule{Function::kSqrt},
        PointwiseRule{Function::kErf}, PointwiseRule{Function::kReciprocal},
        PointwiseRule{Function::kPower, -0.5}, PointwiseRule{Function::kThreshold, 1.5, 0.5},
        PointwiseRule{Function::kRelu, -0.5, 1.5}}) {
    SCOPED_TRACE(fmt::format("{}", name_of(rule.function)));
    expect_same({2, 3, 4}, behind_exp(Pointwise{rule}), export_onnx, import_onnx);
  }
  expect_same(
      {2, 3, 4},
      [](Graph& graph, int x) {
        const int exp = graph.add("exp", function(Function::kExp), {x});
        return graph.add("y", Binary{BinaryFunction::kDivide}, {x, exp});
      },
      export_onnx, import_onnx);
  TransposedConvolution large = turned_window(2, 3);
  large.stride = {2, 2};
  large.padding = {1, 0, 0, 0};
  large.to_h = 9;
  large.to_w = 9;
  Pooling pool = pooling_window(3, 3);
  pool.padding.explicit_padding = {1, 0, 1, 0};
  expect_cases({one_node("large", {4, 4, 2}, large), one_node("pool", {6, 6, 2}, pool)});
}

/// Two inputs, shared parameters and a value beside a map.
Graph small_network() {
  Graph graph;
  const int a = graph.add("a", Input{{6, 5, 3}});
  const int b = graph.add("b", Input{{6, 5, 3}});
  const int first = graph.add("first", conv(4, 3), {a}, "tower");
  const int second = graph.add("second", conv(4, 3), {b}, "tower");
  const int sum = graph.add("sum", Addition{}, {first, second});
  const int offset = graph.add("offset", Variable{{4}});
  const int moved = graph.add("moved", Binary{}, {sum, offset});
  const int norm = graph.add("norm", BatchNormalization{}, {moved});
  const int mean = graph.add("mean", GlobalPooling{}, {norm});
  const int dense = graph.add("dense", Dense{.out = 2}, {mean});
  graph.set_outputs({dense, norm});
  return graph;
}

TEST_F(OnnxExport, SharedParametersAndArraysComeBack) {
  const Graph graph = small_network();
  const Values values = random_parameters(graph);
  const ExportedModel model = exported(graph, values);
  export_onnx(model, path_);
  const ImportedModel back = import_onnx(path_);
  const Values arrays = values_of(back);
  EXPECT_EQ(arrays.size(), values.size());
  for (const auto& [name, array] : values) {
    ASSERT_TRUE(arrays.contains(name)) << name;
    EXPECT_EQ(arrays.at(name), array) << name;
  }
  EXPECT_EQ(outputs_of(exported(back, arrays), arrays), outputs_of(model, values));
}

TEST_F(OnnxExport, TheFileSaysWhatItTakesAndGives) {
  const Graph graph = small_network();
  const Values values = random_parameters(graph);
  export_onnx(exported(graph, values), path_);
  const onnx::Model file = parsed();
  EXPECT_EQ(file.producer_name, "gentrain");
  EXPECT_EQ(file.producer_version, "1.2.3");
  EXPECT_EQ(file.name, "model");
  ASSERT_EQ(file.opsets.size(), 1U);
  EXPECT_EQ(file.opsets[0].version, 17);
  ASSERT_EQ(file.inputs.size(), 2U);
  EXPECT_EQ(file.inputs[0].name, "a");
  ASSERT_EQ(file.inputs[0].dims->size(), 4U);
  EXPECT_EQ((*file.inputs[0].dims)[0].symbol, "N");
  EXPECT_EQ((*file.inputs[0].dims)[3].extent, 3);
  ASSERT_EQ(file.outputs.size(), 2U);
  EXPECT_EQ(file.outputs[1].name, "norm");
  const auto kernels = std::ranges::count_if(
      file.initializers, [](const onnx::Tensor& tensor) { return tensor.dims.size() == 4; });
  EXPECT_EQ(kernels, 1);  // of both convolutions
}

TEST_F(OnnxExport, OrdersOfAxesStayThoseOfTheFile) {
  Graph graph;
  const int x = graph.add("x", Input{{5, 6, 3}});
  const int y = graph.add("y", conv(4, 3), {x});
  graph.set_outputs({y});
  const Values values = random_parameters(graph);
  ExportedModel model = exported(graph, values);
  model.inputs[0].axes = {1, 2, 0};  // [3, 5, 6] in the file
  model.outputs[0].axes = {1, 2, 0};
  export_onnx(model, path_);
  const onnx::Model file = parsed();
  EXPECT_EQ((*file.inputs[0].dims)[1].extent, 3);
  EXPECT_EQ((*file.outputs[0].dims)[1].extent, 4);
  for (const onnx::Node& node : file.nodes) {
    EXPECT_NE(node.op_type, "Transpose");
  }
  const ImportedModel back = import_onnx(path_);
  const Values arrays = values_of(back);
  EXPECT_EQ(outputs_of(exported(back, arrays), arrays), outputs_of(model, values));
  model.outputs[0].axes = {-1, 1, 0};
  EXPECT_EQ(test::message_of<JobError>([&] { export_onnx(model, path_); }),
            "y cannot be exported: its samples are rows of several samples");
}

TEST_F(OnnxExport, WhatCannotBeExpressedIsRefused) {
  EXPECT_EQ(refusal(
                {4},
                [](Graph& graph, int x) {
                  const int values = graph.add("values", Variable{{4}});
                  return graph.add("y", Concatenation{}, {x, values});
                },
                export_onnx),
            "y (concatenation) cannot be exported to ONNX: its input values is the same for every "
            "sample");
  EXPECT_EQ(
      refusal(
          {4}, [](Graph& graph, int /*x*/) { return graph.add("y", Variable{{4}}); }, export_onnx),
      "output y cannot be exported to ONNX: it depends on no input");
  EXPECT_THAT(refusal(
                  {3, 3, 2},
                  [](Graph& graph, int x) {
                    return graph.add(
                        "y",
                        axis_map(0, 3, {{}, {{0, 0.5F}}}, -std::numeric_limits<float>::infinity()),
                        {x});
                  },
                  export_onnx),
              EndsWith("it fills single positions with -inf, which is not finite"));
  EXPECT_THAT(
      refusal(
          {8192},
          [](Graph& graph, int x) {
            std::vector<std::vector<std::pair<int, float>>> rows(4096, {{0, 0.5F}});
            return graph.add("y", axis_map(0, 8192, rows), {x});
          },
          export_onnx),
      HasSubstr("4096 positions of 8192 along an axis: a matrix of so many elements is too large"));
}

TEST_F(OnnxExport, AFileThatIsThereIsReplacedOrStays) {
  std::ofstream(path_) << "old";
  Graph graph;
  graph.add("x", Input{{4}});
  graph.set_outputs({graph.add("y", Variable{{4}})});
  const Values values = random_parameters(graph);
  EXPECT_THROW(export_onnx(exported(graph, values), path_), JobError);
  EXPECT_EQ(fs::file_size(path_), 3U);
  Graph plain;
  plain.add("y", Activate{}, {plain.add("x", Input{{4}})});
  export_onnx(exported(plain, values), path_);
  EXPECT_GT(fs::file_size(path_), 3U);
  EXPECT_THAT(test::message_of<IoError>(
                  [&] { export_onnx(exported(plain, values), folder_ / "nowhere/model.onnx"); }),
              HasSubstr("nowhere/model.onnx"));
}

/// What real tools wrote, out and in again.
TEST_F(OnnxExport, RealModelsComeBackWithTheirArrays) {
  const char* root = std::getenv("GENTRAIN_DATA");
  const fs::path models = fs::path(root == nullptr ? "data" : root) / "models";
  if (!fs::is_directory(models)) {
    GTEST_SKIP() << "no folder models in $GENTRAIN_DATA";
  }
  for (const char* name :
       {"onnx/torch_plain_11.onnx", "onnx/torch_residual_17.onnx", "onnx/torch_mobile_11.onnx",
        "onnx/torch_generator_13.onnx", "onnx/torch_pools_18.onnx", "onnx/torch_mixed_17.onnx",
        "keras2/resnet.h5", "keras2/activations.h5", "keras3/two_outputs.h5"}) {
    SCOPED_TRACE(name);
    expect_comes_back(import_model(models / name), export_onnx, import_onnx);
  }
}

}  // namespace
}  // namespace gentrain::graph
