// The convolutional part of VGG16 and VGG19 as a fixed extractor of features, for content losses
// and dreams: images in, the maps of named layers out, differentiable with respect to the images.
// Its weights are a parameter set of their own that no tape is told of: they cost no gradient.
// Source: Simonyan and Zisserman 2015, arXiv:1409.1556; names of layers are those of Keras.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/nn/layers.h"
#include "trainers/models/input_conversion.h"

namespace gentrain::io {
class KerasWeights;
}

namespace gentrain::trainers {

enum class VggNet : std::uint8_t { kVgg16, kVgg19 };

/// What is done with an image before the first convolution.
enum class VggInput : std::uint8_t {
  kAsIs,
  /// From RGB in -1..1 to what the ImageNet weights were trained on: see InputConversion.
  kCaffe,
};

/// A layer whose output is wanted: "block3_conv4" behind its ReLU or before it, "block3_pool".
struct VggMap {
  std::string layer;
  bool before_activation = false;
};

class VggFeatures {
 public:
  /// A network that is deep enough for these maps; it has no weights yet. `width`: channels of the
  /// first block; the others have 2, 4, 8 and 8 times as many. Throws JobError for no maps, an
  /// unknown layer (lists the known ones) and a pool before its activation.
  VggFeatures(VggNet net, std::span<const VggMap> maps, VggInput input = VggInput::kAsIs,
              std::int64_t width = 64);

  /// All layers of a network in order: block1_conv1, block1_conv2, block1_pool and so on.
  static std::vector<std::string> layer_names(VggNet net);

  /// Keeps the weights to come in blocks that all processes of a host have; each process then loads
  /// or initializes, and one of them writes.
  void keep_in(std::shared_ptr<SharedBlocks> blocks) { blocks_ = std::move(blocks); }
  /// Reads the weights of its layers, f32, from a Keras file that may hold more layers. Throws
  /// IoError as io::KerasWeights: naming the file, the layer that is missing or does not fit, and
  /// what the file holds.
  void load(Device& device, Queue& queue, const io::KerasWeights& weights);
  /// Of the layers whose weights it needs those that are not in a file; in order.
  [[nodiscard]] std::vector<std::string> missing_in(const io::KerasWeights& weights) const;
  /// Weights by He's rule and zero biases: a pure function of the key.
  void initialize(Device& device, Queue& queue, RngKey key, DType dtype = DType::kF32);

  /// x      [n, h, w, 3]
  /// result one tensor for each map, in the order asked for: [n, h / 2^p, w / 2^p, channels] behind
  ///        p pools, extents rounded down. No layer behind the deepest map is computed.
  ///
  /// Throws JobError as the constructor, Error for a map deeper than those that it was given or
  /// without weights, ShapeError naming the layer if x has other channels or becomes too small.
  std::vector<Tensor> forward(Context& context, const Tensor& x,
                              std::span<const VggMap> maps) const;

  /// Multiply-adds of its convolutions forward over one image of h x w pixels, down to the deepest
  /// map; what is done with the image before them is left out.
  [[nodiscard]] double products(std::int64_t h, std::int64_t w) const;

  /// NAME/weight [out, 3, 3, in] and NAME/bias [out] of each convolution down to the deepest map.
  [[nodiscard]] const ParameterSet& parameters() const { return parameters_; }
  /// SHA-256 of the file that the weights are from; "" if they are from none.
  [[nodiscard]] const std::string& file_sha256() const { return file_sha256_; }

 private:
  struct Layer;

  [[nodiscard]] int index_of(const VggMap& map) const;
  [[nodiscard]] int deepest(std::span<const VggMap> maps) const;
  void compute(Context& context, Tensor y, std::vector<Layer>& layers) const;
  void allocate(Device& device, Queue& queue, DType dtype, const std::function<void()>& fill);

  VggNet net_;
  std::vector<std::string> names_;  // of all layers
  ParameterSet parameters_;
  std::shared_ptr<SharedBlocks> blocks_;
  std::optional<InputConversion> caffe_;  // with kCaffe
  std::vector<nn::Conv2d> convs_;         // in order
  int depth_ = 0;                         // layers that there are weights for
  bool ready_ = false;
  std::string file_sha256_;
};

}  // namespace gentrain::trainers
