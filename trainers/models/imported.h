// Networks out of files of other frameworks: from a whole model to a classifier's graph, and as
// JSON in gentrain's own files, which need that file no more.
#pragma once

#include <cstdint>
#include <memory>

#include <nlohmann/json_fwd.hpp>

#include "trainers/models/graph_network.h"

namespace gentrain::trainers {

/// The network of `model.imported`: of ImportedOptions::network if there is one, else out of the
/// file, whose arrays it keeps until they are read into parameters (GraphNetwork::take_arrays).
/// Nodes have the names of the file's layers where no other node has them. Parameters have the
/// file's names made fit for arrays of model files: without a leading or double "/", and with a "_"
/// behind words like "weight". Of a model whose channels come first, images are permuted at the
/// beginning.
///
/// Behind kHead's layer stand global_average_pooling (behind maps), head_dense (ReLU; not with
/// hidden = 0) and head_logits, the output; a name that the file has too gets a "_".
///
/// image [h, w, c] of the data; outputs: classes
///
/// Throws IoError as graph::import_model; JobError naming the file, and the input, output or layer:
/// more than one input, or output where it is needed; an input that is no image of `image`'s
/// extents; layers that act in training alone; an output that is not [outputs], or is sigmoids; a
/// layer that is not there, or that no head can stand behind; and for a network that is damaged.
std::unique_ptr<GraphNetwork> make_imported(const ModelOptions& model, const InitOptions& init,
                                            const Shape& image, std::int64_t outputs,
                                            ParameterSet& parameters);

/// The pictures [h, w, c] that the network takes. Reads the file unless there is
/// ImportedOptions::network. Throws as make_imported.
Shape picture_of(const ImportedOptions& options);

/// The model as files of gentrain hold it: if it is imported, with ImportedOptions::network.
/// `network`: what was made of it.
ModelOptions self_contained(const ModelOptions& model, const Network* network);

/// What to_json() and model_from_json() have of imported models:
///
///   {"file": "x.onnx", "sha256": ..., "writer": "ONNX opset 17", "preprocess": "torch",
///    "batch_statistics": false, "graph": {...}}
///
/// of a model without ImportedOptions::network the file alone. imported_from throws
/// nlohmann::json::exception and JobError for what it does not know.
nlohmann::json imported_json(const ImportedOptions& options);
ModelOptions imported_from(const nlohmann::json& json);

}  // namespace gentrain::trainers
