// Conv2d, BatchNorm2d and Linear.
#include "core/nn/layers.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::nn {

namespace {

Initializer bias_initializer(const Initializer& weights) {
  return weights.kind == Initializer::Kind::kUniformFanIn ? weights : Initializer{};
}

/// Runs an op and puts the layer's name behind what it has to say about shapes.
template <class Op>
Tensor named(const std::string& name, Op op) {
  try {
    return op();
  } catch (const ShapeError& error) {
    throw ShapeError(fmt::format("{} ({})", error.what(), name));
  }
}
}  // namespace

Conv2d::Conv2d(ParameterSet& parameters, const std::string& name, const Conv2dOptions& options)
    : parameters_(&parameters), name_(name), options_(options) {
  const std::int64_t window = options.kernel_h * options.kernel_w;
  const std::int64_t fan_in = window * options.in;
  const std::int64_t fan_out = window * options.out;
  weight_ = parameters.add(name + "/weight",
                           {options.out, options.kernel_h, options.kernel_w, options.in},
                           options.initializer, fan_in, fan_out);
  if (options.bias) {
    bias_ = parameters.add(name + "/bias", {options.out}, bias_initializer(options.initializer),
                           fan_in, fan_out);
  }
}

Tensor Conv2d::bias() const {
  return bias_ < 0 ? Tensor{} : (*parameters_)[bias_];
}

Tensor Conv2d::forward(Context& context, const Tensor& x, Activation activation) const {
  return named(name_, [&] {
    return ops::conv2d(context, x, (*parameters_)[weight_], bias(),
                       {options_.stride, options_.padding, activation});
  });
}

Tensor Conv2d::forward_max_pool(Context& context, const Tensor& x, Activation activation) const {
  return named(name_, [&] {
    return ops::conv2d_max_pool(context, x, (*parameters_)[weight_], bias(),
                                {options_.stride, options_.padding, activation});
  });
}

BatchNorm2d::BatchNorm2d(ParameterSet& parameters, const std::string& name, std::int64_t channels,
                         double decay, bool scaled)
    : parameters_(&parameters), name_(name) {
  using Kind = Initializer::Kind;
  if (scaled) {
    gamma_ = parameters.add(name + "/gamma", {channels}, {Kind::kOnes}, 1, 1);
  }
  beta_ = parameters.add(name + "/beta", {channels}, {Kind::kZeros}, 1, 1);
  running_mean_ = parameters.add_statistic(name + "/running_mean", {channels}, Kind::kZeros, decay);
  running_var_ = parameters.add_statistic(name + "/running_var", {channels}, Kind::kOnes, decay);
}

Tensor BatchNorm2d::forward(Context& context, const Tensor& x, const ops::BatchNormOptions& options,
                            const Tensor& residual) const {
  const ParameterSet& parameters = *parameters_;
  return named(name_, [&] {
    return ops::batch_norm(context, x,
                           {gamma_ < 0 ? Tensor{} : parameters[gamma_], parameters[beta_],
                            parameters[running_mean_], parameters[running_var_]},
                           options, residual);
  });
}

PRelu::PRelu(ParameterSet& parameters, const std::string& name, std::int64_t channels)
    : parameters_(&parameters), name_(name) {
  constexpr double kInitial = 0.25;
  alpha_ = parameters.add(name + "/alpha", {channels},
                          {.kind = Initializer::Kind::kConstant, .value = kInitial}, 1, 1);
}

Tensor PRelu::forward(Context& context, const Tensor& x) const {
  return named(name_, [&] { return ops::prelu(context, x, (*parameters_)[alpha_]); });
}

Linear::Linear(ParameterSet& parameters, const std::string& name, std::int64_t in, std::int64_t out,
               bool bias, Initializer initializer)
    : parameters_(&parameters), name_(name) {
  weight_ = parameters.add(name + "/weight", {out, in}, initializer, in, out);
  if (bias) {
    bias_ = parameters.add(name + "/bias", {out}, bias_initializer(initializer), in, out);
  }
}

Tensor Linear::forward(Context& context, const Tensor& x, Activation activation) const {
  return named(name_, [&] {
    return ops::linear(context, x, (*parameters_)[weight_],
                       bias_ < 0 ? Tensor{} : (*parameters_)[bias_], activation);
  });
}

}  // namespace gentrain::nn
