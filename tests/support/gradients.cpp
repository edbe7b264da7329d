// Central differences, and the receiver of parameter gradients.
#include "tests/support/gradients.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "tests/support/compare.h"

namespace gentrain::test {

GradientStore::GradientStore(const Workbench& bench, const ParameterSet& parameters,
                             std::set<int> frozen)
    : set_id_(parameters.id()), frozen_(std::move(frozen)) {
  for (int i = 0; i < parameters.size(); ++i) {
    slots_.push_back(bench.full(parameters.info(i).shape, std::numeric_limits<double>::quiet_NaN(),
                                parameters.arena().dtype()));
  }
}

Tensor GradientStore::slot(int parameter) {
  EXPECT_TRUE(wants(parameter)) << "the slot of frozen parameter " << parameter << " was asked for";
  return slots_[static_cast<std::size_t>(parameter)];
}

namespace {

constexpr double kDifference = 1e-5;

class GradientCheck {
 public:
  GradientCheck(const Workbench& bench, const Function& function, bool training)
      : bench_(bench), function_(function), training_(training) {}

  /// Gradients of the weighted sum at every input, from the tape.
  std::vector<std::vector<double>> from_tape(std::vector<Tensor> inputs) {
    Tape tape(bench_.device(), bench_.queue());
    tape.begin({});
    for (Tensor& input : inputs) {
      tape.watch(input);
    }
    Context context{bench_.device(), bench_.queue(), &tape, training_, kKey};
    const Tensor y = function_(context, inputs);
    const Tensor weights = bench_.random(y.shape(), kKey.fold(1), DType::kF64, 0.5, 1.5);
    tape.backward(ops::sum(context, ops::multiply(context, y, weights)));
    std::vector<std::vector<double>> gradients;
    for (const Tensor& input : inputs) {
      const Tensor gradient = tape.gradient(input);
      gradients.push_back(gradient.defined()
                              ? bench_.values(gradient)
                              : std::vector<double>(static_cast<std::size_t>(input.elements())));
    }
    return gradients;
  }

  /// The gradient at one input by central differences.
  std::vector<double> from_differences(const std::vector<Tensor>& inputs, std::size_t which) {
    const std::vector<double> at = bench_.values(inputs[which]);
    std::vector<double> gradient;
    for (std::size_t i = 0; i < at.size(); ++i) {
      std::vector<double> moved = at;
      moved[i] = at[i] + kDifference;
      const double above = weighted_sum(inputs, which, moved);
      moved[i] = at[i] - kDifference;
      const double below = weighted_sum(inputs, which, moved);
      gradient.push_back((above - below) / (2 * kDifference));
    }
    return gradient;
  }

  /// Absolute size of the terms of the weighted sum: what its rounding error grows with.
  double size_of_terms(const std::vector<Tensor>& inputs) {
    double size = 1;
    for (const double value : terms(inputs)) {
      size += std::abs(value);
    }
    return size;
  }

 private:
  static constexpr RngKey kKey{20240229};

  std::vector<double> terms(std::span<const Tensor> inputs) {
    Context context{bench_.device(), bench_.queue(), nullptr, training_, kKey};
    const Tensor y = function_(context, inputs);
    std::vector<double> result = random_values(y.elements(), kKey.fold(1), 0.5, 1.5);
    const std::vector<double> values = bench_.values(y);
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] *= values[i];
    }
    return result;
  }

  double weighted_sum(std::vector<Tensor> inputs, std::size_t which,
                      std::span<const double> values) {
    inputs[which] = bench_.tensor(inputs[which].shape(), values, DType::kF64);
    double sum = 0;
    for (const double term : terms(inputs)) {
      sum += term;
    }
    return sum;
  }

  const Workbench& bench_;
  const Function& function_;
  bool training_;
};

}  // namespace

::testing::AssertionResult gradients_agree(const Workbench& bench,
                                           const std::vector<Tensor>& inputs,
                                           const Function& function, bool training, double bound) {
  GradientCheck check(bench, function, training);
  const auto gradients = check.from_tape(inputs);
  const double rounding =
      8 * std::numeric_limits<double>::epsilon() * check.size_of_terms(inputs) / kDifference;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<double> expected = check.from_differences(inputs, i);
    double largest = 0;
    for (const double value : expected) {
      largest = std::max(largest, std::abs(value));
    }
    const std::vector<double> magnitude(expected.size(), largest + rounding / bound);
    const auto result = within(bound, inputs[i].shape(), gradients[i], expected, magnitude);
    if (!result) {
      return ::testing::AssertionFailure()
             << fmt::format("gradient of input {}: {}", i, result.message());
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace gentrain::test
