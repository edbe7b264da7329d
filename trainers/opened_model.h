// A model opened for predictions and features, whoever wrote it: gentrain, another framework, or
// the authors of a built-in network's weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/graph/executor.h"
#include "core/graph/imported.h"
#include "core/image/folder.h"
#include "trainers/model_io.h"
#include "trainers/models/graph_network.h"
#include "trainers/models/preprocessing.h"

namespace gentrain::trainers {

/// What the command line says of a model.
struct ModelChoice {
  /// A model file or the folder of a run, of gentrain; a whole model that Keras or an ONNX tool
  /// wrote; or one of kPretrainedNames.
  std::string model = {};
  // Of built-in networks:
  std::string weights = {};  // a Keras file; "random"; empty: see find_weights_file()
  PretrainedOptions::Top top = PretrainedOptions::Top::kOriginal;  // kOriginal or kNone
  bool without_weights = false;                                    // none are read: for a summary
  // Of all but models of gentrain, whose files say it:
  std::optional<Preprocessing> preprocessing = {};
  // Of all:
  std::optional<image::Fit> fit = {};
  /// Names of the classes: Keras's imagenet_class_index.json, or a list of names as JSON. Empty:
  /// the model's; of 1,000 classes those of that file where it is in a folder of weights.
  std::string classes = {};
  /// Layers that will be asked for; of a built-in network the weights of others may be missing in
  /// the file. None: the outputs.
  std::vector<std::string> layers = {};
};

/// A tensor that goes into a model or comes out of it.
struct ModelTensor {
  std::string name;  // as the model's file has it
  int node = -1;
  Shape shape;            // of a sample, as the file has it
  std::vector<int> axes;  // axis i of the node's shape is axis axes[i] of `shape`
  /// The file has axis 0 of `shape` within its samples' axis: each sample is as many rows there.
  bool is_rows = false;
};

/// Thread-safe once it is made: workers share it.
class OpenedModel {
 public:
  /// `device` must outlive it.
  ///
  /// Throws IoError as load_model(), graph::import_model() and graph::read_keras_weights(), and for
  /// classes that do not fit; JobError for what the choice says and the model has not; DeviceError.
  OpenedModel(const ModelChoice& choice, Device& device, Queue& queue);

  [[nodiscard]] Device& device() const { return device_; }
  /// The model as it was named.
  [[nodiscard]] const std::string& name() const { return name_; }
  /// "lenet, gentrain's", "Keras 2.15.0", "vgg16".
  [[nodiscard]] const std::string& kind() const { return kind_; }
  /// SHA-256 of the weights of a model of gentrain's, and of random ones; else of the file.
  [[nodiscard]] const std::string& sha256() const { return sha256_; }
  /// The files that its graph and weights were read from; not those of external data.
  [[nodiscard]] const std::vector<std::filesystem::path>& files() const { return files_; }
  /// What was chosen where the choice was left open.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

  /// The pictures that it takes, [h, w, c], c 1 or 3. Throws JobError naming the inputs of a model
  /// that takes none, or more than one.
  [[nodiscard]] const Shape& image() const;
  [[nodiscard]] image::Fit fit() const { return fit_; }
  /// Throws JobError of a model that tells no classes apart.
  [[nodiscard]] int classes() const;
  /// None where classes have only numbers.
  [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
  /// Probabilities [n, classes()] of pictures: pixels [n, image()]. Outputs that are no
  /// probabilities go through a softmax; of one sigmoid p they are 1 - p and p. Throws as image()
  /// and classes().
  [[nodiscard]] std::vector<float> probabilities(Context& context,
                                                 std::span<const std::uint8_t> pixels,
                                                 std::int64_t n) const;
  /// Pictures as the network takes them, for compute(). Throws as image().
  [[nodiscard]] Tensor prepared(Context& context, std::span<const std::uint8_t> pixels,
                                std::int64_t n) const;

  [[nodiscard]] const std::vector<ModelTensor>& inputs() const { return inputs_; }
  [[nodiscard]] const std::vector<ModelTensor>& outputs() const { return outputs_; }
  /// What a layer gives. Throws JobError for a name that is not there (lists those near it), and of
  /// a model whose layers have no names.
  [[nodiscard]] ModelTensor layer(const std::string& name) const;
  /// inputs: one tensor for each, [n, ...] in the order of its node's axes. Result: likewise of
  /// `nodes`. Throws JobError of a model whose layers have no names; as graph::Executor::compute.
  [[nodiscard]] std::vector<Tensor> compute(Context& context, std::span<const Tensor> inputs,
                                            std::span<const int> nodes) const;
  /// compute() of what the graph itself takes, without conversion().
  [[nodiscard]] std::vector<Tensor> compute_graph(Context& context, std::span<const Tensor> inputs,
                                                  std::span<const int> nodes) const;
  /// What compute() puts between its input and the graph; null where that is nothing.
  [[nodiscard]] const InputConversion* conversion() const {
    return graph_network_ == nullptr ? nullptr : graph_network_->conversion();
  }
  /// What becomes of pixels before compute(): constants of a classifier of gentrain's, null of
  /// another model, of which it is preprocessing() if it takes pictures.
  [[nodiscard]] const data::Normalization* normalization() const {
    return network_ == nullptr ? nullptr : &own_.description.test_normalization;
  }
  [[nodiscard]] Preprocessing preprocessing() const { return preprocessing_; }
  [[nodiscard]] bool takes_pictures() const { return image_.has_value(); }
  /// Null of a model that is no graph.
  [[nodiscard]] const graph::Graph* graph() const;
  [[nodiscard]] const ParameterSet& parameters() const;
  /// Layers of a model of gentrain's; none of another.
  [[nodiscard]] std::vector<LayerInfo> layer_infos() const;

 private:
  /// What the numbers of the output are.
  enum class Output : std::uint8_t { kLogits, kProbabilities, kLogarithms, kSigmoids, kOneSigmoid };

  void open_own(const ModelChoice& choice, Device& device, Queue& queue);
  void open_imported(const ModelChoice& choice, Device& device, Queue& queue);
  void open_built_in(const ModelChoice& choice, Device& device, Queue& queue);
  void take_graph_tensors();
  void find_image();
  void find_output();
  void name_classes(const std::string& file);

  Device& device_;
  std::string name_;
  std::string kind_;
  std::string sha256_;
  std::vector<std::filesystem::path> files_;
  std::vector<std::string> notes_;
  image::Fit fit_ = image::Fit::kCrop;
  std::vector<std::string> class_names_;

  LoadedModel own_;                              // without an objective: not gentrain's
  const Network* network_ = nullptr;             // of own_, if it is a classifier
  const GraphNetwork* graph_network_ = nullptr;  // the same, if it is a graph
  std::unique_ptr<ParameterSet> parameters_;     // of all others
  std::unique_ptr<graph::Executor> executor_;    // null: graph_network_'s, or there is no graph

  Preprocessing preprocessing_ = Preprocessing::kNone;
  ChannelOrder order_ = ChannelOrder::kLast;
  std::optional<Shape> image_;
  int classes_ = 0;  // 0: none
  Output output_ = Output::kLogits;
  std::vector<ModelTensor> inputs_, outputs_, layers_;
};

}  // namespace gentrain::trainers
