// Batch normalisation and PReLU, channel by channel.
#include "kernels/norm.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/reference/activation.h"
#include "tests/reference/families.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

namespace {

/// A tensor of rows with `c` channels.
struct NormExtents {
  std::int64_t rows, c;

  [[nodiscard]] Shape channels() const { return {c}; }
};

NormExtents extents_of(const char* routine, const Shape& shape) {
  if (shape.rank() == 0 || shape.elements() == 0) {
    throw ShapeError(fmt::format("{}: x has shape {}: rows of channels that are not empty needed",
                                 routine, shape.str()));
  }
  const std::int64_t c = shape[shape.rank() - 1];
  return {shape.elements() / c, c};
}

void check(const char* routine, const NormRule& rule) {
  check_slope(routine, rule.slope);
  if (!(rule.epsilon > 0)) {
    throw ShapeError(fmt::format("{}: epsilon is {}: above 0 needed", routine, rule.epsilon));
  }
}

Values load_or(const Call& call, std::string_view name, ConstView view, const Shape& shape,
               double otherwise) {
  return view.present() ? call.load(name, view, shape) : Values(shape, otherwise);
}

void store_if_present(const Call& call, std::string_view name, const Values& values, View view) {
  if (view.present()) {
    call.store(name, values, view);
  }
}

class Norm final : public NormKernels {
 public:
  void statistics(Queue& /*queue*/, ConstView x, View mean, View variance) override {
    const auto [rows, c] = extents_of("batch statistics", x.shape);
    const Call call("batch statistics", mean.dtype);
    const Values values = call.load("x", x, x.shape);
    Values means({c});
    Values squares({c});
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      means(i % c) += values[i] / static_cast<double>(rows);
    }
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      squares(i % c) += std::pow(values[i] - means(i % c), 2) / static_cast<double>(rows);
    }
    call.store("mean", means, mean);
    call.store("variance", squares, variance);
  }

  void normalize(Queue& /*queue*/, const NormRule& rule, const NormSources& sources,
                 View y) override {
    check("normalize", rule);
    const NormExtents extents = extents_of("normalize", sources.x.shape);
    const std::int64_t c = extents.c;
    const Call call("normalize", y.dtype);
    const Values x = call.load("x", sources.x, sources.x.shape);
    const Values mean = call.load("mean", sources.mean, {c});
    const Values variance = call.load("variance", sources.variance, {c});
    const Values gamma = load_or(call, "gamma", sources.gamma, {c}, 1);
    const Values beta = load_or(call, "beta", sources.beta, {c}, 0);
    const Values residual = load_or(call, "residual", sources.residual, x.shape(), 0);
    Values result(x.shape());
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      const std::int64_t k = i % c;
      const double normal = (x[i] - mean(k)) / std::sqrt(variance(k) + rule.epsilon);
      result[i] = rectify(rule.slope, gamma(k) * normal + beta(k) + residual[i]);
    }
    call.store("y", result, y);
  }

  void normalize_backward(Queue& /*queue*/, const NormRule& rule,
                          const NormGradientSources& sources,
                          const NormGradients& results) override {
    check("normalize backward", rule);
    const NormExtents extents = extents_of("normalize backward", sources.x.shape);
    const std::int64_t c = extents.c;
    const Call call("normalize backward", sources.dy.dtype);
    const Values x = call.load("x", sources.x, sources.x.shape);
    const Values mean = call.load("mean", sources.mean, {c});
    const Values variance = call.load("variance", sources.variance, {c});
    const Values gamma = load_or(call, "gamma", sources.gamma, {c}, 1);
    Values g = call.load("dy", sources.dy, x.shape());
    if (rule.slope != 1) {
      const Values y = call.load("y", sources.y, x.shape());
      for (std::int64_t i = 0; i < g.elements(); ++i) {
        g[i] *= y[i] > 0 ? 1 : rule.slope;
      }
    }
    const auto normal = [&](std::int64_t i) {
      return (x[i] - mean(i % c)) / std::sqrt(variance(i % c) + rule.epsilon);
    };
    Values dgamma({c});
    Values dbeta({c});
    for (std::int64_t i = 0; i < g.elements(); ++i) {
      dgamma(i % c) += g[i] * normal(i);
      dbeta(i % c) += g[i];
    }
    Values dx(x.shape());
    const double share = rule.of_batch ? 1 / static_cast<double>(extents.rows) : 0;
    for (std::int64_t i = 0; i < dx.elements(); ++i) {
      const std::int64_t k = i % c;
      dx[i] = gamma(k) / std::sqrt(variance(k) + rule.epsilon) *
              (g[i] - share * (dbeta(k) + normal(i) * dgamma(k)));
    }
    store_if_present(call, "dx", dx, results.dx);
    store_if_present(call, "dgamma", dgamma, results.dgamma);
    store_if_present(call, "dbeta", dbeta, results.dbeta);
    store_if_present(call, "dresidual", g, results.dresidual);
  }

  void prelu(Queue& /*queue*/, ConstView x, ConstView alpha, View y) override {
    const std::int64_t c = extents_of("prelu", x.shape).c;
    const Call call("prelu", y.dtype);
    Values values = call.load("x", x, x.shape);
    const Values slope = call.load("alpha", alpha, {c});
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      values[i] = values[i] > 0 ? values[i] : slope(i % c) * values[i];
    }
    call.store("y", values, y);
  }

  void prelu_backward(Queue& /*queue*/, ConstView x, ConstView alpha, ConstView dy, View dx,
                      View dalpha) override {
    const std::int64_t c = extents_of("prelu backward", x.shape).c;
    const Call call("prelu backward", dy.dtype);
    const Values values = call.load("x", x, x.shape);
    const Values slope = call.load("alpha", alpha, {c});
    Values gradient = call.load("dy", dy, x.shape);
    Values sums({c});
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      sums(i % c) += values[i] > 0 ? 0 : gradient[i] * values[i];
      gradient[i] *= values[i] > 0 ? 1 : slope(i % c);
    }
    store_if_present(call, "dx", gradient, dx);
    store_if_present(call, "dalpha", sums, dalpha);
  }
};

}  // namespace

std::unique_ptr<NormKernels> make_norm() {
  return std::make_unique<Norm>();
}

}  // namespace gentrain::reference
