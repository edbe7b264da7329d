// Nodes of a graph as layers of Keras: a list of layers under construction, and for each kind of
// node what it adds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/graph/exported.h"
#include "core/io/keras_model_file.h"
#include "core/keras/export_order.h"

namespace gentrain::keras {

using nlohmann::json;

/// The layers of a model that is written, in topological order of their first calls.
class LayerList {
 public:
  /// A layer and its first call. `name` is made one that Keras takes and nobody else has; `config`
  /// gets what all layers have.
  LayerOutput add(const std::string& name, const char* type, json config,
                  const std::vector<LayerOutput>& inputs,
                  std::vector<io::KerasModelArray> arrays = {});
  /// The same for a layer with weights: another call of the one that was added with the same `key`
  /// if the configuration is the same; else a layer of its own.
  LayerOutput add_shared(const std::string& key, const char* type, json config,
                         const std::vector<LayerOutput>& inputs,
                         std::vector<io::KerasModelArray> arrays);

  /// The configuration of a functional model.
  [[nodiscard]] json model(const std::string& name, const std::vector<LayerOutput>& inputs,
                           const std::vector<LayerOutput>& outputs) const;
  /// Hands out the layers in Keras's order with their arrays, whose names get the layer's before
  /// them.
  std::vector<io::KerasModelLayer> take_layers(const std::vector<LayerOutput>& outputs);

 private:
  struct Layer {
    std::string name;
    const char* type;
    json config;
    std::vector<std::vector<LayerOutput>> calls;
    std::vector<io::KerasModelArray> arrays;
  };
  std::string unique(const std::string& name);
  [[nodiscard]] json reference(const LayerOutput& output) const;

  std::vector<Layer> layers_;
  std::set<std::string> taken_;
  std::map<std::string, std::vector<std::size_t>> shared_;  // layers by key
};

/// Adds the layers of one node and gives its output. Throws JobError for what Keras has no layer
/// for, without the node's name.
class NodeExport {
 public:
  /// `outputs`: of the nodes before it; none of what depends on no sample.
  NodeExport(const graph::ExportedModel& model, LayerList& layers,
             const std::vector<std::optional<LayerOutput>>& outputs, int node);

  LayerOutput operator()(const graph::Input& node);
  LayerOutput operator()(const graph::Constant& node);
  LayerOutput operator()(const graph::Variable& node);
  LayerOutput operator()(const graph::Convolution& node);
  LayerOutput operator()(const graph::TransposedConvolution& node);
  LayerOutput operator()(const graph::BatchNormalization& node);
  LayerOutput operator()(const graph::Activate& node);
  LayerOutput operator()(const graph::Pointwise& node);
  LayerOutput operator()(const graph::Prelu& node);
  LayerOutput operator()(const graph::Binary& node);
  LayerOutput operator()(const graph::Pooling& node);
  LayerOutput operator()(const graph::GlobalPooling& node);
  LayerOutput operator()(const graph::Dense& node);
  LayerOutput operator()(const graph::Flatten& node);
  LayerOutput operator()(const graph::Reshape& node);
  LayerOutput operator()(const graph::Permute& node);
  LayerOutput operator()(const graph::AxisMap& node);
  LayerOutput operator()(const graph::LargestAlong& node);
  LayerOutput operator()(const graph::Dropout& node);
  LayerOutput operator()(const graph::Concatenation& node);
  LayerOutput operator()(const graph::Addition& node);
  LayerOutput operator()(const graph::Softmax& node);
  LayerOutput operator()(const graph::Identity& node);

 private:
  /// Extents of the first input, of a sample.
  [[nodiscard]] const Shape& shape(std::size_t input = 0) const;
  [[nodiscard]] const graph::Node& source(std::size_t input) const;
  [[nodiscard]] LayerOutput input(std::size_t input = 0) const;
  [[nodiscard]] std::vector<LayerOutput> inputs() const;

  /// A layer NODE_PART, or NODE if the part is "".
  LayerOutput add(std::string_view part, const char* type, json config,
                  const std::vector<LayerOutput>& inputs);
  /// One with weights, named as the parameters are.
  LayerOutput add_weighted(const char* type, json config, LayerOutput x,
                           std::vector<io::KerasModelArray> arrays);
  LayerOutput activation(std::string_view part, const char* name, LayerOutput x);
  LayerOutput relu(std::string_view part, LayerOutput x, double slope = 0, double threshold = 0,
                   std::optional<double> most = std::nullopt);
  /// scale x + offset; x itself if that is nothing.
  LayerOutput rescaled(std::string_view part, LayerOutput x, double scale, double offset);
  LayerOutput reshaped(std::string_view part, LayerOutput x, const Shape& to);
  LayerOutput permuted(std::string_view part, LayerOutput x, const std::vector<int>& axes);
  LayerOutput border(std::string_view part, const char* type, LayerOutput x,
                     const ops::Padding& padding);

  /// PARAMETERS/PART, its axes in another order.
  [[nodiscard]] io::KerasModelArray array(const char* name, const char* part, const Shape& of,
                                          std::vector<int> axes, const Shape& stored) const;
  [[nodiscard]] io::KerasModelArray array(const char* name, const char* part,
                                          const Shape& of) const;

  LayerOutput pointwise(const PointwiseRule& rule, LayerOutput x);
  LayerOutput gated(const PointwiseRule& rule, LayerOutput x);
  LayerOutput shrunk(const PointwiseRule& rule, LayerOutput x);
  LayerOutput power(double exponent, LayerOutput x);
  LayerOutput with_values(BinaryFunction function, std::size_t given, LayerOutput x);
  LayerOutput with_value(BinaryFunction function, bool first, double value, LayerOutput x);
  LayerOutput with_channels(BinaryFunction function, bool first, std::vector<float> values,
                            LayerOutput x);
  LayerOutput as_dense(const ops::AxisRows& rows, int axis);
  [[nodiscard]] bool is_nonnegative(int node) const;

  const graph::ExportedModel& model_;
  LayerList& layers_;
  const std::vector<std::optional<LayerOutput>>& outputs_;
  const graph::Node& node_;
};

}  // namespace gentrain::keras
