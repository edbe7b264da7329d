// Objective: what a run minimises over images, the same in training and in evaluation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/context.h"
#include "core/data/dataset.h"
#include "core/data/loader.h"
#include "trainers/loop.h"
#include "trainers/models/network.h"

namespace gentrain::trainers {

/// What an objective makes of some images.
struct ObjectiveTerms {
  Tensor loss;               // []: scale * sum over the images; has the history
  std::vector<double> sums;  // by Objective::names(): sums over the images, unscaled
};

class Objective {
 public:
  virtual ~Objective() = default;
  /// Names of the sums. The first is "loss", in nats; a classifier's second one is "top1": images
  /// whose first largest number is the label's.
  [[nodiscard]] virtual std::span<const std::string_view> names() const = 0;
  /// x [n, h, w, c], normalised; labels [n], i32. Without labels (-1) a classifier must not be
  /// asked.
  virtual ObjectiveTerms compute(Context& context, const Tensor& x, const Tensor& labels,
                                 double scale) const = 0;
  /// The forward pass alone, its result thrown away.
  virtual void forward(Context& context, const Tensor& x) const = 0;
  [[nodiscard]] virtual const std::vector<LayerInfo>& layers() const = 0;
  /// The network of a classifier; null for any other objective.
  [[nodiscard]] virtual const Network* classifier() const { return nullptr; }
};

/// Index of the loss among statistics: there it is a mean over the global batch, the others are
/// sums.
inline constexpr std::size_t kLossMean = 0;

/// Registers the model's parameters and makes its objective. `image`, `classes`: of the data.
/// Throws as build_network.
std::unique_ptr<Objective> make_objective(const ModelOptions& model, const InitOptions& init,
                                          const Shape& image, int classes,
                                          ParameterSet& parameters);

/// Makes the pass that trains an objective; everything given must outlive it.
Pass make_pass(Update& update, const Objective& objective, data::Loader& loader,
               const data::Dataset& dataset, const data::Normalization& normalization);

/// Pixels as a model wants them: x [samples, h, w, c] on the device.
Tensor normalized_images(Context& context, std::span<const std::uint8_t> pixels,
                         std::int64_t samples, const Shape& sample_shape,
                         const data::Normalization& normalization);

}  // namespace gentrain::trainers
