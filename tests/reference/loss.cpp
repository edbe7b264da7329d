// Losses. Of softmax the largest logit of a row is subtracted first: nothing overflows.
#include "kernels/loss.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/reference/families.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

namespace {

void check_rows(const char* routine, const Shape& shape) {
  if (shape.rank() != 2 || shape.elements() == 0) {
    throw ShapeError(fmt::format("{}: rows [n, k] needed that are not empty, but they are {}",
                                 routine, shape.str()));
  }
}

std::int64_t first_largest(const Values& rows, std::int64_t row) {
  std::int64_t best = 0;
  for (std::int64_t k = 1; k < rows.shape()[1]; ++k) {
    best = rows(row, k) > rows(row, best) ? k : best;
  }
  return best;
}

/// log(softmax(logits)), row by row.
Values log_softmax(const Values& logits) {
  Values result(logits.shape());
  for (std::int64_t n = 0; n < logits.shape()[0]; ++n) {
    const double largest = logits(n, first_largest(logits, n));
    double sum = 0;
    for (std::int64_t k = 0; k < logits.shape()[1]; ++k) {
      sum += std::exp(logits(n, k) - largest);
    }
    for (std::int64_t k = 0; k < logits.shape()[1]; ++k) {
      result(n, k) = logits(n, k) - largest - std::log(sum);
    }
  }
  return result;
}

/// Those given, or 1 for each row.
Values row_weights(const Call& call, ConstView weights, std::int64_t n) {
  if (weights.present()) {
    return call.load("weights", weights, {n});
  }
  Values ones({n});
  for (std::int64_t i = 0; i < n; ++i) {
    ones[i] = 1;
  }
  return ones;
}

Values exponential(Values x) {
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    x[i] = std::exp(x[i]);
  }
  return x;
}

class Loss final : public LossKernels {
 public:
  void softmax_cross_entropy(Queue& /*queue*/, ConstView logits, ConstView labels,
                             ConstView weights, View probabilities, View sums) override {
    check_rows("softmax_cross_entropy", logits.shape);
    const Call call("softmax_cross_entropy", probabilities.dtype);
    const Values rows = call.load("logits", logits, logits.shape);
    const Values classes = call.load_integers("labels", labels, {logits.shape[0]}, DType::kI32);
    const Values weight = row_weights(call, weights, logits.shape[0]);
    const Values log_p = log_softmax(rows);
    Values result({2});
    for (std::int64_t n = 0; n < logits.shape[0]; ++n) {
      const auto label = static_cast<std::int64_t>(classes(n));
      result[0] -= weight(n) * log_p(n, label);
      result[1] += first_largest(rows, n) == label ? 1 : 0;
    }
    call.store("sums", result, sums);
    call.store("probabilities", exponential(log_p), probabilities);
  }

  void softmax_cross_entropy_backward(Queue& /*queue*/, ConstView probabilities, ConstView labels,
                                      ConstView weights, double scale, View dlogits) override {
    check_rows("softmax_cross_entropy_backward", dlogits.shape);
    const Call call("softmax_cross_entropy_backward", dlogits.dtype);
    Values result = call.load("probabilities", probabilities, dlogits.shape);
    const Values classes = call.load_integers("labels", labels, {dlogits.shape[0]}, DType::kI32);
    const Values weight = row_weights(call, weights, dlogits.shape[0]);
    for (std::int64_t n = 0; n < dlogits.shape[0]; ++n) {
      for (std::int64_t k = 0; k < dlogits.shape[1]; ++k) {
        const double target = classes(n) == static_cast<double>(k) ? 1 : 0;
        result(n, k) = scale * weight(n) * (result(n, k) - target);
      }
    }
    call.store("dlogits", result, dlogits);
  }

  void softmax(Queue& /*queue*/, ConstView logits, View probabilities) override {
    check_rows("softmax", logits.shape);
    const Call call("softmax", probabilities.dtype);
    const Values rows = call.load("logits", logits, logits.shape);
    call.store("probabilities", exponential(log_softmax(rows)), probabilities);
  }

  void sigmoid_cross_entropy(Queue& /*queue*/, ConstView logits, ConstView targets,
                             View losses) override {
    check_rows("sigmoid_cross_entropy", logits.shape);
    const Call call("sigmoid_cross_entropy", losses.dtype);
    const Values x = call.load("logits", logits, logits.shape);
    const Values t = call.load("targets", targets, logits.shape);
    Values result({logits.shape[0]});
    for (std::int64_t n = 0; n < logits.shape[0]; ++n) {
      for (std::int64_t k = 0; k < logits.shape[1]; ++k) {
        result(n) +=
            std::max(x(n, k), 0.0) - x(n, k) * t(n, k) + std::log1p(std::exp(-std::abs(x(n, k))));
      }
    }
    call.store("losses", result, losses);
  }

  void sigmoid_cross_entropy_backward(Queue& /*queue*/, ConstView logits, ConstView targets,
                                      double scale, View dlogits) override {
    check_rows("sigmoid_cross_entropy_backward", logits.shape);
    const Call call("sigmoid_cross_entropy_backward", dlogits.dtype);
    Values result = call.load("logits", logits, logits.shape);
    const Values t = call.load("targets", targets, logits.shape);
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      result[i] = scale * (1 / (1 + std::exp(-result[i])) - t[i]);
    }
    call.store("dlogits", result, dlogits);
  }

  void squared_error(Queue& /*queue*/, ConstView x, ConstView target, View losses) override {
    check_rows("squared_error", x.shape);
    const Call call("squared_error", losses.dtype);
    const Values a = call.load("x", x, x.shape);
    const Values t = call.load("target", target, x.shape);
    Values result({x.shape[0]});
    for (std::int64_t n = 0; n < x.shape[0]; ++n) {
      for (std::int64_t k = 0; k < x.shape[1]; ++k) {
        result(n) += (a(n, k) - t(n, k)) * (a(n, k) - t(n, k));
      }
    }
    call.store("losses", result, losses);
  }

  void squared_error_backward(Queue& /*queue*/, ConstView x, ConstView target, double scale,
                              View dx) override {
    check_rows("squared_error_backward", x.shape);
    const Call call("squared_error_backward", dx.dtype);
    Values result = call.load("x", x, x.shape);
    const Values t = call.load("target", target, x.shape);
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      result[i] = 2 * scale * (result[i] - t[i]);
    }
    call.store("dx", result, dx);
  }

  void gaussian_sample(Queue& /*queue*/, ConstView latent, ConstView noise, View z,
                       View divergence) override {
    check_rows("gaussian_sample", noise.shape);
    const Call call("gaussian_sample", z.dtype);
    const std::int64_t width = noise.shape[1];
    const Values y = call.load("latent", latent, {noise.shape[0], 2 * width});
    Values sample = call.load("noise", noise, noise.shape);
    Values result({noise.shape[0]});
    for (std::int64_t n = 0; n < noise.shape[0]; ++n) {
      for (std::int64_t k = 0; k < width; ++k) {
        const double mean = y(n, k);
        const double log_variance = y(n, width + k);
        sample(n, k) = mean + std::exp(log_variance / 2) * sample(n, k);
        result(n) += (std::exp(log_variance) + mean * mean - 1 - log_variance) / 2;
      }
    }
    call.store("z", sample, z);
    call.store("divergence", result, divergence);
  }

  void gaussian_sample_backward(Queue& /*queue*/, ConstView latent, ConstView noise, ConstView dz,
                                double scale, View dlatent) override {
    check_rows("gaussian_sample_backward", noise.shape);
    const Call call("gaussian_sample_backward", dlatent.dtype);
    const std::int64_t width = noise.shape[1];
    const Values y = call.load("latent", latent, {noise.shape[0], 2 * width});
    const Values e = call.load("noise", noise, noise.shape);
    const Values dy = call.load("dz", dz, noise.shape);
    Values result({noise.shape[0], 2 * width});
    for (std::int64_t n = 0; n < noise.shape[0]; ++n) {
      for (std::int64_t k = 0; k < width; ++k) {
        const double log_variance = y(n, width + k);
        result(n, k) = dy(n, k) + scale * y(n, k);
        result(n, width + k) = (dy(n, k) * e(n, k) * std::exp(log_variance / 2) +
                                scale * (std::exp(log_variance) - 1)) /
                               2;
      }
    }
    call.store("dlatent", result, dlatent);
  }
};

}  // namespace

std::unique_ptr<LossKernels> make_loss() {
  return std::make_unique<Loss>();
}

}  // namespace gentrain::reference
