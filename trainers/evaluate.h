// Evaluation: every sample of a data set once, whatever the number of ranks; and the same for
// prediction, where the probabilities are wanted.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "core/data/dataset.h"
#include "trainers/models/network.h"
#include "trainers/step.h"

namespace gentrain::trainers {

struct Evaluation {
  std::int64_t correct = 0;
  std::int64_t samples = 0;
  double loss = 0;  // mean cross entropy, nats
  [[nodiscard]] double top1() const {
    return samples == 0 ? 0.0 : static_cast<double>(correct) / static_cast<double>(samples);
  }
};

/// Runs the network over the data set in chunks of `chunk` images dealt out over ranks and workers;
/// sums go over the chunks in order, so they are the same for any number of either. Collective.
Evaluation evaluate(comm::Communicator& communicator, StepRunner& runner, const Network& network,
                    const data::Dataset& dataset, const data::Normalization& normalization,
                    std::int64_t chunk);

/// Probabilities [count, classes] of samples [first, first + count). On this rank alone.
std::vector<float> predict(StepRunner& runner, const Network& network, const data::Dataset& dataset,
                           const data::Normalization& normalization, std::int64_t first,
                           std::int64_t count);

/// Pixels as the network wants them: x [samples, h, w, c] on the device.
Tensor normalized_images(Context& context, std::span<const std::uint8_t> pixels,
                         std::int64_t samples, const Shape& sample_shape,
                         const data::Normalization& normalization);

}  // namespace gentrain::trainers
