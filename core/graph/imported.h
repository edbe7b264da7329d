// A whole model out of a file of another framework: its graph and its weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/graph/graph.h"

namespace gentrain::graph {

/// A tensor of the file and the node that gives it. The graph may keep its axes in another order:
/// axis i of the node's shape is axis axes[i] of the file's, both without the samples' axis. Only
/// of ONNX, axes[0] may be -1: the file has that axis within its samples' axis, behind the sample,
/// [n, 3, 20] as [n 3, 20].
struct ImportedTensor {
  std::string name;  // as the file has it
  int node = -1;
  std::vector<int> axes;  // as many as the node's shape has
};

struct ImportedArray {
  std::string parameter;      // "conv1/weight", as graph::register_parameters names it
  Shape shape;                // in gentrain's order
  std::vector<float> values;  // row-major
};

struct ImportedModel {
  Graph graph;                        // its inputs and outputs in the file's order
  std::vector<ImportedArray> arrays;  // one for each parameter of the graph, all finite
  std::vector<ImportedTensor> inputs;
  std::vector<ImportedTensor> outputs;
  /// What can be asked for by name: Keras's layers (the output of the first call; those within a
  /// nested model as OUTER/INNER too), ONNX's values.
  std::vector<ImportedTensor> layers;
  std::string writer;  // "Keras 2.15.0", "ONNX opset 17, pytorch 2.1.0"
  /// Of the file, 64 digits of hex. With external data: of that text and the one of all that was
  /// read of them.
  std::string sha256;
  /// Layers that do something in training alone and are passed over: noise, regularisation.
  std::vector<std::string> training_only;
};

/// A whole model that Keras 1, 2 or 3 saved as HDF5, or a .keras archive.
///
/// Throws IoError naming the file, and the layer, attribute or array: no such file, no whole model
/// (weights alone), damaged, a layer type, attribute or value that is not known, a layer that does
/// not fit behind another, arrays that are missing, left over, of another shape or not finite.
ImportedModel import_keras(const std::filesystem::path& path);

/// An ONNX model, opset 9 to 21, with the files of external data beside it.
///
/// Throws IoError naming the file, and the node, tensor or attribute: as import_keras; an operator
/// or attribute that is not known, external data outside of the model's folder or too short, a name
/// that is no printable text in UTF-8.
ImportedModel import_onnx(const std::filesystem::path& path);

/// Which of the two it is, by its first bytes. Throws as they do, and IoError for a file that is
/// neither.
ImportedModel import_model(const std::filesystem::path& path);

}  // namespace gentrain::graph
