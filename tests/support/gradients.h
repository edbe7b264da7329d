// Gradients in tests: a plain receiver for those of a parameter set, and the check of an op's
// backward closure against central differences.
#pragma once

#include <functional>
#include <set>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/context.h"
#include "core/parameters.h"
#include "tests/support/workbench.h"

namespace gentrain::test {

/// The gradients of one parameter set, each a tensor of its own, NaN until written.
class GradientStore final : public ParameterGradients {
 public:
  /// `frozen`: indices of the parameters that want no gradient.
  GradientStore(const Workbench& bench, const ParameterSet& parameters, std::set<int> frozen = {});

  [[nodiscard]] std::uint64_t set_id() const override { return set_id_; }
  [[nodiscard]] bool wants(int parameter) const override { return !frozen_.contains(parameter); }
  Tensor slot(int parameter) override;
  void complete(int parameter) override { completed_.push_back(parameter); }

  /// The parameters that were completed, in that order.
  [[nodiscard]] const std::vector<int>& completed() const { return completed_; }
  [[nodiscard]] const Tensor& gradient(int parameter) const {
    return slots_[static_cast<std::size_t>(parameter)];
  }

 private:
  std::uint64_t set_id_;
  std::set<int> frozen_;
  std::vector<Tensor> slots_;
  std::vector<int> completed_;
};

/// A differentiable function of f64 tensors.
using Function = std::function<Tensor(Context& context, std::span<const Tensor> inputs)>;

/// Compares the gradients of sum(r * function(inputs)), r fixed random weights, with central
/// differences of step 1e-5 at every element of every input.
///
/// Inputs are f64. Errors may be up to `bound` times the largest gradient of an input, and rounding
/// of the differences is allowed for; an op whose backward is wrong anywhere is off by far more.
::testing::AssertionResult gradients_agree(const Workbench& bench,
                                           const std::vector<Tensor>& inputs,
                                           const Function& function, bool training = false,
                                           double bound = 1e-7);

}  // namespace gentrain::test
