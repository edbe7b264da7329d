// What the kinds of nodes have in common on their way to operators of ONNX, and functions of
// elements and of two tensors.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include <fmt/format.h>

#include "core/onnx/export_graph.h"
#include "kernels/error.h"

namespace gentrain::onnx {

namespace {

using Function = PointwiseFunction;

constexpr double kUnbounded = std::numeric_limits<double>::infinity();

const char* type_of(BinaryFunction function) {
  switch (function) {
    case BinaryFunction::kAdd:
      return "Add";
    case BinaryFunction::kSubtract:
      return "Sub";
    case BinaryFunction::kMultiply:
      return "Mul";
    case BinaryFunction::kDivide:
      return "Div";
    case BinaryFunction::kMaximum:
      return "Max";
    case BinaryFunction::kMinimum:
      break;
  }
  return "Min";
}

}  // namespace

const Shape& NodeExport::shape(std::size_t input) const {
  return to_.graph().node(node_.inputs[input]).shape;
}

const Order& NodeExport::order(std::size_t input) const {
  return to_.order_of(node_.inputs[input]);
}

std::string NodeExport::input(const Order& order, std::size_t input) {
  return to_.value(node_.inputs[input], order);
}

std::int64_t NodeExport::place(const Order& order, int axis) {
  return std::ranges::find(order, axis) - order.begin() + 1;
}

std::string NodeExport::name_of(std::string_view part) const {
  return part.empty() ? node_.name : fmt::format("{}/{}", node_.name, part);
}

std::string NodeExport::add(std::string_view part, const char* type, Names inputs,
                            std::vector<Attribute> attributes) {
  return to_.add(type, std::move(inputs), std::move(attributes), name_of(part));
}

std::string NodeExport::add_weighted(std::string_view part, const char* type, Names inputs,
                                     std::vector<Attribute> attributes) {
  return to_.add(type, std::move(inputs), std::move(attributes), name_of(part), node_.parameters);
}

std::string NodeExport::activated(const std::string& x, Activation activation) {
  switch (activation) {
    case Activation::kRelu:
      return add("", "Relu", {x});
    case Activation::kTanh:
      return add("", "Tanh", {x});
    case Activation::kSigmoid:
      return add("", "Sigmoid", {x});
    case Activation::kNone:
      break;
  }
  return x;
}

std::string NodeExport::number(std::string_view part, double value) {
  return to_.reals(name_of(part), {}, {static_cast<float>(value)});
}

std::string NodeExport::parameter(const char* part, const Shape& shape,
                                  const std::vector<int>& axes) {
  return to_.parameter(node_.parameters, part, shape, axes);
}

std::string NodeExport::parameter(const char* part, const Shape& shape) {
  return parameter(part, shape, as_node(shape.rank()));
}

Written NodeExport::operator()(const graph::Input& /*node*/) {
  throw JobError("it is none of the model's inputs");
}

Written NodeExport::operator()(const graph::Constant& /*node*/) {
  return {as_it_is(), order()};
}

Written NodeExport::operator()(const graph::Variable& /*node*/) {
  return {as_it_is(), order()};
}

/// ONNX has no batch norm without gamma and beta: ones and zeros stand for them.
Written NodeExport::operator()(const graph::BatchNormalization& node) {
  const int rank = shape().rank();
  const Order channels = channels_first(rank);
  const std::int64_t c = shape()[rank - 1];
  const auto constant = [&](const char* part, float value) {
    return to_.reals(fmt::format("{}/{}", node_.parameters, part), {c},
                     std::vector<float>(static_cast<std::size_t>(c), value));
  };
  Names inputs = {input(channels), node.gamma ? parameter("gamma", {c}) : constant("gamma", 1),
                  node.beta ? parameter("beta", {c}) : constant("beta", 0),
                  parameter("running_mean", {c}), parameter("running_var", {c})};
  return {add_weighted(
              "", "BatchNormalization", std::move(inputs),
              {real_attribute("epsilon", node.epsilon), real_attribute("momentum", node.decay)}),
          channels};
}

Written NodeExport::operator()(const graph::Activate& node) {
  const std::string x = as_it_is();
  if (node.slope > 0) {
    return {add("", "LeakyRelu", {x}, {real_attribute("alpha", node.slope)}), order()};
  }
  return {activated(x, node.activation), order()};
}

Written NodeExport::operator()(const graph::Pointwise& node) {
  return {pointwise(node.rule, as_it_is()), order()};
}

std::string NodeExport::binary(std::string_view part, const char* type, const std::string& a,
                               double b) {
  const bool nothing =
      (std::string_view(type) == "Mul" && b == 1) || (std::string_view(type) == "Add" && b == 0);
  return nothing ? a : add(part, type, {a, number("number", b)});
}

std::string NodeExport::clipped(std::string_view part, const std::string& x, double low,
                                double high) {
  Names inputs = {x};
  if (low > -kUnbounded || high < kUnbounded) {
    inputs.push_back(low > -kUnbounded ? number("low", low) : "");
  }
  if (high < kUnbounded) {
    inputs.push_back(number("high", high));
  }
  return add(part, "Clip", std::move(inputs));
}

/// min(x, c) from b on, a (x - b) below.
std::string NodeExport::relu(const PointwiseRule& rule, const std::string& x) {
  const auto& [function, a, b, c] = rule;
  if (b == 0 && a >= 0 && c >= 0) {
    if (a == 0) {
      return c == kUnbounded ? add("", "Relu", {x}) : clipped("", x, 0, c);
    }
    const bool limited = c < kUnbounded;
    const std::string y =
        add(limited ? "leaky" : "", "LeakyRelu", {x}, {real_attribute("alpha", a)});
    return limited ? clipped("", y, -kUnbounded, c) : y;
  }
  const std::string above = clipped("above", x, -kUnbounded, c);
  const std::string below =
      add("below", "Mul", {binary("shifted", "Add", x, -b), number("slope", a)});
  const std::string condition = add("condition", "GreaterOrEqual", {x, number("threshold", b)});
  return add("", "Where", {condition, above, below});
}

std::string NodeExport::pointwise(const PointwiseRule& rule, const std::string& x) {
  const auto& [function, a, b, c] = rule;
  switch (function) {
    case Function::kAffine: {
      const std::string y = binary(b == 0 ? "" : "scaled", "Mul", x, a);
      return binary("", "Add", y, b);
    }
    case Function::kRelu:
      return relu(rule, x);
    case Function::kClip:
      return clipped("", x, a, b);
    case Function::kElu:
      if (b == 1 && c == 1) {
        return add("", "Elu", {x}, {real_attribute("alpha", a)});
      }
      return add("", "Selu", {binary("scaled", "Mul", x, 1 / c)},
                 {real_attribute("alpha", a / c), real_attribute("gamma", b * c)});
    case Function::kHardSigmoid:
      return add("", "HardSigmoid", {x}, {real_attribute("alpha", a), real_attribute("beta", b)});
    case Function::kSoftplus:
      return binary("", "Mul",
                    add(a == 1 ? "" : "softplus", "Softplus", {binary("scaled", "Mul", x, a)}),
                    1 / a);
    case Function::kLogSigmoid:
      return add("", "Neg", {add("softplus", "Softplus", {add("negative", "Neg", {x})})});
    case Function::kPower:
      return add("", "Pow", {x, number("exponent", a)});
    case Function::kThreshold: {
      if (b == 0) {
        return add("", "ThresholdedRelu", {x}, {real_attribute("alpha", a)});
      }
      const std::string condition = add("condition", "Greater", {x, number("threshold", a)});
      return add("", "Where", {condition, x, number("below", b)});
    }
    default:
      return gated(rule, x);
  }
}

/// Products and differences of x and a function of it.
std::string NodeExport::gated(const PointwiseRule& rule, const std::string& x) {
  const auto& [function, a, b, c] = rule;
  switch (function) {
    case Function::kHardSwish:
      return add("", "Mul",
                 {x, add("gate", "HardSigmoid", {x},
                         {real_attribute("alpha", a), real_attribute("beta", b)})});
    case Function::kSwish:
      return add("", "Mul", {x, add("gate", "Sigmoid", {binary("scaled", "Mul", x, a)})});
    case Function::kGelu: {
      const std::string erf =
          add("erf", "Erf", {binary("scaled", "Mul", x, std::numbers::sqrt2 / 2)});
      const std::string gate = binary("gate", "Mul", binary("above", "Add", erf, 1), 0.5);
      return add("", "Mul", {x, gate});
    }
    case Function::kGeluTanh: {
      constexpr double kCube = 0.044715;
      const std::string cube =
          binary("cube", "Mul", add("power", "Pow", {x, number("three", 3)}), kCube);
      const std::string sum = add("sum", "Add", {x, cube});
      const std::string tanh =
          add("tanh", "Tanh", {binary("scaled", "Mul", sum, std::sqrt(2 / std::numbers::pi))});
      const std::string gate = binary("gate", "Mul", binary("above", "Add", tanh, 1), 0.5);
      return add("", "Mul", {x, gate});
    }
    case Function::kMish:
      return add("", "Mul", {x, add("gate", "Tanh", {add("softplus", "Softplus", {x})})});
    case Function::kTanhShrink:
      return add("", "Sub", {x, add("tanh", "Tanh", {x})});
    case Function::kSoftShrink:  // max(x - a, 0) + min(x + a, 0)
      return add("", "Add",
                 {clipped("upper", binary("less", "Add", x, -a), 0, kUnbounded),
                  clipped("lower", binary("more", "Add", x, a), -kUnbounded, 0)});
    case Function::kHardShrink: {  // x above a and below -a: each by a threshold
      const std::string negative = add("negative", "Neg", {x});
      const std::vector<Attribute> threshold = {real_attribute("alpha", a)};
      return add("", "Sub",
                 {add("upper", "ThresholdedRelu", {x}, threshold),
                  add("lower", "ThresholdedRelu", {negative}, threshold)});
    }
    default:
      return plain(rule, x);
  }
}

/// Functions that are operators.
std::string NodeExport::plain(const PointwiseRule& rule, const std::string& x) {
  switch (rule.function) {
    case Function::kSoftsign:
      return add("", "Softsign", {x});
    case Function::kExp:
      return add("", "Exp", {x});
    case Function::kLog:
      return add("", "Log", {x});
    case Function::kSqrt:
      return add("", "Sqrt", {x});
    case Function::kAbs:
      return add("", "Abs", {x});
    case Function::kErf:
      return add("", "Erf", {x});
    case Function::kReciprocal:
      return add("", "Reciprocal", {x});
    default:
      throw JobError(fmt::format("there is no operator for the function {}",
                                 gentrain::name_of(rule.function)));
  }
}

Written NodeExport::operator()(const graph::Prelu& node) {
  return {add_weighted("", "PRelu", {as_it_is(), parameter("alpha", node.alpha, order())}),
          order()};
}

/// An input of a function of two tensors, with as many axes as the result.
std::string NodeExport::operand(std::size_t input, const Order& order) {
  const int from = node_.inputs[input];
  const int rank = node_.shape.rank();
  const Shape& of = shape(input);
  if (graph::is_given(to_.graph().node(from)) && !to_.of_no_sample(index_)) {
    return to_.given(from, rank, order);
  }
  if (of.rank() == rank) {
    return this->input(order, input);
  }
  std::vector<std::int64_t> extents = {-1};
  extents.resize(static_cast<std::size_t>(rank - of.rank()) + 1, 1);
  extents.insert(extents.end(), of.extents().begin(), of.extents().end());
  return add(fmt::format("input_{}", input), "Reshape",
             {this->input(as_node(of.rank()), input),
              to_.integers(name_of(fmt::format("shape_{}", input)), extents)});
}

Written NodeExport::operator()(const graph::Binary& node) {
  const int rank = node_.shape.rank();
  Order common = as_node(rank);
  bool reshapes = false;
  std::size_t leader = 2;  // the first input of a sample's own that has all axes
  for (const std::size_t i : {std::size_t{1}, std::size_t{0}}) {
    const bool given =
        graph::is_given(to_.graph().node(node_.inputs[i])) && !to_.of_no_sample(index_);
    reshapes = reshapes || (!given && shape(i).rank() < rank);
    leader = !given && shape(i).rank() == rank ? i : leader;
  }
  if (!reshapes && leader < 2) {
    common = order(leader);
  }
  const std::string a = operand(0, common);
  return {add("", type_of(node.function), {a, operand(1, common)}), common};
}

Written NodeExport::operator()(const graph::Addition& /*node*/) {
  const Order common = order();
  std::string sum = as_it_is();
  for (std::size_t i = 1; i < node_.inputs.size(); ++i) {
    const bool last = i + 1 == node_.inputs.size();
    sum = add(last ? "" : fmt::format("sum_{}", i), "Add", {sum, input(common, i)});
  }
  return {sum, common};
}

Written NodeExport::operator()(const graph::Dropout& node) {
  return {add("", "Dropout", {as_it_is(), number("rate", node.rate)}), order()};
}

Written NodeExport::operator()(const graph::Softmax& node) {
  const int axis = node.axis == -1 ? shape().rank() - 1 : node.axis;
  return {add("", node.log ? "LogSoftmax" : "Softmax", {as_it_is()},
              {integer_attribute("axis", place(order(), axis))}),
          order()};
}

Written NodeExport::operator()(const graph::Identity& /*node*/) {
  return {as_it_is(), order()};
}

}  // namespace gentrain::onnx
