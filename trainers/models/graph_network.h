// A classifier's network that is a graph of layers: a built-in one, or one out of a file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/graph/executor.h"
#include "core/graph/imported.h"
#include "trainers/models/input_conversion.h"
#include "trainers/models/network.h"

namespace gentrain::trainers {

/// The file that a network is out of.
struct ImportedFile {
  std::string path;
  std::string sha256;
  std::string writer;                        // as graph::ImportedModel
  std::vector<graph::ImportedArray> arrays;  // those that are still to be read into parameters
};

class GraphNetwork final : public Network {
 public:
  /// Registers the parameters of all nodes. The graph has one input and one output.
  ///
  /// outputs: numbers per image, what the graph's output must give
  ///
  /// Throws JobError if the graph has more inputs or outputs, or its output is not [outputs]; and
  /// as graph::register_parameters.
  GraphNetwork(graph::Graph graph, const Initializer& initializer, graph::ExecutorOptions options,
               std::int64_t outputs, ParameterSet& parameters);

  /// From now on images are RGB or grey in -1..1, and the graph gets what an InputConversion makes
  /// of them. Before the first forward(). Throws JobError for images that it does not fit.
  void take_signed(Preprocessing preprocessing);
  /// What stands between those images and the graph; null where that is nothing.
  [[nodiscard]] const InputConversion* conversion() const {
    return conversion_ && conversion_->changes() ? &*conversion_ : nullptr;
  }

  /// x [n, h, w, c], result [n, outputs]: of a graph that ends with a softmax what that is of.
  Tensor forward(Context& context, const Tensor& x) const override;
  /// Of images as forward() takes them the outputs of nodes, [n, ...] each.
  std::vector<Tensor> compute(Context& context, const Tensor& x, std::span<const int> wanted) const;

  /// The file of another framework that the network is out of, null of a built-in one.
  [[nodiscard]] const ImportedFile* file() const { return file_ ? &*file_ : nullptr; }
  void set_file(ImportedFile file) { file_ = std::move(file); }
  /// The file's arrays, which the network no longer has then.
  [[nodiscard]] std::vector<graph::ImportedArray> take_arrays();

  /// For outputs of any nodes, and parameters to freeze through a block.
  [[nodiscard]] const graph::Executor& executor() const { return executor_; }
  /// Index of the node that forward() gives the output of.
  [[nodiscard]] int logits() const { return logits_; }
  /// What the executor was told.
  [[nodiscard]] const graph::ExecutorOptions& options() const { return options_; }

 private:
  graph::ExecutorOptions options_;
  graph::Executor executor_;
  int logits_;
  std::optional<InputConversion> conversion_;
  std::optional<ImportedFile> file_;
};

/// One of kPretrainedNames, for images in -1..1 in the order RGB: VGG and SqueezeNet begin with
/// an InputConversion. Throws JobError naming the model, and the layer if an image is too small;
/// for images without colours where the model needs them.
std::unique_ptr<GraphNetwork> make_pretrained(const ModelOptions& model, const InitOptions& init,
                                              const Shape& image, std::int64_t outputs,
                                              ParameterSet& parameters);

}  // namespace gentrain::trainers
