// The loss of a dream and its gradient by the image.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/autograd.h"
#include "core/graph/executor.h"
#include "trainers/dream_network.h"
#include "trainers/dream_options.h"

namespace gentrain::trainers {

/// The terms of a loss, weighted; their sum is minimised.
struct DreamTerms {
  std::vector<double> layers;  // at most 0 where the coefficient is above 0
  double continuity = 0;
  double l2 = 0;
  [[nodiscard]] double total() const;
  friend bool operator==(const DreamTerms&, const DreamTerms&) = default;
};

/// A function of images of one size.
class DreamLoss {
 public:
  struct Setting {
    Device& device;  // what cuts operations into parts, where there are parts
    Queue& queue;
    const graph::Executor& network;
    std::vector<DreamTerm> terms;
    DreamWeights weights;
    bool bf16 = false;          // networks compute on tensors of bf16
    DType dtype = DType::kF32;  // of the network's parameters
  };
  /// The setting's references must outlive it.
  explicit DreamLoss(Setting setting);

  /// x, gradient [h, w, 3] in the network's space, rows of pixels. Sums are in double; a layer's
  /// gradient comes back through the network in its own type. Not finite where x is not.
  double evaluate(std::span<const double> x, std::span<double> gradient);

  /// What evaluate() found, call by call since clear().
  [[nodiscard]] const std::vector<DreamTerms>& evaluations() const { return evaluations_; }
  void clear() { evaluations_.clear(); }

 private:
  Tensor into_device(std::span<const double> x) const;
  void add_layers(std::span<const double> x, DreamTerms& terms, std::span<double> gradient);

  Setting setting_;
  std::vector<int> nodes_;  // of the terms
  std::int64_t h_ = 0;
  std::int64_t w_ = 0;
  Tape tape_;
  std::vector<DreamTerms> evaluations_;
};

}  // namespace gentrain::trainers
