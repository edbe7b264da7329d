// A network and its weights on their way into a file of another framework.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "core/graph/imported.h"

namespace gentrain::graph {

/// What is written: the nodes that the outputs need, and all inputs.
struct ExportedModel {
  const Graph* graph = nullptr;
  std::vector<ImportedTensor> inputs;   // one for each of graph->inputs(), in their order
  std::vector<ImportedTensor> outputs;  // at least one, of different nodes
  /// The values of a parameter, row-major in gentrain's order, by its name.
  std::function<std::vector<float>(const std::string& parameter)> values;
  std::string name;     // of the model: "lenet"
  std::string version;  // of gentrain
};

/// A whole model as HDF5 that Keras 2 (tf_keras) and Keras 3 load with load_model(); replaces a
/// file that is there, which otherwise stays as it was.
///
/// Layers have the names of the nodes, those with weights the names of their parameters, with _ for
/// what a name cannot have. Values of constants and variables become part of the layers that read
/// them. docs/export.md says what becomes of each kind.
///
/// Throws JobError naming the node that Keras has no layers for; IoError naming the file.
void export_keras(const ExportedModel& model, const std::filesystem::path& path);

/// An ONNX model of opset 17 with a free number of samples; replaces a file as export_keras does.
///
/// Throws JobError naming the node that cannot be expressed; IoError naming the file, and for a
/// model of more than 2 GiB; DeviceError if the module that writes such files is not there.
void export_onnx(const ExportedModel& model, const std::filesystem::path& path);

/// Throws JobError naming a tensor of which the file keeps an axis of a sample within the samples'
/// axis (an axis below 0 in ImportedTensor::axes): neither form of files has that.
void need_own_samples(const ExportedModel& model);

/// How an axis map pads or cuts the ends of its axis.
struct Ends {
  std::int64_t before = 0;  // positions that are put before, or with a minus taken away
  std::int64_t behind = 0;
};

/// What both forms of files ask of the rows of an axis map, which are as AxisRows states.
///
/// Nothing if they are no copy of neighbouring positions with `fill` before and behind.
std::optional<Ends> ends_of(const ops::AxisRows& rows);
/// The source of each position if each is a copy of one; else nothing.
std::optional<std::vector<std::int64_t>> copies_of(const ops::AxisRows& rows);
/// The map as a matrix [from, to]: a row of positions before times it gives those after, but for
/// the fill. Throws JobError for more than 2^24 elements.
std::vector<float> matrix_of(const ops::AxisRows& rows);
/// `fill` for each position without terms, 0 for the others; empty if all are 0.
std::vector<float> fills_of(const ops::AxisRows& rows);

/// Elements in another order of axes: axis i of the result is axis axes[i] of what comes.
std::vector<float> in_order(const std::vector<float>& values, const Shape& shape,
                            const std::vector<int>& axes);
/// Axes the other way round: inverse(a)[a[i]] = i.
std::vector<int> inverse(const std::vector<int>& axes);
/// Whether axes are 0, 1, 2, ...
bool keeps_order(const std::vector<int>& axes);

/// Whether a node is a constant or a variable.
bool is_given(const Node& node);
/// Its values. Throws as ExportedModel::values.
std::vector<float> given_values(const ExportedModel& model, const Node& node);

}  // namespace gentrain::graph
