// The classifier's objective: softmax cross entropy, and how many images are right.
#pragma once

#include <memory>

#include "trainers/objective.h"

namespace gentrain::trainers {

class Classifier final : public Objective {
 public:
  explicit Classifier(std::unique_ptr<Network> network) : network_(std::move(network)) {}
  [[nodiscard]] std::span<const std::string_view> names() const override;
  ObjectiveTerms compute(Context& context, const Tensor& x, const Tensor& labels,
                         double scale) const override;
  void forward(Context& context, const Tensor& x) const override;
  [[nodiscard]] const std::vector<LayerInfo>& layers() const override { return network_->layers(); }
  [[nodiscard]] const Network* classifier() const override { return network_.get(); }

 private:
  std::unique_ptr<Network> network_;
};

}  // namespace gentrain::trainers
