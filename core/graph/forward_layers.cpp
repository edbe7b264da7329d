// Forward rules of kinds with parameters, and of pooling.
#include <limits>

#include "core/graph/axes.h"
#include "core/graph/executor_call.h"
#include "core/graph/shapes.h"
#include "core/ops/maps.h"
#include "core/ops/norm.h"
#include "core/ops/ops.h"

namespace gentrain::graph {

using Part = ParameterPart;

Tensor Executor::Call::operator()(const Variable& node) const {
  one_shard_only(context, "a variable of a graph");
  return ops::reshape(context, parameter(Part::kValue), of_samples(1, node.shape));
}

Tensor Executor::Call::operator()(const Convolution& node) const {
  Folded weights{parameter(Part::kWeight), parameter(Part::kBias)};
  if (step.norm >= 0) {
    weights = executor.folded(context, step);
  }
  const ops::Window window = covered({node.kernel_h, node.kernel_w}, node.dilation);
  const ops::ConvOptions options{.stride = node.stride,
                                 .padding = padding_of(node.padding, sample(), window, node.stride),
                                 .activation = activation(node.activation),
                                 .groups = node.groups,
                                 .dilation = node.dilation};
  return ops::conv2d(context, inputs[0], weights.weight, weights.bias, options);
}

Tensor Executor::Call::operator()(const TransposedConvolution& node) const {
  const ops::ConvTransposeOptions options{.stride = node.stride,
                                          .padding = node.padding,
                                          .groups = node.groups,
                                          .dilation = node.dilation,
                                          .to_h = node.to_h,
                                          .to_w = node.to_w};
  return ops::conv2d_transpose(context, inputs[0], parameter(Part::kWeight), parameter(Part::kBias),
                               options);
}

Tensor Executor::Call::operator()(const BatchNormalization& node) const {
  ops::BatchNormOptions options;
  options.epsilon = node.epsilon;
  options.activation = activation(Activation::kNone);
  options.slope = behind() == nullptr ? 0 : behind()->slope;
  options.weight = statistics_share;
  options.batch_statistics = executor.of_batch(context, step.node);
  const ops::BatchNormParameters parameters{parameter(Part::kGamma), parameter(Part::kBeta),
                                            parameter(Part::kRunningMean),
                                            parameter(Part::kRunningVar)};
  const int rank = sample().rank();
  if (rank == 1 || rank == 3) {
    return ops::batch_norm(context, inputs[0], parameters, options);
  }
  const std::int64_t channels = sample()[rank - 1];
  const Tensor image = ops::reshape(
      context, inputs[0], {inputs[0].shape()[0], 1, sample().elements() / channels, channels});
  return as_result(ops::batch_norm(context, image, parameters, options));
}

Tensor Executor::Call::operator()(const Prelu& node) const {
  const Tensor alpha = parameter(Part::kAlpha);
  const Shape& shape = node.alpha;
  const std::int64_t channels = sample()[sample().rank() - 1];
  if (shape[shape.rank() - 1] == channels && shape.elements() == channels) {
    return ops::prelu(context, inputs[0], ops::reshape(context, alpha, {channels}));
  }
  const Tensor slopes = ops::reshape(context, alpha, of_samples(1, shape));
  const Tensor above = ops::activate(context, inputs[0], Activation::kRelu);
  // At 0 the derivative of relu is 0 and that of clip 1: together alpha, as in ops::prelu.
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Tensor below = ops::pointwise(
      context, inputs[0], {.function = PointwiseFunction::kClip, .a = -kInfinity, .b = 0});
  return ops::binary(context, BinaryFunction::kAdd, above,
                     ops::binary(context, BinaryFunction::kMultiply, below, slopes));
}

Tensor Executor::Call::operator()(const Dense& node) const {
  const Activation act = activation(node.activation);
  if (sample().rank() == 1) {
    return ops::linear(context, inputs[0], parameter(Part::kWeight), parameter(Part::kBias), act);
  }
  one_shard_only(context, "a dense layer over several axes");
  const std::int64_t depth = sample()[sample().rank() - 1];
  const Tensor rows = ops::reshape(context, inputs[0], {inputs[0].elements() / depth, depth});
  return as_result(
      ops::linear(context, rows, parameter(Part::kWeight), parameter(Part::kBias), act));
}

Tensor Executor::Call::operator()(const Pooling& node) const {
  return pool(context, inputs[0], node,
              padding_of(node.padding, sample(), node.window, node.stride));
}

Tensor Executor::Call::operator()(const GlobalPooling& node) const {
  return pool_all(context, node.pooling, inputs[0]);
}

}  // namespace gentrain::graph
