// What imported ONNX models compute, against sums and largest values written out: operators that
// the graph has no node of its own for.
#include <cmath>

#include "tests/core/imported_computation.h"
#include "tests/core/onnx_models.h"

namespace gentrain::onnx {
namespace {

using graph::Computation;

class OnnxValues : public OnnxFiles {
 protected:
  /// One sample's values, and what becomes of them.
  [[nodiscard]] Values computed(const Model& made, const Values& values) const {
    const ImportedModel imported = import(made);
    Extents extents{1};
    for (std::size_t i = 1; i < made.inputs[0].dims->size(); ++i) {
      extents.push_back((*made.inputs[0].dims)[i].extent);
    }
    return Computation(imported).outputs({{Shape(extents), values}})[0].values;
  }
  static void expect_near(const Values& actual, const Values& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    EXPECT_TRUE(test::within(1e-5, {static_cast<std::int64_t>(actual.size())}, actual, expected));
  }
};

TEST_F(OnnxValues, DilatedMaxPool) {
  const Model made =
      model({1, 1, 6}, {node("MaxPool", {"x"}, {"y"},
                             {integers("kernel_shape", {1, 3}), integers("dilations", {1, 2}),
                              integers("pads", {0, 1, 0, 1})})});
  // windows see -1, 1, 3; 0, 2, 4; 1, 3, 5; 2, 4, 6
  expect_near(computed(made, {-9, -5, -7, -6, -1, -8}), {-5, -1, -5, -1});
}

TEST_F(OnnxValues, AveragesCountPaddingIfTheySaySo) {
  const auto with = [](std::int64_t counts) {
    return model({1, 2, 2}, {node("AveragePool", {"x"}, {"y"},
                                  {integers("kernel_shape", {2, 2}), integers("pads", {1, 1, 0, 0}),
                                   integer("count_include_pad", counts)})});
  };
  expect_near(computed(with(1), {4, 8, 12, 16}), {1, 3, 4, 10});
  expect_near(computed(with(0), {4, 8, 12, 16}), {4, 6, 8, 10});
}

TEST_F(OnnxValues, WindowsThatBeginBehindTheImageAreLeftOut) {
  const Model made =
      model({1, 1, 5}, {node("MaxPool", {"x"}, {"y"},
                             {integers("kernel_shape", {1, 1}), integers("strides", {1, 3}),
                              integer("ceil_mode", 1)})});
  expect_near(computed(made, {1, 2, 3, 4, 5}), {1, 4});
}

TEST_F(OnnxValues, InstanceNormalization) {
  const Model made =
      model({2, 1, 2},
            {node("InstanceNormalization", {"x", "s", "b"}, {"y"}, {number("epsilon", 0.25F)})},
            {reals("s", {2}, {1, 2}), reals("b", {2}, {0, 5})});
  const double factor = 1 / std::sqrt(1.25);
  expect_near(computed(made, {1, 3, 8, 6}), {-factor, factor, 5 + 2 * factor, 5 - 2 * factor});
}

TEST_F(OnnxValues, LocalResponses) {
  const Model made =
      model({3, 1, 1},
            {node("LRN", {"x"}, {"y"},
                  {integer("size", 2), number("alpha", 2), number("beta", 1), number("bias", 1)})});
  expect_near(computed(made, {1, 2, 3}), {1.0 / 6, 2.0 / 14, 3.0 / 10});
}

TEST_F(OnnxValues, ChoicesByComparison) {
  const auto with = [](const char* comparison) {
    return model({4},
                 {node(comparison, {"x", "k"}, {"c"}), node("Neg", {"x"}, {"n"}),
                  node("Where", {"c", "x", "n"}, {"y"})},
                 {reals("k", {}, {2})});
  };
  const Values x{1, 2, 2.000001, -5};
  expect_near(computed(with("Greater"), x), {-1, -2, 2.000001, 5});
  expect_near(computed(with("GreaterOrEqual"), x), {-1, 2, 2.000001, 5});
  expect_near(computed(with("Less"), x), {1, -2, -2.000001, -5});
  expect_near(computed(with("LessOrEqual"), x), {1, 2, -2.000001, -5});
}

TEST_F(OnnxValues, FunctionsOfConstantsAlone) {
  const Model made =
      model({2},
            {node("Sum", {"a", "a", "b"}, {"s"}), node("Max", {"a", "a", "b"}, {"m"}),
             node("Relu", {"s"}, {"r"}), node("Abs", {"m"}, {"p"}), node("Add", {"r", "p"}, {"c"}),
             node("Add", {"x", "c"}, {"y"})},
            {reals("a", {2}, {-3, -1}), reals("b", {2}, {-2, 7})});
  // sums -8, 5; largest -2, 7
  expect_near(computed(made, {10, 20}), {12, 32});
}

TEST_F(OnnxValues, ComparisonsOfTheSmallestNumbers) {
  const Model made =
      model({3}, {node("Greater", {"x", "k"}, {"c"}), node("Where", {"c", "a", "b"}, {"y"})},
            {reals("k", {}, {0}), reals("a", {1}, {1}), reals("b", {1}, {-1})});
  expect_near(computed(made, {2e-38, 0, -2e-38}), {1, -1, -1});
}

/// exp(x) is infinite where it is not chosen.
TEST_F(OnnxValues, ChoicesBesideInfinities) {
  const Model made = model({3},
                           {node("Greater", {"x", "k"}, {"c"}), node("Exp", {"x"}, {"e"}),
                            node("Where", {"c", "x", "e"}, {"y"})},
                           {reals("k", {}, {0})});
  expect_near(computed(made, {100, 1, 0}), {100, 1, 1});
}

/// Extents beside one of 0 may be any: nothing is gone through.
TEST_F(OnnxValues, NothingOfManyRowsIsReadAtOnce) {
  const Model made =
      model({1},
            {node("ConstantOfShape", {"s"}, {"none"}),
             node("Concat", {"none", "none"}, {"both"}, {integer("axis", 1)}),
             node("Slice", {"both", "zero", "zero", "one"}, {"part"}),
             node("Shape", {"part"}, {"shape"}), node("Gather", {"shape", "one"}, {"extent"}),
             node("Cast", {"extent"}, {"number"}, {integer("to", 1)}),
             node("Add", {"x", "number"}, {"y"})},
            {list("s", {std::int64_t{1} << 40, 0}), list("zero", {0}), list("one", {1})});
  expect_near(computed(made, {3}), {3});
}

TEST_F(OnnxValues, ResizedAlongOneAxis) {
  const auto with = [](const char* mode, const char* coordinates) {
    return model({1, 1, 2},
                 {node("Resize", {"x", "", "scales"}, {"y"},
                       {text("mode", mode), text("coordinate_transformation_mode", coordinates)})},
                 {reals("scales", {4}, {1, 1, 1, 2})});
  };
  expect_near(computed(with("linear", "half_pixel"), {0, 4}), {0, 1, 3, 4});
  expect_near(computed(with("linear", "asymmetric"), {0, 4}), {0, 2, 4, 4});
  expect_near(computed(with("linear", "align_corners"), {0, 3}), {0, 1, 2, 3});
  expect_near(computed(with("nearest", "half_pixel"), {0, 4}), {0, 0, 4, 4});
}

TEST_F(OnnxValues, SoftmaxOfTheOldOperatorsIsOverAllAxesBehind) {
  const Node softmax = node("Softmax", {"x"}, {"y"});
  const double all = 1 + std::exp(1) + 2 * std::exp(2);
  expect_near(computed(model({2, 2}, {softmax}, {}, 11), {0, 1, 2, 2}),
              {1 / all, std::exp(1) / all, std::exp(2) / all, std::exp(2) / all});
  const double row = 1 + std::exp(1);
  expect_near(computed(model({2, 2}, {softmax}, {}, 13), {0, 1, 2, 2}),
              {1 / row, std::exp(1) / row, 0.5, 0.5});
}

TEST_F(OnnxValues, ProductsAlongAnyAxis) {
  const Tensor w = reals("w", {1, 2}, {1, 10});
  expect_near(computed(model({2, 3}, {node("MatMul", {"w", "x"}, {"y"})}, {w}), {1, 2, 3, 4, 5, 6}),
              {41, 52, 63});
  Model turned = model({2},
                       {node("Transpose", {"x"}, {"t"}),
                        node("Gemm", {"t", "w"}, {"y"},
                             {integer("transA", 1), integer("transB", 1), number("alpha", 2)})},
                       {w});
  expect_near(computed(turned, {3, 4}), {86});
}

TEST_F(OnnxValues, SlicesWithStepsOfEitherSign) {
  const Model made = model({5}, {node("Slice", {"x", "b", "e", "a", "s"}, {"y"})},
                           {list("b", {-1}), list("e", {std::numeric_limits<std::int64_t>::min()}),
                            list("a", {1}), list("s", {-2})});
  expect_near(computed(made, {1, 2, 3, 4, 5}), {5, 3, 1});
}

}  // namespace
}  // namespace gentrain::onnx
