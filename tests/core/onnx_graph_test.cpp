// What graphs ONNX models become: orders of axes, names, shared and fused parameters, shapes that
// are computed, constants of every type.
#include <bit>
#include <cmath>

#include "tests/core/onnx_models.h"

namespace gentrain::onnx {
namespace {

using graph::ImportedArray;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;

class OnnxGraph : public OnnxFiles {};

std::vector<std::string> parameters_of(const ImportedModel& imported) {
  std::vector<std::string> names;
  for (const ImportedArray& array : imported.arrays) {
    names.push_back(array.parameter);
  }
  return names;
}

std::vector<std::string> layers_of(const ImportedModel& imported) {
  std::vector<std::string> names;
  for (const graph::ImportedTensor& layer : imported.layers) {
    names.push_back(layer.name);
  }
  return names;
}

Shape output_shape(const ImportedModel& imported) {
  return imported.graph.node(imported.outputs[0].node).shape;
}

TEST_F(OnnxGraph, ImagesAreKeptWithChannelsLast) {
  const ImportedModel imported =
      import(model({3, 8, 9}, {node("Conv", {"x", "w"}, {"c"}), node("Relu", {"c"}, {"y"})},
                   {ramp("w", {2, 3, 2, 2})}));
  EXPECT_THAT(kinds_of(imported.graph), ElementsAre("input", "convolution", "relu"));
  EXPECT_EQ(imported.graph.node(0).shape, Shape({8, 9, 3}));
  EXPECT_EQ(output_shape(imported), Shape({7, 8, 2}));
  EXPECT_THAT(imported.inputs[0].axes, ElementsAre(1, 2, 0));
  EXPECT_THAT(imported.outputs[0].axes, ElementsAre(1, 2, 0));
  ASSERT_THAT(parameters_of(imported), ElementsAre("c/weight"));
  EXPECT_EQ(imported.arrays[0].shape, Shape({2, 2, 2, 3}));
  // [0, 0, 0] of the file's channels 0, 1, 2, which are 4 elements apart
  EXPECT_THAT(std::vector(imported.arrays[0].values.begin(), imported.arrays[0].values.begin() + 3),
              ElementsAre(0.5F, 2.5F, 4.5F));
  EXPECT_EQ(imported.writer, "ONNX opset 17, test 1.0");
  EXPECT_EQ(imported.sha256.size(), 64);
  EXPECT_THAT(imported.training_only, IsEmpty());
}

TEST_F(OnnxGraph, TransposesOfPixelsMakeNoNodes) {
  const ImportedModel imported =
      import(model({8, 9, 3},
                   {node("Mul", {"x", "k"}, {"m"}),
                    node("Transpose", {"m"}, {"t"}, {integers("perm", {0, 3, 1, 2})}),
                    node("Conv", {"t", "w"}, {"c"}),
                    node("Transpose", {"c"}, {"y"}, {integers("perm", {0, 2, 3, 1})})},
                   {reals("k", {}, {2}), ramp("w", {2, 3, 2, 2})}));
  EXPECT_THAT(kinds_of(imported.graph), ElementsAre("input", testing::_, "convolution"));
  EXPECT_EQ(imported.graph.node(0).shape, Shape({8, 9, 3}));
  EXPECT_THAT(imported.inputs[0].axes, ElementsAre(0, 1, 2));
  EXPECT_THAT(imported.outputs[0].axes, ElementsAre(0, 1, 2));
}

TEST_F(OnnxGraph, TheShortAxisIsTheChannelsWhereNothingSaysIt) {
  const Node flatten = node("Flatten", {"x"}, {"y"});
  EXPECT_THAT(import(model({28, 28, 1}, {flatten})).inputs[0].axes, ElementsAre(0, 1, 2));
  EXPECT_THAT(import(model({1, 28, 28}, {flatten})).inputs[0].axes, ElementsAre(1, 2, 0));
}

TEST_F(OnnxGraph, FlattenBehindAGlobalPoolMovesNothing) {
  const ImportedModel imported =
      import(model({3, 8, 9},
                   {node("GlobalAveragePool", {"x"}, {"g"}), node("Flatten", {"g"}, {"f"}),
                    node("Gemm", {"f", "w"}, {"y"}, {integer("transB", 1)})},
                   {ramp("w", {4, 3})}));
  EXPECT_EQ(imported.graph.node(imported.outputs[0].node).inputs[0], imported.graph.find("g"));
  EXPECT_EQ(output_shape(imported), Shape({4}));
}

TEST_F(OnnxGraph, MatMulAndAddAreOneDenseLayer) {
  const std::vector<Tensor> weights{ramp("w", {3, 2}), ramp("b", {2})};
  const ImportedModel imported = import(
      model({3}, {node("MatMul", {"x", "w"}, {"m"}), node("Add", {"b", "m"}, {"y"})}, weights));
  EXPECT_THAT(kinds_of(imported.graph), ElementsAre("input", "dense"));
  EXPECT_THAT(parameters_of(imported), ElementsAre("m/weight", "m/bias"));
  EXPECT_EQ(imported.arrays[0].shape, Shape({2, 3}));
  EXPECT_THAT(imported.arrays[0].values, ElementsAre(0.5F, 1.5F, 2.5F, 1.0F, 2.0F, 3.0F));
  EXPECT_THAT(layers_of(imported), ElementsAre("x", "y"));

  const ImportedModel twice =
      import(model({3},
                   {node("MatMul", {"x", "w"}, {"m"}), node("Add", {"m", "b"}, {"a"}),
                    node("Mul", {"a", "m"}, {"y"})},
                   weights));
  EXPECT_THAT(parameters_of(twice), ElementsAre("m/weight", "b/value"));
}

TEST_F(OnnxGraph, NodesOfOneWeightShareIt) {
  const ImportedModel imported =
      import(model({2, 8, 9},
                   {node("Conv", {"x", "w", "b"}, {"c"}), node("Conv", {"c", "w", "b"}, {"d"}),
                    node("Conv", {"d", "w"}, {"y"})},
                   {ramp("w", {2, 2, 1, 1}), ramp("b", {2})}));
  EXPECT_THAT(parameters_of(imported), ElementsAre("c/weight", "c/bias", "y/weight"));
  EXPECT_EQ(imported.graph.node(imported.graph.find("d")).parameters, "c");
  EXPECT_EQ(imported.graph.node(imported.graph.find("y")).parameters, "y");
}

TEST_F(OnnxGraph, AMatrixAndItsTransposeAreTwoParameters) {
  const ImportedModel imported =
      import(model({2},
                   {node("Gemm", {"x", "w"}, {"a"}), node("Gemm", {"a", "w"}, {"b"}),
                    node("Gemm", {"b", "w"}, {"y"}, {integer("transB", 1)})},
                   {ramp("w", {2, 2})}));
  EXPECT_THAT(parameters_of(imported), ElementsAre("a/weight", "y/weight"));
}

TEST_F(OnnxGraph, NamesAreTheFilesMadeUnique) {
  Model made = model({3}, {node("Relu", {"x"}, {"x1"}), node("Relu", {"x1"}, {"x2"}),
                           node("Relu", {"x2"}, {"y"})});
  made.nodes[0].name = "x";
  made.nodes[1].name = "x";
  const ImportedModel imported = import(made);
  EXPECT_EQ(imported.graph.node(1).name, "x_2");
  EXPECT_EQ(imported.graph.node(2).name, "x_3");
  EXPECT_EQ(imported.graph.node(3).name, "y");
  EXPECT_THAT(layers_of(imported), ElementsAre("x", "x1", "x2", "y"));
}

TEST_F(OnnxGraph, NumbersArePartOfTheFunctionAndRowsTrain) {
  const ImportedModel imported =
      import(model({3, 4, 5}, {node("Add", {"x", "k"}, {"a"}), node("Mul", {"c", "a"}, {"y"})},
                   {reals("k", {1}, {2}), ramp("c", {3, 1, 1})}));
  EXPECT_THAT(kinds_of(imported.graph), ElementsAre("input", testing::_, "variable", testing::_));
  ASSERT_THAT(parameters_of(imported), ElementsAre("c/value"));
  EXPECT_EQ(imported.arrays[0].shape, Shape({1, 1, 3}));
}

TEST_F(OnnxGraph, NodesNeedNotBeSorted) {
  EXPECT_THAT(
      kinds_of(import(model({3}, {node("Tanh", {"a"}, {"y"}), node("Relu", {"x"}, {"a"})})).graph),
      ElementsAre("input", "relu", "tanh"));
}

TEST_F(OnnxGraph, WhatNoOutputNeedsIsLeftOut) {
  const ImportedModel imported =
      import(model({3}, {node("Relu", {"x"}, {"y"}), node("NobodyKnows", {"x", "w"}, {"z"})},
                   {{"w", ElementType::kString, {1}, "", false, {}}}));
  EXPECT_THAT(kinds_of(imported.graph), ElementsAre("input", "relu"));
}

TEST_F(OnnxGraph, OutputsAreNodesOfTheirOwn) {
  Model made = model({3}, {node("Relu", {"x"}, {"y"}), node("Identity", {"y"}, {"z"})});
  made.outputs = {value("y", {-1}), value("z", {-1}), value("x", {-1})};
  const ImportedModel imported = import(made);
  EXPECT_THAT(kinds_of(imported.graph), ElementsAre("input", "relu", "identity", "identity"));
  ASSERT_EQ(imported.outputs.size(), 3);
  EXPECT_EQ(imported.outputs[2].name, "x");
  EXPECT_EQ(imported.graph.outputs().size(), 3);
}

TEST_F(OnnxGraph, ShapesAreComputedWithSamplesUnknown) {
  const ImportedModel imported =
      import(model({3, 4, 5},
                   {node("Shape", {"x"}, {"s"}), node("Gather", {"s", "zero"}, {"n"}),
                    node("Unsqueeze", {"n", "axes"}, {"n1"}),
                    node("Concat", {"n1", "rest"}, {"to"}, {integer("axis", 0)}),
                    node("Reshape", {"x", "to"}, {"y"})},
                   {{"zero", ElementType::kInt64, {}, bytes_of(Extents{0}), false, {}},
                    list("axes", {0}),
                    list("rest", {2, -1})}));
  EXPECT_EQ(output_shape(imported), Shape({2, 30}));
}

TEST_F(OnnxGraph, SamplesMayTakeAxesIntoThem) {
  const ImportedModel imported =
      import(model({3, 4, 5}, {node("Flatten", {"x"}, {"y"}, {integer("axis", 2)})}));
  EXPECT_EQ(output_shape(imported), Shape({3, 20}));
  EXPECT_THAT(imported.outputs[0].axes, ElementsAre(-1, 0));

  const ImportedModel back =
      import(model({3, 4, 5},
                   {node("Reshape", {"x", "rows"}, {"r"}), node("MatMul", {"r", "w"}, {"m"}),
                    node("Reshape", {"m", "all"}, {"y"})},
                   {list("rows", {-1, 5}), ramp("w", {5, 2}), list("all", {-1, 3, 4, 2})}));
  EXPECT_EQ(output_shape(back), Shape({3, 4, 2}));
  EXPECT_THAT(back.outputs[0].axes, ElementsAre(0, 1, 2));
}

TEST_F(OnnxGraph, AFixedNumberOfSamplesIsRecognised) {
  Model made = model({3, 4}, {node("Reshape", {"x", "to"}, {"y"})}, {list("to", {6, 12})});
  made.inputs[0] = value("x", {6, 3, 4});
  const ImportedModel imported = import(made);
  EXPECT_EQ(output_shape(imported), Shape({12}));
  EXPECT_THAT(imported.outputs[0].axes, ElementsAre(0));
}

TEST_F(OnnxGraph, WeightsAsInputsAreNoInputs) {
  Model made = model({2, 4, 4}, {node("Conv", {"x", "w"}, {"y"})}, {ramp("w", {1, 2, 1, 1})}, 9);
  made.inputs.push_back(value("w", {1, 2, 1, 1}));
  EXPECT_EQ(import(made).inputs.size(), 1);
}

TEST_F(OnnxGraph, LongNamesAreCutBetweenCharacters) {
  const auto name_of = [](int characters) {
    std::string name = "x";
    for (int i = 0; i < characters; ++i) {
      name += "\xc3\xa4";
    }
    return name;
  };
  Model made = model({2}, {node("Relu", {"x"}, {"y"})});
  made.nodes[0].name = name_of(300);
  const ImportedModel imported = import(made);
  EXPECT_EQ(imported.graph.node(imported.outputs[0].node).name, name_of(255)) << "of 511 bytes";
}

/// The bits of a type of 16 bits.
std::vector<std::uint16_t> bits(std::initializer_list<int> values) {
  return {values.begin(), values.end()};
}

TEST_F(OnnxGraph, EveryFloatTypeBecomesSinglePrecision) {
  const auto values_of = [&](Tensor tensor) {
    tensor.name = "w";
    const auto extent = static_cast<std::int64_t>(tensor.dims[0]);
    return import(model({extent}, {node("Mul", {"x", "w"}, {"y"})}, {std::move(tensor)}))
        .arrays[0]
        .values;
  };
  const std::vector<float> expected{1, -2.5F, std::ldexp(1.0F, -24), 65504};
  EXPECT_THAT(values_of({"",
                         ElementType::kFloat16,
                         {4},
                         bytes_of(bits({0x3c00, 0xc100, 0x0001, 0x7bff})),
                         false,
                         {}}),
              ElementsAreArray(expected));
  EXPECT_THAT(values_of({"", ElementType::kDouble, {2}, bytes_of(Values{0.1, -3}), false, {}}),
              ElementsAre(0.1F, -3.0F));
  EXPECT_THAT(
      values_of({"", ElementType::kBfloat16, {2}, bytes_of(bits({0x3fc0, 0xc080})), false, {}}),
      ElementsAre(1.5F, -4.0F));
}

TEST_F(OnnxGraph, ExternalDataLieBesideTheModel) {
  Model made = model({2}, {node("Mul", {"x", "w"}, {"y"})},
                     {{"w",
                       ElementType::kFloat,
                       {2},
                       "",
                       true,
                       {{"location", "weights.bin"}, {"offset", "4"}, {"length", "8"}}}});
  write(bytes_of(std::vector<float>{1, 2, 3}), "weights.bin");
  EXPECT_THAT(import(made).arrays[0].values, ElementsAre(2.0F, 3.0F));
  made.initializers[0].external_data = {{"location", "weights.bin"}};  // from 0 on, all
  EXPECT_THAT(import(made).arrays[0].values, ElementsAre(1.0F, 2.0F));
}

TEST_F(OnnxGraph, TheHashCoversExternalData) {
  const Model made = model({2}, {node("Mul", {"x", "w"}, {"y"})},
                           {{"w", ElementType::kFloat, {2}, "", true, {{"location", "w.bin"}}}});
  write(bytes_of(std::vector<float>{1, 2}), "w.bin");
  const std::string first = import(made).sha256;
  EXPECT_EQ(first.size(), 64);
  EXPECT_EQ(import(made).sha256, first);
  write(bytes_of(std::vector<float>{1, 3}), "w.bin");
  EXPECT_NE(import(made).sha256, first);
}

}  // namespace
}  // namespace gentrain::onnx
