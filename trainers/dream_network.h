// The network of a dream: as much of it as the wanted layers need, for images of any size, its
// weights constants.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/graph/executor.h"
#include "core/graph/imported.h"
#include "trainers/dream_image.h"
#include "trainers/dream_options.h"

namespace gentrain {
class SharedBlocks;
}

namespace gentrain::trainers {

/// A term of the loss: a node of a network for one size of images.
struct DreamTerm {
  std::string layer;  // as the job names it
  int node = -1;
  double scale = 0;                    // of the sum of inner squares: -coefficient / size
  std::vector<std::int64_t> channels;  // none: all
};

class DreamNetwork {
 public:
  /// Reads model_file, if one is given; there are no weights yet.
  ///
  /// Throws JobError for no layers, one that is not there (names near it), one twice, or a model
  /// out of a file whose preprocessing is not given; IoError as graph::import_model.
  explicit DreamNetwork(const DreamOptions& options);

  /// Keeps the weights in blocks that all processes of a host have.
  void keep_in(std::shared_ptr<SharedBlocks> blocks) { blocks_ = std::move(blocks); }
  /// Weights of a model out of a file are its own, whatever `weights` says. Else those of a Keras
  /// file, which may have more layers; "random": He's rule, a pure function of the key; "": see
  /// find_weights_file(). Throws IoError as that and graph::read_keras_weights.
  void load(Device& device, Queue& queue, const std::string& weights, RngKey key,
            DType dtype = DType::kF32);

  /// As much of the network as the layers need, for images of h x w pixels. Throws JobError naming
  /// the layer that they do not fit, or one that needs images of one size.
  [[nodiscard]] graph::Graph part_for(std::int64_t h, std::int64_t w) const;
  /// The network for images of h x w pixels. Several can be there at once; it must outlive them.
  /// Throws as part_for().
  [[nodiscard]] std::unique_ptr<graph::Executor> executor(std::int64_t h, std::int64_t w) const;
  /// The terms of such images. Throws JobError for a channel that a layer has not, or a map that is
  /// not larger than its border.
  [[nodiscard]] std::vector<DreamTerm> terms(const graph::Graph& graph) const;

  [[nodiscard]] const InputSpace& space() const { return space_; }
  [[nodiscard]] const ParameterSet& parameters() const { return parameters_; }
  /// What was read: a line for the log, with the file's hash.
  [[nodiscard]] const std::string& note() const { return note_; }
  /// The same without paths: what the values are, wherever their file lies.
  [[nodiscard]] const std::string& identity() const { return identity_; }

 private:
  void require_parameters(const graph::Graph& part) const;

  std::string name_;           // for messages
  bool is_of_a_file_ = false;  // a model with weights of its own
  std::vector<DreamLayer> layers_;
  std::vector<std::string> nodes_;  // of the layers
  graph::Graph whole_;
  InputSpace space_;
  ParameterSet parameters_;
  std::vector<graph::ImportedArray> arrays_;  // of a model out of a file
  std::shared_ptr<SharedBlocks> blocks_;
  std::string note_;
  std::string identity_;
};

/// What one image of h x w pixels takes at least, in bytes: maps that are kept for the gradients,
/// the largest gradients, copies of a wanted map, and the images of the optimizer.
std::int64_t dream_bytes(const graph::Graph& graph, const DreamOptions& options, bool bf16);

/// Multiply-adds of a network forward, over one image.
double dream_products(const graph::Graph& graph);

}  // namespace gentrain::trainers
