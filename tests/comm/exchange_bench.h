// What tests of the exchange share: a model whose gradients are pure functions of step, shard and
// element, and the sum that the tree says, computed level by level.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/exchange.h"
#include "tests/reference/reference_device.h"

namespace gentrain::test {

/// Any number, of very different sizes: sums in another order have other bits.
inline float wild(std::uint64_t step, std::uint64_t shard, std::uint64_t element) {
  std::uint64_t word = ((step << 40) + (shard << 32) + element + 1) * 0x9E3779B97F4A7C15U;
  word = (word ^ (word >> 29)) * 0xBF58476D1CE4E5B9U;
  word ^= word >> 32;
  const float scale = 1.0F / static_cast<float>(1U << (word >> 60));
  return (uniform_float(static_cast<std::uint32_t>(word)) - 0.5F) * scale;
}

/// Five parameters over five blocks, with gaps between them and a last block that is short.
class Model {
 public:
  Model() : device_(make_reference_device()), queue_(device_->make_queue()) {
    parameters_.add("a", {5000}, {}, 1, 1);
    parameters_.add("b", {7, 3}, {}, 1, 1);
    parameters_.add("c", {100, 90}, {}, 1, 1);
    parameters_.add("d", {4097}, {}, 1, 1);
    parameters_.add("e", {1}, {}, 1, 1);
    parameters_.allocate(*device_, *queue_);
  }

  [[nodiscard]] Device& device() { return *device_; }
  [[nodiscard]] Queue& queue() { return *queue_; }
  [[nodiscard]] ParameterSet& parameters() { return parameters_; }
  [[nodiscard]] std::vector<float> weights() {
    return copy_to_host<float>(*device_, *queue_, parameters_.arena());
  }

  /// Writes the gradient of a parameter and completes it.
  void complete(comm::ShardGradients& gradients, std::uint64_t step, std::int64_t shard,
                int parameter) {
    const Tensor slot = gradients.slot(parameter);
    float* values = slot.view().as<float>();
    for (std::int64_t i = 0; i < slot.elements(); ++i) {
      values[i] = wild(step, static_cast<std::uint64_t>(shard),
                       static_cast<std::uint64_t>(parameters_.info(parameter).offset + i));
    }
    gradients.complete(parameter);
  }
  /// Sets statistic i to shard + i / 3 and ends the shard.
  static void finish(comm::ShardGradients& gradients, std::int64_t shard) {
    const std::span<float> statistics = gradients.statistics();
    for (std::size_t i = 0; i < statistics.size(); ++i) {
      statistics[i] = static_cast<float>(shard) + static_cast<float>(i) / 3;
    }
    gradients.finish();
  }

  /// w += gradient / (1 + norm)
  comm::Exchange::UpdateSegment add_gradient() {
    return [this](comm::Range elements, const Tensor& gradient, double norm) {
      const float* g = gradient.cview().as<float>();
      float* w = parameters_.arena().view().as<float>() + elements.first;
      for (std::int64_t i = 0; i < elements.size(); ++i) {
        w[i] += g[i] * static_cast<float>(1 / (1 + norm));
      }
    };
  }

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Queue> queue_;
  ParameterSet parameters_;
};

/// The sum of one value per shard over the tree, level by level.
inline float tree_sum(std::vector<float> values) {
  while (values.size() > 1) {
    std::vector<float> above;
    for (std::size_t i = 0; i < values.size(); i += 2) {
      above.push_back(i + 1 < values.size() ? values[i] + values[i + 1] : values[i]);
    }
    values = above;
  }
  return values.front();
}

}  // namespace gentrain::test
