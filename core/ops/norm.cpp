// Batch normalisation and PReLU.
#include "core/ops/norm.h"

#include <array>

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

/// The gradients of an op's inputs that somebody wants: memory for a kernel, then the delivery.
class WantedGradients {
 public:
  explicit WantedGradients(GradSink& sink) : sink_(sink) {}

  /// Where the gradient of an input is to stand; absent where nobody wants it.
  View make(int input) {
    if (!sink_.wants(input)) {
      return {};
    }
    Tensor& gradient = gradients_.at(static_cast<std::size_t>(input));
    gradient = sink_.make(input);
    return gradient.view();
  }
  /// Delivers what was made.
  void put() {
    for (int input = 0; input < kMostInputs; ++input) {
      const Tensor& gradient = gradients_.at(static_cast<std::size_t>(input));
      if (gradient.defined()) {
        sink_.put(input, gradient);
      }
    }
  }

 private:
  static constexpr int kMostInputs = 6;
  GradSink& sink_;
  std::array<Tensor, kMostInputs> gradients_;
};

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
    WantedGradients gradients(sink);
    NormGradients views{gradients.make(kX), gradients.make(kGamma), gradients.make(kBeta), {}};
    if (y.defined()) {
      views.dresidual = gradients.make(kResidual);
    } else if (sink.wants(kResidual)) {
      sink.put(kResidual, dy);
    }
    device.norm().normalize_backward(
        queue, rule,
        {x.cview(), optional(y), dy.cview(), mean.cview(), variance.cview(), optional(gamma)},
        views);
    gradients.put();
  }
};

}  // namespace

Tensor batch_norm(Context& context, const Tensor& x, const BatchNormParameters& parameters,
                  const BatchNormOptions& options, const Tensor& residual) {
  one_shard_only(context, "batch_norm");
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
    mean = Tensor::empty(device, mean.shape(), mean.dtype());
    variance = Tensor::empty(device, variance.shape(), variance.dtype());
    device.norm().statistics(queue, x.cview(), mean.view(), variance.view());
    const std::int64_t values = x.elements() / mean.elements();
    unbiased = values > 1 ? static_cast<double>(values) / static_cast<double>(values - 1) : 1;
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
  one_shard_only(context, "prelu");
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
    context.tape->record(
        "prelu", y, {x, alpha}, [&device, &queue, x, alpha](const Tensor& dy, GradSink& sink) {
          WantedGradients gradients(sink);
          const View dx = gradients.make(0);
          const View dalpha = gradients.make(1);
          device.norm().prelu_backward(queue, x.cview(), alpha.cview(), dy.cview(), dx, dalpha);
          gradients.put();
        });
  }
  return y;
}

}  // namespace gentrain::ops
