// The attributes of each kind of node, once for all that writes and reads them: fields(io, node)
// calls io(name, value) for each. A new kind has its list here and its name in kKinds.
#pragma once

#include <array>
#include <string_view>
#include <type_traits>
#include <variant>

#include "core/graph/kinds.h"

namespace gentrain::graph {

/// Names in files, in the order of NodeKind.
constexpr std::array<std::string_view, 23> kKinds = {"input",
                                                     "constant",
                                                     "variable",
                                                     "convolution",
                                                     "transposed_convolution",
                                                     "batch_normalization",
                                                     "activation",
                                                     "pointwise",
                                                     "prelu",
                                                     "binary",
                                                     "pooling",
                                                     "global_pooling",
                                                     "dense",
                                                     "flatten",
                                                     "reshape",
                                                     "permute",
                                                     "axis_map",
                                                     "largest_along",
                                                     "dropout",
                                                     "concatenation",
                                                     "addition",
                                                     "softmax",
                                                     "identity"};
static_assert(kKinds.size() == std::variant_size_v<NodeKind>);

inline std::string_view name_of(PoolingKind kind) {
  return kind == PoolingKind::kMax ? "max" : "average";
}

/// The last value of an enumeration, all of which begin at 0 and have names.
constexpr Activation last_of(Activation /*unused*/) {
  return Activation::kSigmoid;
}
constexpr PoolingKind last_of(PoolingKind /*unused*/) {
  return PoolingKind::kAverage;
}
constexpr BinaryFunction last_of(BinaryFunction /*unused*/) {
  return BinaryFunction::kMinimum;
}
constexpr PointwiseFunction last_of(PointwiseFunction /*unused*/) {
  return PointwiseFunction::kTanhShrink;
}

template <class Io>
void fields(Io& io, PaddingRule& rule) {
  io("same", rule.same);
  io("explicit", rule.explicit_padding);
}
template <class Io>
void fields(Io& io, ops::AxisRows& rows) {
  io("from", rows.from);
  io("begins", rows.begins);
  io("sources", rows.sources);
  io("weights", rows.weights);
  io("fill", rows.fill);
}
template <class Io>
void fields(Io& io, Input& node) {
  io("shape", node.shape);
}
template <class Io>
void fields(Io& io, Constant& node) {
  io("shape", node.shape);
  io("values", node.values);
}
template <class Io>
void fields(Io& io, Variable& node) {
  io("shape", node.shape);
}
template <class Io>
void fields(Io& io, Convolution& node) {
  io("out", node.out);
  io("kernel_h", node.kernel_h);
  io("kernel_w", node.kernel_w);
  io("stride", node.stride);
  io("padding", node.padding);
  io("bias", node.bias);
  io("activation", node.activation);
  io("groups", node.groups);
  io("dilation", node.dilation);
}
template <class Io>
void fields(Io& io, TransposedConvolution& node) {
  io("out", node.out);
  io("kernel_h", node.kernel_h);
  io("kernel_w", node.kernel_w);
  io("stride", node.stride);
  io("padding", node.padding);
  io("to_h", node.to_h);
  io("to_w", node.to_w);
  io("bias", node.bias);
  io("groups", node.groups);
  io("dilation", node.dilation);
}
template <class Io>
void fields(Io& io, BatchNormalization& node) {
  io("epsilon", node.epsilon);
  io("gamma", node.gamma);
  io("decay", node.decay);
  io("beta", node.beta);
}
template <class Io>
void fields(Io& io, Activate& node) {
  io("activation", node.activation);
  io("slope", node.slope);
}
template <class Io>
void fields(Io& io, Pointwise& node) {
  io("function", node.rule.function);
  io("a", node.rule.a);
  io("b", node.rule.b);
  io("c", node.rule.c);
}
template <class Io>
void fields(Io& io, Prelu& node) {
  io("alpha", node.alpha);
}
template <class Io>
void fields(Io& io, Binary& node) {
  io("function", node.function);
}
template <class Io>
void fields(Io& io, Pooling& node) {
  io("pooling", node.pooling);
  io("window", node.window);
  io("stride", node.stride);
  io("padding", node.padding);
}
template <class Io>
void fields(Io& io, GlobalPooling& node) {
  io("pooling", node.pooling);
}
template <class Io>
void fields(Io& io, Dense& node) {
  io("out", node.out);
  io("bias", node.bias);
  io("activation", node.activation);
}
template <class Io>
void fields(Io& io, Reshape& node) {
  io("shape", node.shape);
}
template <class Io>
void fields(Io& io, Permute& node) {
  io("axes", node.axes);
}
template <class Io>
void fields(Io& io, AxisMap& node) {
  io("axis", node.axis);
  io("rows", node.rows);
}
template <class Io>
void fields(Io& io, LargestAlong& node) {
  io("axes", node.axes);
}
template <class Io>
void fields(Io& io, Dropout& node) {
  io("rate", node.rate);
}
template <class Io>
void fields(Io& io, Concatenation& node) {
  io("axis", node.axis);
}
template <class Io>
void fields(Io& io, Softmax& node) {
  io("axis", node.axis);
  io("log", node.log);
}
/// Flatten, Addition and Identity have none.
template <class Io, class Kind>
void fields(Io& /*io*/, Kind& /*node*/) {
  static_assert(std::is_empty_v<Kind>);
}

}  // namespace gentrain::graph
