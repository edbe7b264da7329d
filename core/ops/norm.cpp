// Batch normalisation and PReLU.
#include "core/ops/norm.h"

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "core/ops/parts.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/norm.h"

namespace gentrain::ops {

namespace {

void check_channels(const char* op, const char* name, const Tensor& tensor, std::int64_t c) {
  if (tensor.shape() != Shape{c}) {
    throw ShapeError(
        fmt::format("{}: {} must have shape [{}] but has {}", op, name, c, tensor.shape().str()));
  }
}

void check_batch_norm(const Tensor& x, const BatchNormParameters& p, const Tensor& residual) {
  const int rank = x.shape().rank();
  if ((rank != 4 && rank != 2) || x.elements() == 0) {
    throw ShapeError(fmt::format(
        "batch_norm: x must be [n, h, w, c] or [n, c], not empty, but is {}", x.shape().str()));
  }
  const std::int64_t c = x.shape()[rank - 1];
  if (p.gamma.defined()) {
    check_channels("batch_norm", "gamma", p.gamma, c);
  }
  if (p.beta.defined()) {
    check_channels("batch_norm", "beta", p.beta, c);
  }
  check_channels("batch_norm", "running_mean", p.running_mean, c);
  check_channels("batch_norm", "running_var", p.running_var, c);
  if (residual.defined() && residual.shape() != x.shape()) {
    throw ShapeError(fmt::format("batch_norm: the residual must have shape {} but has {}",
                                 x.shape().str(), residual.shape().str()));
  }
}

/// The inputs of batch_norm as its backward closure counts them.
enum BatchNormInput { kX, kGamma, kBeta, kRunningMean, kRunningVar, kResidual };

/// What the backward pass of batch_norm reads.
struct BatchNormPass {
  Device& device;
  Queue& queue;
  NormRule rule;
  double mean_weight, variance_weight;
  Tensor x, y, mean, variance, gamma;  // y undefined without an activation

  void put_statistic(GradSink& sink, int input, double weight, const Tensor& statistic) const {
    if (sink.wants(input)) {
      const Tensor share = sink.make(input);
      device.elementwise().scale(queue, weight, statistic.cview(), share.view());
      sink.put(input, share);
    }
  }

  void backward(const Tensor& dy, GradSink& sink) const {
    put_statistic(sink, kRunningMean, mean_weight, mean);
    put_statistic(sink, kRunningVar, variance_weight, variance);
    Tensor gradients[kResidual + 1];
    NormGradients views;
    const auto want = [&](int input, View& view) {
      if (sink.wants(input)) {
        gradients[input] = sink.make(input);
        view = gradients[input].view();
      }
    };
    want(kX, views.dx);
    want(kGamma, views.dgamma);
    want(kBeta, views.dbeta);
    if (y.defined()) {
      want(kResidual, views.dresidual);
    } else if (sink.wants(kResidual)) {
      sink.put(kResidual, dy);
    }
    device.norm().normalize_backward(
        queue, rule,
        {x.cview(), optional(y), dy.cview(), mean.cview(), variance.cview(), optional(gamma)},
        views);
    for (int input = kX; input <= kResidual; ++input) {
      if (gradients[input].defined()) {
        sink.put(input, gradients[input]);
      }
    }
  }
};

}  // namespace

Tensor batch_norm(Context& context, const Tensor& x, const BatchNormParameters& parameters,
                  const BatchNormOptions& options, const Tensor& residual) {
  check_batch_norm(x, parameters, residual);
  const Activation activation = options.activation;
  if (activation != Activation::kNone && activation != Activation::kRelu) {
    BatchNormOptions plain = options;
    plain.activation = Activation::kNone;
    return activate(context, batch_norm(context, x, parameters, plain, residual), activation);
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  NormRule rule;
  rule.epsilon = options.epsilon;
  rule.slope = activation == Activation::kRelu ? options.slope : 1;
  rule.of_batch = context.training && options.batch_statistics;
  Tensor mean = parameters.running_mean;
  Tensor variance = parameters.running_var;
  double unbiased = 1;
  if (rule.of_batch) {
    mean = Tensor::empty(device, mean.shape(), x.dtype());
    variance = Tensor::empty(device, variance.shape(), x.dtype());
    device.norm().statistics(queue, x.cview(), mean.view(), variance.view());
    const auto values = static_cast<double>(x.elements() / mean.elements());
    unbiased = values > 1 ? values / (values - 1) : 1;
  }
  Tensor y = Tensor::empty(device, x.shape(), x.dtype());
  device.norm().normalize(queue, rule,
                          {x.cview(), mean.cview(), variance.cview(), optional(parameters.gamma),
                           optional(parameters.beta), optional(residual)},
                          y.view());
  if (context.tape != nullptr) {
    const BatchNormPass pass{.device = device,
                             .queue = queue,
                             .rule = rule,
                             .mean_weight = options.weight,
                             .variance_weight = options.weight * unbiased,
                             .x = x,
                             .y = rule.slope == 1 ? Tensor{} : y,
                             .mean = mean,
                             .variance = variance,
                             .gamma = parameters.gamma};
    context.tape->record("batch_norm", y,
                         {x, parameters.gamma, parameters.beta, parameters.running_mean,
                          parameters.running_var, residual},
                         [pass](const Tensor& dy, GradSink& sink) { pass.backward(dy, sink); });
  }
  return y;
}

Tensor prelu(Context& context, const Tensor& x, const Tensor& alpha) {
  const int rank = x.shape().rank();
  if (rank == 0 || x.elements() == 0) {
    throw ShapeError(
        fmt::format("prelu: x must be [..., c], not empty, but is {}", x.shape().str()));
  }
  check_channels("prelu", "alpha", alpha, x.shape()[rank - 1]);
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, x.shape(), x.dtype());
  device.norm().prelu(queue, x.cview(), alpha.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record("prelu", y, {x, alpha},
                         [&device, &queue, x, alpha](const Tensor& dy, GradSink& sink) {
                           const Tensor dx = sink.wants(0) ? sink.make(0) : Tensor{};
                           const Tensor dalpha = sink.wants(1) ? sink.make(1) : Tensor{};
                           device.norm().prelu_backward(queue, x.cview(), alpha.cview(), dy.cview(),
                                                        dx.defined() ? dx.view() : View{},
                                                        dalpha.defined() ? dalpha.view() : View{});
                           if (dx.defined()) {
                             sink.put(0, dx);
                           }
                           if (dalpha.defined()) {
                             sink.put(1, dalpha);
                           }
                         });
  }
  return y;
}

}  // namespace gentrain::ops
