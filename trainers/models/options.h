// What a job says of its model, as plain values with their defaults.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trainers/models/layer_spec.h"
#include "trainers/models/preprocessing.h"

namespace gentrain::trainers {

/// Names of the built-in models.
inline constexpr std::array<std::string_view, 8> kModelNames = {
    "lenet", "vae", "vae_conv", "srgan", "inception_v3", "vgg16", "vgg19", "squeezenet"};

/// Extents of a variational autoencoder.
struct VaeOptions {
  std::int64_t latent = 100;  // numbers that stand for an image
  std::int64_t hidden = 128;  // of the dense layer on either side
  friend bool operator==(const VaeOptions&, const VaeOptions&) = default;
};

/// What ops::gaussian_shrink takes as sigma.
inline constexpr double kLeastBlur = 0.1;
inline constexpr double kLargestBlur = 64;

/// Extents of SRGAN's networks.
struct SrganOptions {
  enum class Variant : std::uint8_t { kBook, kPaper };
  Variant variant = Variant::kBook;
  std::int64_t width = 64;  // channels of the generator, a multiple of 4
  std::int64_t blocks = 0;  // residual blocks of the generator; 0: 5, of the paper's 16
  /// Small images are means by a Gaussian of this standard deviation, in pixels of the large ones;
  /// in [kLeastBlur, kLargestBlur]; 0: means of 4 x 4 pixels.
  double blur = 0;
  /// Share of themselves that averages of the generator's weights keep behind a step, below 1; they
  /// make the images of evaluations, pictures and the trained model. 0: there are none.
  double ema = 0;
  friend bool operator==(const SrganOptions&, const SrganOptions&) = default;
};

/// How like the photograph the generated image is: by maps of a network, pixel by pixel, or both.
struct ContentOptions {
  enum class Network : std::uint8_t { kVgg19, kVgg16, kPixels };
  /// Of images in -1..1. kCaffe: to what the ImageNet weights were trained on; kNone: as they are.
  enum class Preprocess : std::uint8_t { kCaffe, kNone };
  /// kMeanSquare: each map's squared difference is divided by the map's mean square over training
  /// images.
  enum class Scale : std::uint8_t { kMeanSquare, kNone };
  Network network = Network::kVgg19;
  /// A Keras file; "random": He's rule; empty: searched for in $GENTRAIN_DATA/weights, then in
  /// data/weights.
  std::string weights;
  std::vector<std::string> maps;    // names of layers; none: see content_maps()
  std::vector<double> map_weights;  // one for each map; none: 1 each
  bool before_activation = false;   // the maps before their ReLU
  /// Of the pixels' mean squared difference beside the maps.
  double pixel_weight = 0;
  Preprocess preprocess = Preprocess::kCaffe;
  Scale scale = Scale::kMeanSquare;
  /// Whether maps of training images are kept as files in data.cache. Changes no result.
  bool cache = false;
  friend bool operator==(const ContentOptions&, const ContentOptions&) = default;
};

/// The maps that a job names, else the last ones of the network's first three blocks.
inline std::vector<std::string> content_maps(const ContentOptions& content) {
  if (!content.maps.empty()) {
    return content.maps;
  }
  const bool vgg19 = content.network == ContentOptions::Network::kVgg19;
  return {"block1_conv2", "block2_conv2", vgg19 ? "block3_conv4" : "block3_conv3"};
}

struct AdversarialOptions {
  enum class Loss : std::uint8_t { kLeastSquares, kCrossEntropy };
  /// Both networks' gradients from one forward pass, or the discriminator's update first.
  enum class Updates : std::uint8_t { kTogether, kAlternating };
  Loss loss = Loss::kLeastSquares;
  double weight = 1e-3;  // beside the content loss
  Updates updates = Updates::kTogether;
  friend bool operator==(const AdversarialOptions&, const AdversarialOptions&) = default;
};

/// Of the networks that ImageNet weights exist for: what stands behind their convolutions, and how
/// their batch normalisations train.
struct PretrainedOptions {
  /// kHead: global average pooling, a dense layer with ReLU, one for the classes; kOriginal: what
  /// the published network has; kNone: nothing, the network gives feature maps; kRegression: a
  /// dense layer for the classes behind the pooled output of `layer`, and nothing else.
  enum class Top : std::uint8_t { kHead, kOriginal, kNone, kRegression };
  /// What of a layer's maps [h, w, c] a regression sees: of each channel the mean or the largest
  /// value, or all.
  enum class Pool : std::uint8_t { kAverage, kMax, kNone };
  Top top = Top::kHead;
  std::int64_t hidden = 1024;  // of the head's first dense layer; 0: there is none
  /// Whether batch normalisations that are trained normalise with the batch's statistics, or with
  /// the file's as constants.
  bool batch_statistics = false;
  std::string layer;           // kRegression: a layer's name
  Pool pool = Pool::kAverage;  // kRegression
  friend bool operator==(const PretrainedOptions&, const PretrainedOptions&) = default;
};

/// A whole model out of a file of Keras or ONNX.
struct ImportedOptions {
  /// kOriginal: the file's own output, a number for each class; kHead: behind `layer` global
  /// average pooling, if it gives maps, a dense layer with ReLU (PretrainedOptions::hidden), one
  /// for the classes.
  enum class Top : std::uint8_t { kOriginal, kHead };
  std::string file;  // empty: none
  Top top = Top::kOriginal;
  std::string layer;  // kHead: a layer by the file's name; empty: the file's output
  /// What the network takes, of images in -1..1.
  Preprocessing preprocess = Preprocessing::kNone;
  /// No key. The network as JSON, which stands in place of the file: of a model or a checkpoint;
  /// see imported_text() in imported.h.
  std::string network;
  friend bool operator==(const ImportedOptions&, const ImportedOptions&) = default;
};

/// One of `name`, `layers` and `imported` is set.
struct ModelOptions {
  std::string name;               // one of kModelNames
  std::vector<LayerSpec> layers;  // a sequential network
  ImportedOptions imported;       // a network out of a file
  VaeOptions vae;                 // of the model "vae"
  SrganOptions srgan;             // of the model "srgan"
  /// Of inception_v3, vgg16, vgg19 and squeezenet; `hidden` and `batch_statistics` of `imported`.
  PretrainedOptions pretrained;
  friend bool operator==(const ModelOptions&, const ModelOptions&) = default;
};
inline bool is_vae(const ModelOptions& model) {
  return model.name == "vae" || model.name == "vae_conv";
}
inline bool is_srgan(const ModelOptions& model) {
  return model.name == "srgan";
}
inline bool is_pretrained(const ModelOptions& model) {
  return model.name == "inception_v3" || model.name == "vgg16" || model.name == "vgg19" ||
         model.name == "squeezenet";
}
inline bool is_imported(const ModelOptions& model) {
  return !model.imported.file.empty() || !model.imported.network.empty();
}
/// What messages call a model: its name, "sequential", or the file that it is out of.
inline std::string called(const ModelOptions& model) {
  if (is_imported(model)) {
    return model.imported.file;
  }
  return model.layers.empty() ? model.name : "sequential";
}
/// Whether a pretrained network was trained on BGR in 0..255 minus means, not on RGB in -1..1.
inline bool takes_bgr(const ModelOptions& model) {
  return is_pretrained(model) && model.name != "inception_v3";
}

}  // namespace gentrain::trainers
