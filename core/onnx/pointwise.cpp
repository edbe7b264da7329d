// Functions of single elements, which keep the order of axes.
#include <algorithm>
#include <limits>

#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

constexpr double kNoBound = std::numeric_limits<double>::infinity();

void apply(Call& call, const PointwiseRule& rule) {
  call.give(call.build().pointwise(call.anywhere(0), rule));
}

void activate(Call& call, Activation activation, double slope = 0) {
  Placed result = call.anywhere(0);
  result.node = call.build().add(graph::Activate{activation, slope}, {result.node});
  call.give(result);
}

template <PointwiseFunction function>
void plain(Call& call) {
  apply(call, {function});
}
template <Activation function>
void known(Call& call) {
  activate(call, function);
}

void leaky_relu(Call& call) {
  const double alpha = call.attributes().real("alpha", 0.01);
  if (alpha >= 0) {
    return activate(call, Activation::kRelu, alpha);
  }
  apply(call, {PointwiseFunction::kRelu, alpha, 0});
}

void elu(Call& call) {
  apply(call, {PointwiseFunction::kElu, call.attributes().real("alpha", 1), 1, 1});
}

void celu(Call& call) {
  const double alpha = call.attributes().real("alpha", 1);
  apply(call, {PointwiseFunction::kElu, alpha, 1, alpha});
}

void selu(Call& call) {
  const double alpha = call.attributes().real("alpha", 1.67326319217681884765625);
  const double gamma = call.attributes().real("gamma", 1.05070102214813232421875);
  apply(call, {PointwiseFunction::kElu, alpha, gamma, 1});
}

void hard_sigmoid(Call& call) {
  const double alpha = call.attributes().real("alpha", 0.2);
  apply(call, {PointwiseFunction::kHardSigmoid, alpha, call.attributes().real("beta", 0.5)});
}

void hard_swish(Call& call) {
  apply(call, {PointwiseFunction::kHardSwish, 1.0 / 6, 0.5});
}
void softplus(Call& call) {
  apply(call, {PointwiseFunction::kSoftplus, 1});
}
void negative(Call& call) {
  apply(call, {PointwiseFunction::kAffine, -1, 0});
}

void gelu(Call& call) {
  const std::string form = call.attributes().text("approximate", "none");
  if (form != "none" && form != "tanh") {
    refuse("its approximate is '{}': none or tanh is needed", form);
  }
  apply(call, {form == "tanh" ? PointwiseFunction::kGeluTanh : PointwiseFunction::kGelu});
}

void thresholded_relu(Call& call) {
  apply(call, {PointwiseFunction::kThreshold, call.attributes().real("alpha", 1), 0});
}

/// Limits are attributes up to opset 10 and inputs behind.
void clip(Call& call) {
  double low = call.has(1) ? call.number(1) : -kNoBound;
  double high = call.has(2) ? call.number(2) : kNoBound;
  if (call.opset() < 11) {
    low = call.attributes().real("min", -kNoBound);
    high = call.attributes().real("max", kNoBound);
  }
  if (low == -kNoBound && high == kNoBound) {
    return call.give(call.anywhere(0));
  }
  apply(call, {PointwiseFunction::kClip, std::min(low, high), high});
}

void prelu(Call& call) {
  const Placed& x = call.placed(0);
  LayerArray alpha = in_order_of(x, call.reals(1), "alpha");
  const graph::Prelu node{alpha.shape};
  std::vector<LayerArray> arrays;
  arrays.push_back(std::move(alpha));
  Placed result = x;
  result.node = call.build().add_layer(node, x.node, std::move(arrays));
  call.give(result);
}

void identity(Call& call) {
  call.give(call.value(0));
}

/// Numbers stay what they are in every type with a fraction; a condition becomes 0 and 1.
void cast(Call& call) {
  const std::int64_t to = call.attributes().integer("to", 0);
  call.attributes().flag("saturate", true);
  const auto type = static_cast<ElementType>(to);
  if (type != ElementType::kFloat && type != ElementType::kDouble &&
      type != ElementType::kFloat16 && type != ElementType::kBfloat16) {
    refuse(
        "it makes the element type {} of values that depend on the samples: only types with a "
        "fraction are supported",
        to);
  }
  Placed result = std::get<Placed>(call.value(0));
  result.condition = false;
  call.give(result);
}

constexpr OperatorEntry kPointwiseEntries[] = {
    {"Relu", known<Activation::kRelu>},
    {"Sigmoid", known<Activation::kSigmoid>},
    {"Tanh", known<Activation::kTanh>},
    {"LeakyRelu", leaky_relu},
    {"PRelu", prelu},
    {"Elu", elu},
    {"Celu", celu},
    {"Selu", selu},
    {"HardSigmoid", hard_sigmoid},
    {"HardSwish", hard_swish},
    {"Softplus", softplus},
    {"Softsign", plain<PointwiseFunction::kSoftsign>},
    {"Gelu", gelu},
    {"Mish", plain<PointwiseFunction::kMish>},
    {"Erf", plain<PointwiseFunction::kErf>},
    {"Exp", plain<PointwiseFunction::kExp>},
    {"Log", plain<PointwiseFunction::kLog>},
    {"Sqrt", plain<PointwiseFunction::kSqrt>},
    {"Abs", plain<PointwiseFunction::kAbs>},
    {"Neg", negative},
    {"Reciprocal", plain<PointwiseFunction::kReciprocal>},
    {"Clip", clip},
    {"ThresholdedRelu", thresholded_relu},
    {"Identity", identity},
    {"Cast", cast}};

}  // namespace

std::span<const OperatorEntry> pointwise_operators() {
  return kPointwiseEntries;
}

}  // namespace gentrain::onnx
