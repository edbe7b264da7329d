// Nodes of every kind, each behind an input, for both formats of exports.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/core/export_fixture.h"

namespace gentrain::graph {

/// Rows of (source, weight) each.
inline AxisMap axis_map(int axis, std::int64_t from,
                        const std::vector<std::vector<std::pair<int, float>>>& rows,
                        float fill = 0) {
  ops::AxisRows result;
  result.from = from;
  result.fill = fill;
  result.begins.push_back(0);
  for (const auto& row : rows) {
    for (const auto& [source, weight] : row) {
      result.sources.push_back(source);
      result.weights.push_back(weight);
    }
    result.begins.push_back(static_cast<std::int32_t>(result.sources.size()));
  }
  return {axis, std::make_shared<const ops::AxisRows>(std::move(result))};
}

struct ExportCase {
  std::string name;
  Shape input;
  std::function<int(Graph&, int)> add;  // behind the node of the input; returns the output
};

inline ExportCase one_node(const std::string& name, const Shape& input, const NodeKind& kind) {
  return {name, input, [kind](Graph& graph, int x) { return graph.add("y", kind, {x}); }};
}

inline Convolution window(std::int64_t out, std::int64_t h, std::int64_t w) {
  Convolution conv;
  conv.out = out;
  conv.kernel_h = h;
  conv.kernel_w = w;
  return conv;
}

inline TransposedConvolution turned_window(std::int64_t out, std::int64_t kernel) {
  TransposedConvolution conv;
  conv.out = out;
  conv.kernel_h = conv.kernel_w = kernel;
  return conv;
}

inline Pooling pooling_window(std::int64_t h, std::int64_t w) {
  Pooling pooling;
  pooling.window = {h, w};
  return pooling;
}

inline std::vector<ExportCase> window_cases() {
  Convolution same = window(4, 3, 2);
  same.padding.same = true;
  same.stride = {2, 2};
  same.activation = Activation::kTanh;
  Convolution uneven = window(3, 3, 3);
  uneven.padding.explicit_padding = {2, 0, 1, 1};
  uneven.activation = Activation::kRelu;
  Convolution grouped = window(4, 1, 2);
  grouped.groups = 2;
  grouped.bias = false;
  Convolution depthwise = window(8, 3, 3);
  depthwise.groups = 4;
  depthwise.activation = Activation::kSigmoid;
  Convolution dilated = window(2, 3, 3);
  dilated.dilation = {2, 1};
  dilated.padding.same = true;
  TransposedConvolution turned = turned_window(3, 3);
  turned.stride = {2, 2};
  turned.padding = {0, 1, 0, 1};
  turned.to_h = 14;
  turned.to_w = 12;
  TransposedConvolution cut = turned;
  cut.padding = {1, 1, 1, 1};
  cut.to_h = 13;
  cut.to_w = 11;
  Pooling maxima = pooling_window(3, 2);
  maxima.padding.same = true;
  Pooling means = maxima;
  means.pooling = PoolingKind::kAverage;
  return {one_node("same", {7, 6, 4}, same),
          one_node("uneven", {7, 6, 4}, uneven),
          one_node("grouped", {7, 6, 4}, grouped),
          one_node("depthwise", {7, 6, 4}, depthwise),
          one_node("dilated", {7, 6, 4}, dilated),
          one_node("transposed", {7, 6, 4}, turned),
          one_node("transposed_cut", {7, 6, 4}, cut),
          one_node("maxima", {7, 6, 4}, maxima),
          one_node("means", {7, 6, 4}, means),
          one_node("global_means", {7, 6, 4}, GlobalPooling{}),
          one_node("global_maxima", {7, 6, 4}, GlobalPooling{PoolingKind::kMax}),
          {"maxima_of_relu", {7, 6, 4}, [](Graph& graph, int x) {
             const int relu = graph.add("relu", Activate{}, {x});
             Pooling pool = pooling_window(3, 3);
             pool.padding.explicit_padding = {1, 1, 1, 1};
             return graph.add("y", pool, {relu});
           }}};
}

inline std::vector<ExportCase> layer_cases() {
  return {
      one_node("norm", {3, 2, 4}, BatchNormalization{}),
      one_node("norm_of_rows", {4}, BatchNormalization{.gamma = false}),
      one_node("norm_plain", {3, 4}, BatchNormalization{.gamma = false, .beta = false}),
      one_node("dense", {5}, Dense{.out = 3, .activation = Activation::kRelu}),
      one_node("dense_plain", {5}, Dense{.out = 3, .bias = false}),
      one_node("dense_of_maps", {3, 2, 5}, Dense{.out = 3, .activation = Activation::kTanh}),
      one_node("prelu", {3, 2, 4}, Prelu{{1, 1, 4}}),
      one_node("prelu_of_rows", {3, 2, 4}, Prelu{{3, 1, 4}}),
      one_node("flatten", {3, 2, 4}, Flatten{}),
      one_node("reshape", {3, 2, 4}, Reshape{{6, 4}}),
      one_node("permute", {3, 2, 4}, Permute{{2, 0, 1}}),
      one_node("dropout", {3, 2, 4}, Dropout{0.25}),
      one_node("softmax", {3, 2, 4}, Softmax{}),
      one_node("softmax_of_rows", {3, 2, 4}, Softmax{.axis = 0}),
      one_node("log_softmax", {3, 4}, Softmax{.axis = 0, .log = true}),
      one_node("identity", {3, 2, 4}, Identity{}),
      one_node("largest", {3, 2, 4}, LargestAlong{{0, 2}}),
      one_node("padding", {3, 2, 4}, axis_map(0, 3, {{}, {{0, 1}}, {{1, 1}}, {{2, 1}}, {}})),
      one_node("cropping", {3, 2, 4}, axis_map(0, 3, {{{1, 1}}})),
      one_node("repeating", {3, 2, 4}, axis_map(1, 2, {{{0, 1}}, {{0, 1}}, {{1, 1}}, {{1, 1}}})),
      one_node(
          "blending", {3, 2, 4},
          axis_map(1, 2, {{{0, 1}}, {{0, 0.75F}, {1, 0.25F}}, {{0, 0.25F}, {1, 0.75F}}, {{1, 1}}})),
      one_node("picking", {3, 2, 4}, axis_map(2, 4, {{{3, 1}}, {{0, 1}}})),
      one_node("filling", {3, 2, 4}, axis_map(0, 3, {{}, {{2, 0.5F}}, {{0, 1}}}, 1.5F)),
      one_node("mean", {3, 4}, axis_map(0, 3, {{{0, 0.25F}, {1, 0.25F}, {2, 0.5F}}}))};
}

/// Functions that both formats can express.
inline std::vector<ExportCase> function_cases() {
  using Function = PointwiseFunction;
  std::vector<ExportCase> cases;
  const auto add = [&](const std::string& name, const NodeKind& kind) {
    cases.push_back(one_node(name, {2, 3, 4}, kind));
  };
  add("relu", Activate{});
  add("leaky", Activate{.slope = 0.25});
  add("tanh", Activate{Activation::kTanh});
  add("sigmoid", Activate{Activation::kSigmoid});
  add("none", Activate{Activation::kNone});
  add("affine", function(Function::kAffine, 0.5, -2));
  add("relu6", function(Function::kRelu, 0, 0, 0.5));
  add("relu_with_all", function(Function::kRelu, 0.5, 0.25, 0.75));
  add("clip", function(Function::kClip, -0.5, 0.25));
  add("clip_above", function(Function::kClip, -std::numeric_limits<double>::infinity(), 0.25));
  add("clip_below", function(Function::kClip, 0.25, std::numeric_limits<double>::infinity()));
  add("clip_below_0", function(Function::kClip, -0.5, std::numeric_limits<double>::infinity()));
  add("clip_largest", function(Function::kClip, -std::numeric_limits<float>::max(), 0.25));
  add("clip_far", function(Function::kClip, -1e6, 0.25));
  add("clip_to_0", function(Function::kClip, -0.5, 0));
  add("clip_positive", function(Function::kClip, 0.25, 0.5));
  add("elu", function(Function::kElu, 0.5, 1, 1));
  add("celu", function(Function::kElu, 2, 1, 2));
  add("selu", function(Function::kElu, 1.6732632423543772, 1.0507009873554805, 1));
  add("hard_sigmoid", function(Function::kHardSigmoid, 0.2, 0.5));
  add("hard_swish", function(Function::kHardSwish, 1.0 / 6, 0.5));
  add("swish", function(Function::kSwish));
  add("swish_of_2", function(Function::kSwish, 2));
  add("gelu", function(Function::kGelu));
  add("gelu_tanh", function(Function::kGeluTanh));
  add("mish", function(Function::kMish));
  add("softplus", function(Function::kSoftplus));
  add("softplus_of_2", function(Function::kSoftplus, 2));
  add("softsign", function(Function::kSoftsign));
  add("log_sigmoid", function(Function::kLogSigmoid));
  add("exp", function(Function::kExp));
  add("abs", function(Function::kAbs));
  add("cube", function(Function::kPower, 3));
  add("threshold", function(Function::kThreshold, 0.25));
  add("soft_shrink", function(Function::kSoftShrink, 0.25));
  add("hard_shrink", function(Function::kHardShrink, 0.25));
  add("tanh_shrink", function(Function::kTanhShrink));
  return cases;
}

inline Constant values_of_shape(const Shape& shape) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    values.push_back(0.5F + 0.25F * static_cast<float>(i));
  }
  return {shape, std::make_shared<const std::vector<float>>(std::move(values))};
}

/// Functions of two tensors, of a tensor and values, and what takes several tensors.
inline std::vector<ExportCase> binary_cases() {
  using Function = BinaryFunction;
  std::vector<ExportCase> cases;
  for (const Function which : {Function::kAdd, Function::kSubtract, Function::kMultiply,
                               Function::kMaximum, Function::kMinimum}) {
    cases.push_back({fmt::format("{}", name_of(which)), {2, 3, 4}, [which](Graph& graph, int x) {
                       const int other = graph.add("other", Activate{}, {x});
                       return graph.add("y", Binary{which}, {x, other});
                     }});
    cases.push_back(
        {fmt::format("{}_value", name_of(which)), {2, 3, 4}, [which](Graph& graph, int x) {
           const int value = graph.add("value", values_of_shape({}));
           return graph.add("y", Binary{which}, {x, value});
         }});
  }
  for (const Function which : {Function::kAdd, Function::kSubtract, Function::kMultiply}) {
    for (const Shape& shape : {Shape{4}, Shape{3, 1}, Shape{2, 3, 4}}) {
      cases.push_back({fmt::format("{}_{}", name_of(which), shape.str()),
                       {2, 3, 4},
                       [which, shape](Graph& graph, int x) {
                         const int values = graph.add("values", Variable{shape});
                         return graph.add("y", Binary{which}, {values, x});
                       }});
    }
  }
  cases.push_back({"divide_by_values", {2, 3, 4}, [](Graph& graph, int x) {
                     const int values = graph.add("values", values_of_shape({4}));
                     return graph.add("y", Binary{Function::kDivide}, {x, values});
                   }});
  cases.push_back({"gate", {2, 3, 4}, [](Graph& graph, int x) {
                     const int mean = graph.add("mean", GlobalPooling{}, {x});
                     return graph.add("y", Binary{Function::kMultiply}, {x, mean});
                   }});
  cases.push_back({"sum_of_three", {2, 3, 4}, [](Graph& graph, int x) {
                     const int relu = graph.add("relu", Activate{}, {x});
                     return graph.add("y", Addition{}, {x, relu, relu});
                   }});
  for (const int axis : {-1, 0}) {
    cases.push_back({fmt::format("concatenation_{}", axis), {2, 3, 4}, [axis](Graph& graph, int x) {
                       const int conv = graph.add("conv", window(4, 1, 1), {x});
                       return graph.add("y", Concatenation{axis}, {x, conv});
                     }});
  }
  return cases;
}

}  // namespace gentrain::graph
