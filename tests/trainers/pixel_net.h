// A data set and a network that are small enough to know every answer: samples of one pixel, and a
// dense layer on it.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "core/data/dataset.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {

/// Samples of one pixel, which is their number; counts how often each is read.
class CountedPixels final : public data::Dataset {
 public:
  explicit CountedPixels(std::int64_t size) : reads_(static_cast<std::size_t>(size)) {}
  [[nodiscard]] std::int64_t size() const override {
    return static_cast<std::int64_t>(reads_.size());
  }
  [[nodiscard]] Shape sample_shape() const override { return {1, 1, 1}; }
  [[nodiscard]] int classes() const override { return 3; }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    ++reads_[static_cast<std::size_t>(index)];
    *pixels = static_cast<std::uint8_t>(index);
  }
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return static_cast<std::int32_t>(index % 3);
  }
  [[nodiscard]] bool in_memory() const override { return true; }
  [[nodiscard]] std::string sha256(const std::stop_token&) const override { return ""; }
  [[nodiscard]] std::string description() const override { return "counted"; }

  /// Reads of each sample since the last call.
  std::vector<int> take_reads() const {
    std::vector<int> taken;
    for (auto& count : reads_) {
      taken.push_back(count.exchange(0));
    }
    return taken;
  }

 private:
  mutable std::vector<std::atomic<int>> reads_;
};

/// Three logits: the pixel times 0, `slope` and -`slope`.
struct PixelNet {
  PixelNet(Device& device, Queue& queue) {
    ModelOptions model;
    model.layers = {layer_of(LayerKind::kFlatten), linear_layer(3)};
    objective = make_objective(model, {}, {1, 1, 1}, 3, parameters);
    parameters.allocate(device, queue);
    set_slope(device, queue, 0.5F);
  }
  void set_slope(Device& device, Queue& queue, float slope) {
    const std::vector<float> weights = {0.0F, slope, -slope};
    copy_from_host<float>(device, queue, weights, parameters[0]);
    parameters.mark_changed();
  }
  ParameterSet parameters;
  [[nodiscard]] const Network& network() const { return *objective->classifier(); }
  std::unique_ptr<Objective> objective;
};

}  // namespace gentrain::trainers
