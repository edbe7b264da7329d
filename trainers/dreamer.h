// One image's dream: sizes, iterations, and what optimises between them. Its state between two
// iterations is the image alone, so that it goes on with the same bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/parted_device.h"
#include "trainers/dream_image.h"
#include "trainers/dream_loss.h"
#include "trainers/dream_network.h"
#include "trainers/dream_options.h"

namespace gentrain::trainers {

/// Where a dream stands: behind so many iterations of an octave, from 0.
struct DreamState {
  std::int64_t octave = 0;
  std::int64_t iterations = 0;
  DreamImage image;  // empty before the first
};

/// What an iteration did.
struct DreamStep {
  std::int64_t octave = 0;     // from 0
  std::int64_t iteration = 0;  // of the octave, from 0
  std::int64_t h = 0;
  std::int64_t w = 0;
  double before = 0;             // loss of the image with its noise
  DreamTerms after;              // likewise, behind the iteration
  std::int64_t evaluations = 0;  // gradients of the whole loss
  std::string ending;            // why L-BFGS ended; "" of gradient ascent
};

/// Who computes.
struct DreamHands {
  Device& device;      // holds the network's weights
  RunParts run_parts;  // as make_parted_device()
  int parts = 1;       // that operations are cut into: the contract's op_threads
  bool bf16 = false;
  DType dtype = DType::kF32;
};

class Dreamer {
 public:
  /// The references must outlive it.
  Dreamer(const DreamNetwork& network, const DreamOptions& options, const DreamHands& hands);

  /// Goes on from `state` to the end.
  ///
  /// original the image that the dream begins with, in the network's space, of its last size
  /// key      of this image's noise
  /// watch    called behind each iteration; false ends the dream there
  ///
  /// Result: whether it came to its end. Throws JobError for an image that is too small, as
  /// DreamNetwork; NumericError if the loss is not finite; DeviceError without memory.
  bool run(const DreamImage& original, RngKey key, DreamState& state,
           const std::function<bool(const DreamStep&, const DreamState&)>& watch);

  /// The loss of images of this size, for benchmarks and tests; one at a time.
  DreamLoss& loss_for(std::int64_t h, std::int64_t w);

 private:
  DreamStep iterate(RngKey key, DreamState& state);
  void minimise(DreamLoss& loss, std::vector<double>& x, DreamStep& step) const;
  void ascend(DreamLoss& loss, std::vector<double>& x, DreamStep& step) const;

  const DreamNetwork& network_;
  const DreamOptions& options_;
  DreamHands hands_;
  std::unique_ptr<Device> parted_;
  std::unique_ptr<Queue> queue_;
  std::unique_ptr<graph::Executor> executor_;
  std::unique_ptr<DreamLoss> loss_;
};

/// Whether the dream of an image of h x w pixels can go on from `state`.
bool can_go_on(const DreamOptions& options, const DreamState& state, std::int64_t h,
               std::int64_t w);

/// Size of an octave of an image of h x w pixels.
Shape octave_size(const DreamOptions& options, std::int64_t octave, std::int64_t h, std::int64_t w);

}  // namespace gentrain::trainers
