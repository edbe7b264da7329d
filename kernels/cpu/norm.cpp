// Batch normalisation and PReLU: checks, then the vector kernels.
#include "kernels/norm.h"

#include <fmt/format.h>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/queue.h"
#include "kernels/cpu/simd.h"
#include "kernels/error.h"

namespace gentrain::cpu {

namespace {

class Norm final : public NormKernels {
 public:
  explicit Norm(const Backend& backend) : table_(backend.simd->norm) {}

  void statistics(Queue& queue, ConstView x, View mean, View variance) override {
    const Arguments arguments("batch statistics");
    const Shape channels = arguments.require_rows("x", x);
    arguments.require("mean", mean, channels);
    arguments.require("variance", variance, channels);
    table_.statistics(x.as<float>(), x.elements() / channels[0], channels[0], mean.as<float>(),
                      variance.as<float>(), scratch(queue, channels));
  }

  void normalize(Queue& queue, const NormRule& rule, const NormSources& sources, View y) override {
    const Arguments arguments("normalize");
    require_rule(arguments, rule);
    const Shape channels = arguments.require_rows("x", sources.x);
    arguments.require("mean", sources.mean, channels);
    arguments.require("variance", sources.variance, channels);
    arguments.require_if_present("gamma", sources.gamma, channels);
    arguments.require_if_present("beta", sources.beta, channels);
    arguments.require_if_present("residual", sources.residual, sources.x.shape);
    arguments.require("y", y, sources.x.shape);
    table_.normalize({.rows = y.elements() / channels[0],
                      .c = channels[0],
                      .x = sources.x.as<float>(),
                      .mean = sources.mean.as<float>(),
                      .variance = sources.variance.as<float>(),
                      .gamma = sources.gamma.as<float>(),
                      .beta = sources.beta.as<float>(),
                      .residual = sources.residual.as<float>(),
                      .epsilon = static_cast<float>(rule.epsilon),
                      .slope = static_cast<float>(rule.slope),
                      .y = y.as<float>()},
                     scratch(queue, channels));
  }

  void normalize_backward(Queue& queue, const NormRule& rule, const NormGradientSources& sources,
                          const NormGradients& results) override {
    const Arguments arguments("normalize backward");
    require_rule(arguments, rule);
    const Shape channels = arguments.require_rows("x", sources.x);
    if (rule.slope != 1) {
      arguments.require("y", sources.y, sources.x.shape);
    }
    arguments.require("dy", sources.dy, sources.x.shape);
    arguments.require("mean", sources.mean, channels);
    arguments.require("variance", sources.variance, channels);
    arguments.require_if_present("gamma", sources.gamma, channels);
    arguments.require_if_present("dx", results.dx, sources.x.shape);
    arguments.require_if_present("dgamma", results.dgamma, channels);
    arguments.require_if_present("dbeta", results.dbeta, channels);
    arguments.require_if_present("dresidual", results.dresidual, sources.x.shape);
    table_.normalize_backward({.rows = sources.x.elements() / channels[0],
                               .c = channels[0],
                               .x = sources.x.as<float>(),
                               .y = sources.y.as<float>(),
                               .dy = sources.dy.as<float>(),
                               .mean = sources.mean.as<float>(),
                               .variance = sources.variance.as<float>(),
                               .gamma = sources.gamma.as<float>(),
                               .epsilon = static_cast<float>(rule.epsilon),
                               .slope = static_cast<float>(rule.slope),
                               .of_batch = rule.of_batch,
                               .dx = results.dx.as<float>(),
                               .dgamma = results.dgamma.as<float>(),
                               .dbeta = results.dbeta.as<float>(),
                               .dresidual = results.dresidual.as<float>()},
                              scratch(queue, channels));
  }

  void prelu(Queue& /*queue*/, ConstView x, ConstView alpha, View y) override {
    const Arguments arguments("prelu");
    const Shape channels = arguments.require_rows("x", x);
    arguments.require("alpha", alpha, channels);
    arguments.require("y", y, x.shape);
    table_.prelu(x.as<float>(), alpha.as<float>(), x.elements() / channels[0], channels[0],
                 y.as<float>());
  }

  void prelu_backward(Queue& queue, ConstView x, ConstView alpha, ConstView dy, View dx,
                      View dalpha) override {
    const Arguments arguments("prelu backward");
    const Shape channels = arguments.require_rows("x", x);
    arguments.require("alpha", alpha, channels);
    arguments.require("dy", dy, x.shape);
    arguments.require_if_present("dx", dx, x.shape);
    arguments.require_if_present("dalpha", dalpha, channels);
    table_.prelu_backward({.rows = x.elements() / channels[0],
                           .c = channels[0],
                           .x = x.as<float>(),
                           .alpha = alpha.as<float>(),
                           .dy = dy.as<float>(),
                           .dx = dx.as<float>(),
                           .dalpha = dalpha.as<float>()},
                          scratch(queue, channels));
  }

 private:
  void* scratch(Queue& queue, const Shape& channels) const {
    return cpu_queue(queue).scratch(static_cast<std::size_t>(table_.scratch_bytes(channels[0])));
  }

  static void require_rule(const Arguments& arguments, const NormRule& rule) {
    arguments.require_slope(rule.slope);
    if (!(rule.epsilon > 0)) {
      throw ShapeError(
          fmt::format("{}: epsilon is {}: above 0 needed", arguments.routine(), rule.epsilon));
    }
  }

  const simd::NormTable& table_;
};

}  // namespace

std::unique_ptr<NormKernels> make_norm(const Backend& backend) {
  return std::make_unique<Norm>(backend);
}

}  // namespace gentrain::cpu
