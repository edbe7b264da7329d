// Functions of elements and of two tensors as layers of Keras. Only layers
// and activations are taken that Keras 2 and 3 have in common and compute alike.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/keras/export_layers.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

using Function = PointwiseFunction;

constexpr double kUnbounded = std::numeric_limits<double>::infinity();
constexpr double kLargest = std::numeric_limits<float>::max();
constexpr std::int64_t kMostConstants = 65536;  // values that become part of a configuration

/// With axes of extent 1 in front.
Shape with_rank(const Shape& shape, int rank) {
  std::vector<std::int64_t> extents(static_cast<std::size_t>(rank), 1);
  std::ranges::copy_backward(shape.extents(), extents.end());
  return Shape(extents);
}

/// Values of a shape repeated to those of a sample of another one of the same rank.
std::vector<float> repeated_to(const std::vector<float>& values, const Shape& from,
                               const Shape& to) {
  std::vector<float> result(static_cast<std::size_t>(to.elements()));
  for (std::size_t i = 0; i < result.size(); ++i) {
    auto rest = static_cast<std::int64_t>(i);
    std::int64_t source = 0;
    std::int64_t stride = 1;
    for (int axis = to.rank() - 1; axis >= 0; --axis) {
      source += (from[axis] == 1 ? 0 : rest % to[axis]) * stride;
      stride *= from[axis];
      rest /= to[axis];
    }
    result[i] = values[static_cast<std::size_t>(source)];
  }
  return result;
}

const char* merge_of(BinaryFunction function) {
  switch (function) {
    case BinaryFunction::kAdd:
      return "Add";
    case BinaryFunction::kSubtract:
      return "Subtract";
    case BinaryFunction::kMultiply:
      return "Multiply";
    case BinaryFunction::kMaximum:
      return "Maximum";
    case BinaryFunction::kMinimum:
      return "Minimum";
    case BinaryFunction::kDivide:
      break;
  }
  throw JobError("Keras has no layer that divides one tensor by another");
}

[[noreturn]] void no_layer(const std::string& what) {
  throw JobError(fmt::format("Keras 2 and 3 have no layer for {}", what));
}

}  // namespace

LayerOutput NodeExport::operator()(const graph::Activate& node) {
  switch (node.activation) {
    case Activation::kRelu:
      return relu("", input(), node.slope);
    case Activation::kTanh:
      return activation("", "tanh", input());
    case Activation::kSigmoid:
      return activation("", "sigmoid", input());
    case Activation::kNone:
      break;
  }
  return activation("", "linear", input());
}

LayerOutput NodeExport::operator()(const graph::Pointwise& node) {
  return pointwise(node.rule, input());
}

LayerOutput NodeExport::pointwise(const PointwiseRule& rule, LayerOutput x) {
  const auto& [function, a, b, c] = rule;
  switch (function) {
    case Function::kAffine:
      return add("", "Rescaling", {{"scale", a}, {"offset", b}}, {x});
    case Function::kRelu: {
      if (a < 0 || b < 0 || c < 0) {
        no_layer(fmt::format("a relu of slope {}, threshold {} and maximum {}", a, b, c));
      }
      return relu("", x, a, b, c == kUnbounded ? std::nullopt : std::optional(c));
    }
    case Function::kElu: {
      const LayerOutput scaled = rescaled("scaled", x, 1 / c, 0);
      const bool last = b * c == 1;
      const LayerOutput y = add(last ? "" : "elu", "ELU", {{"alpha", a / c}}, {scaled});
      return rescaled("", y, b * c, 0);
    }
    case Function::kHardSigmoid:
      return relu("", rescaled("scaled", x, a, b), 0, 0, 1);
    case Function::kSoftplus:
      return a == 1 ? activation("", "softplus", x)
                    : rescaled("", activation("softplus", "softplus", rescaled("scaled", x, a, 0)),
                               1 / a, 0);
    case Function::kSoftsign:
      return activation("", "softsign", x);
    case Function::kLogSigmoid:
      return rescaled("", activation("softplus", "softplus", rescaled("negative", x, -1, 0)), -1,
                      0);
    case Function::kExp:
      return activation("", "exponential", x);
    case Function::kAbs:
      return add("", "Maximum", json::object(), {x, rescaled("negative", x, -1, 0)});
    case Function::kPower:
      return power(a, x);
    default:
      return gated(rule, x);
  }
}

/// x times what is between 0 and 1, mostly.
LayerOutput NodeExport::gated(const PointwiseRule& rule, LayerOutput x) {
  const auto& [function, a, b, c] = rule;
  switch (function) {
    case Function::kHardSwish: {
      const LayerOutput gate = relu("gate", rescaled("scaled", x, a, b), 0, 0, 1);
      return add("", "Multiply", json::object(), {x, gate});
    }
    case Function::kSwish: {
      if (a == 1) {
        return activation("", "swish", x);
      }
      const LayerOutput gate = activation("gate", "sigmoid", rescaled("scaled", x, a, 0));
      return add("", "Multiply", json::object(), {x, gate});
    }
    case Function::kGelu:
      return activation("", "gelu", x);
    case Function::kGeluTanh: {
      constexpr double kCube = 0.044715;
      const LayerOutput cube = add("cube", "Multiply", json::object(), {x, x, x});
      const LayerOutput sum =
          add("sum", "Add", json::object(), {x, rescaled("small", cube, kCube, 0)});
      const double scale = 2 * std::sqrt(2 / std::numbers::pi);
      const LayerOutput gate = activation("gate", "sigmoid", rescaled("scaled", sum, scale, 0));
      return add("", "Multiply", json::object(), {x, gate});
    }
    case Function::kMish: {
      const LayerOutput gate = activation("gate", "tanh", activation("softplus", "softplus", x));
      return add("", "Multiply", json::object(), {x, gate});
    }
    default:
      return shrunk(rule, x);
  }
}

/// Functions with thresholds.
LayerOutput NodeExport::shrunk(const PointwiseRule& rule, LayerOutput x) {
  const auto& [function, a, b, c] = rule;
  switch (function) {
    case Function::kClip: {
      // The largest float is how writers say that there is no limit.
      const bool lower = a > -kLargest;
      const bool upper = b < kLargest;
      const auto most = [](bool is_limited, double limit) {
        return is_limited ? std::optional(limit) : std::nullopt;
      };
      if (!lower && !upper) {
        return activation("", "linear", x);
      }
      if ((!lower || a <= 0) && (!upper || b >= 0)) {  // what is above 0 less what is below
        if (lower && a == 0) {
          return relu("", x, 0, 0, most(upper, b));
        }
        const LayerOutput below =
            relu("below", rescaled("negative", x, -1, 0), 0, 0, most(lower, -a));
        if (upper && b == 0) {
          return rescaled("", below, -1, 0);
        }
        return add("", "Subtract", json::object(), {relu("above", x, 0, 0, most(upper, b)), below});
      }
      if (lower) {  // a + min(max(x - a, 0), b - a)
        return rescaled(
            "", relu("clipped", rescaled("shifted", x, 1, -a), 0, 0, most(upper, b - a)), 1, a);
      }
      // b - max(b - x, 0)
      return rescaled("", relu("clipped", rescaled("shifted", x, -1, b)), -1, b);
    }
    case Function::kThreshold:
      if (a < 0 || b != 0) {
        no_layer(fmt::format("a threshold {} below which all is {}", a, b));
      }
      return relu("", x, 0, a);
    case Function::kSoftShrink: {
      const LayerOutput above = relu("above", rescaled("less", x, 1, -a));
      const LayerOutput below = relu("below", rescaled("negative", x, -1, -a));
      return add("", "Subtract", json::object(), {above, below});
    }
    case Function::kHardShrink: {
      const LayerOutput above = relu("above", x, 0, a);
      const LayerOutput below = relu("below", rescaled("negative", x, -1, 0), 0, a);
      return add("", "Subtract", json::object(), {above, below});
    }
    case Function::kTanhShrink:
      return add("", "Subtract", json::object(), {x, activation("tanh", "tanh", x)});
    default:
      no_layer(fmt::format("the function {}", name_of(function)));
  }
}

LayerOutput NodeExport::power(double exponent, LayerOutput x) {
  constexpr double kMost = 16;
  if (exponent < 1 || exponent > kMost || exponent != std::floor(exponent)) {
    no_layer(fmt::format("the power {}", exponent));
  }
  if (exponent == 1) {
    return activation("", "linear", x);
  }
  const std::vector<LayerOutput> factors(static_cast<std::size_t>(exponent), x);
  return add("", "Multiply", json::object(), factors);
}

LayerOutput NodeExport::operator()(const graph::Binary& node) {
  for (const std::size_t given : {std::size_t{0}, std::size_t{1}}) {
    if (graph::is_given(source(given))) {
      return with_values(node.function, given, input(1 - given));
    }
  }
  const char* const type = merge_of(node.function);
  const int rank = node_.shape.rank();
  std::vector<LayerOutput> values = inputs();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (shape(i).rank() < rank) {
      values[i] = reshaped(fmt::format("input_{}", i), values[i], with_rank(shape(i), rank));
    }
  }
  return add("", type, json::object(), values);
}

/// A function of a tensor and of values that become part of the layer.
LayerOutput NodeExport::with_values(BinaryFunction function, std::size_t given, LayerOutput x) {
  const graph::Node& constant = source(given);
  const Shape& other = shape(1 - given);
  const int rank = node_.shape.rank();
  if (with_rank(other, rank) != node_.shape) {
    no_layer(fmt::format("repeating {} along axes of {} {}", other.str(), constant.name,
                         constant.shape.str()));
  }
  std::vector<float> values = graph::given_values(model_, constant);
  const bool first = given == 0;
  if (values.size() == 1) {
    const LayerOutput as_result = other.rank() < rank ? reshaped("ranked", x, node_.shape) : x;
    return with_value(function, first, static_cast<double>(values[0]), as_result);
  }
  const Shape aligned = with_rank(constant.shape, rank);
  const std::int64_t channels = node_.shape[rank - 1];
  const bool of_channels =
      aligned[rank - 1] == channels && static_cast<std::int64_t>(values.size()) == channels;
  if (of_channels && other.rank() == rank) {
    return with_channels(function, first, std::move(values), x);
  }
  if (node_.shape.elements() > kMostConstants) {
    no_layer(fmt::format("{} values of their own for each element of {}", values.size(),
                         node_.shape.str()));
  }
  const LayerOutput row = reshaped("row", x, {node_.shape.elements()});
  const std::vector<float> repeated = repeated_to(values, aligned, node_.shape);
  return reshaped("", with_channels(function, first, repeated, row), node_.shape);
}

LayerOutput NodeExport::with_value(BinaryFunction function, bool first, double value,
                                   LayerOutput x) {
  switch (function) {
    case BinaryFunction::kAdd:
      return pointwise({Function::kAffine, 1, value}, x);
    case BinaryFunction::kSubtract:
      return pointwise({Function::kAffine, first ? -1.0 : 1.0, first ? value : -value}, x);
    case BinaryFunction::kMultiply:
      return pointwise({Function::kAffine, value, 0}, x);
    case BinaryFunction::kMaximum:
      return pointwise({Function::kClip, value, kUnbounded}, x);
    case BinaryFunction::kMinimum:
      return pointwise({Function::kClip, -kUnbounded, value}, x);
    case BinaryFunction::kDivide:
      break;
  }
  if (first || value == 0) {
    no_layer("dividing by a tensor, or by 0");
  }
  return pointwise({Function::kAffine, 1 / value, 0}, x);
}

/// values: one for each position along the last axis.
LayerOutput NodeExport::with_channels(BinaryFunction function, bool first,
                                      std::vector<float> values, LayerOutput x) {
  const bool adds = function == BinaryFunction::kAdd || function == BinaryFunction::kSubtract;
  const bool scales = function == BinaryFunction::kMultiply || function == BinaryFunction::kDivide;
  const bool divides = function == BinaryFunction::kDivide;
  const bool by_zero = divides && std::ranges::find(values, 0.0F) != values.end();
  if ((!adds && !scales) || (divides && first) || by_zero) {
    no_layer(fmt::format("the function {} of a tensor and several values", name_of(function)));
  }
  std::vector<double> numbers(values.begin(), values.end());
  for (double& number : numbers) {
    if (!std::isfinite(number)) {
      no_layer(fmt::format("the value {}", number));
    }
    if (divides) {
      number = 1 / number;
    } else if (function == BinaryFunction::kSubtract && !first) {
      number = -number;
    }
  }
  const bool negates = function == BinaryFunction::kSubtract && first;
  const bool last = node_.shape.rank() > 0 &&
                    static_cast<std::size_t>(node_.shape[node_.shape.rank() - 1]) == numbers.size();
  json config = {{"scale", negates ? -1 : 1}, {"offset", 0}};
  config[adds ? "offset" : "scale"] = std::move(numbers);
  return add(last ? "" : "values", "Rescaling", std::move(config), {x});
}

}  // namespace gentrain::keras
