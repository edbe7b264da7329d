// What a job says of its dreams: images that are changed until a network's layers answer more
// strongly, as plain values with their defaults.
// Source: Mordvintsev, Olah and Tyka 2015, "Inceptionism: going deeper into neural networks"; the
// presets are those of Keras's example deep_dream.py for VGG16.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/image/folder.h"

namespace gentrain::trainers {

/// A layer that is to answer: its term of the loss is
/// - coefficient * (sum of squares of its map, kDreamBorder pixels on each side left out) / size,
/// size the map's number of values, those of its border too.
struct DreamLayer {
  std::string name;
  double coefficient = 0;
  std::vector<std::int64_t> channels;  // that count, also in the size; none: all
  friend bool operator==(const DreamLayer&, const DreamLayer&) = default;
};
inline constexpr std::int64_t kDreamBorder = 2;

/// What is minimised beside the layers' terms, x the image in the network's input space, `size` its
/// number of values.
struct DreamWeights {
  /// Of sum((dx^2 + dy^2)^1.25) / size, dx and dy the differences to the pixels on the right and
  /// below: keeps the image smooth.
  double continuity = 0.1;
  double l2 = 0.02;  // of sum(x^2) / size: keeps values near the mean colour
  friend bool operator==(const DreamWeights&, const DreamWeights&) = default;
};

/// How an image becomes what the network takes. kAuto: as the built-in network was trained; kCaffe:
/// BGR in 0..255 minus means; kInception: RGB in -1..1; kTorch: RGB in 0..1 minus means, over
/// standard deviations; kNone: RGB in 0..255.
enum class DreamPreprocess : std::uint8_t { kAuto, kCaffe, kInception, kTorch, kNone };

struct DreamOptimizer {
  enum class Name : std::uint8_t { kLbfgs, kGradientAscent };
  Name name = Name::kLbfgs;
  std::int64_t max_evaluations = 7;  // kLbfgs: of the loss with its gradient, in an iteration
  /// kLbfgs: the first step is one unit of length, and grows by this factor while the loss falls.
  double growth = 10;
  std::int64_t steps = 20;  // kGradientAscent: in an iteration
  double lr = 1;            // kGradientAscent: times the gradient
  bool normalised = true;   // kGradientAscent: gradients are divided by their mean absolute value
  friend bool operator==(const DreamOptimizer&, const DreamOptimizer&) = default;
};

struct DreamOptions {
  enum class Preset : std::uint8_t { kDreamy, kBadTrip, kNone };

  std::vector<std::string> images;  // files and folders; none: see dream_sources()
  std::int64_t height = 0;          // of all images; 0: as they are
  std::int64_t width = 0;           // 0 with height alone
  image::Fit fit = image::Fit::kStretch;
  std::string network = "vgg16";  // one of kPretrainedNames; of no meaning with `model_file`
  std::string model_file;         // a whole model of Keras or ONNX; empty: `network`
  DreamPreprocess preprocess = DreamPreprocess::kAuto;
  Preset preset = Preset::kDreamy;
  /// The preset that the values below are of, or began as.
  Preset taken = Preset::kDreamy;
  std::vector<DreamLayer> layers = {{"block5_conv1", 0.05, {}}, {"block5_conv2", 0.02, {}}};
  DreamWeights weights;
  double jitter = 0;            // noise of up to so much in an iteration, in the network's space
  std::int64_t iterations = 5;  // for each octave
  DreamOptimizer optimizer;
  std::int64_t octaves = 1;  // sizes, the last one the image's own
  double octave_scale = 1.4;
  double zoom = 1;  // between two iterations the image is enlarged so much about its middle
  friend bool operator==(const DreamOptions&, const DreamOptions&) = default;
};

/// Sets layers, weights and jitter as options.preset has them, unless they were taken before.
inline void take_preset(DreamOptions& options) {
  if (options.taken == options.preset) {
    return;
  }
  options.taken = options.preset;
  switch (options.preset) {
    case DreamOptions::Preset::kDreamy:
      options.layers = {{"block5_conv1", 0.05, {}}, {"block5_conv2", 0.02, {}}};
      options.weights = {0.1, 0.02};
      options.jitter = 0;
      break;
    case DreamOptions::Preset::kBadTrip:
      options.layers = {
          {"block4_conv1", 0.05, {}}, {"block4_conv2", 0.01, {}}, {"block4_conv3", 0.01, {}}};
      options.weights = {0.1, 0.8};
      options.jitter = 5;
      break;
    case DreamOptions::Preset::kNone:
      options.layers.clear();
      options.weights = {0, 0};
      options.jitter = 0;
      break;
  }
}

}  // namespace gentrain::trainers
