// The graph of an opened model with its values, and a conversion of colours in front where the
// model has one.
#include "trainers/model_export.h"

#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/graph/exported.h"
#include "core/image/folder.h"
#include "kernels/error.h"
#include "trainers/models/input_conversion.h"

namespace gentrain::trainers {

namespace {

/// What the conversion is called: a name that neither a node nor parameters have.
std::string conversion_name(const graph::Graph& graph) {
  std::string name = "preprocessing";
  const auto is_taken = [&] {
    for (int i = 0; i < graph.size(); ++i) {
      if (graph.node(i).name == name || graph.node(i).parameters == name) {
        return true;
      }
    }
    return false;
  };
  while (is_taken()) {
    name += '_';
  }
  return name;
}

graph::ImportedTensor tensor_of(const ModelTensor& tensor) {
  return {tensor.name, tensor.node, tensor.axes};
}

/// The graph behind an InputConversion, a convolution whose parameters are NAME/weight and
/// NAME/bias. All other nodes stand one behind where they were.
graph::Graph with_conversion(const graph::Graph& graph, std::int64_t channels,
                             const std::string& name) {
  graph::Graph result;
  for (int i = 0; i < graph.size(); ++i) {
    const graph::Node& node = graph.node(i);
    std::vector<int> inputs;
    for (const int input : node.inputs) {
      inputs.push_back(input + 1);
    }
    result.add(node.name, node.kind, inputs, node.parameters);
    if (i == 0) {
      graph::Convolution conversion;
      conversion.out = channels;
      conversion.kernel_h = conversion.kernel_w = 1;
      result.add(name, conversion, {0});
    }
  }
  std::vector<int> outputs;
  for (const int output : graph.outputs()) {
    outputs.push_back(output + 1);
  }
  result.set_outputs(outputs);
  return result;
}

/// A parameter of the model, or of the conversion in front; `conversion`: what that is called, ""
/// without one.
std::vector<float> array_values(const OpenedModel& model, Queue& queue, const std::string& name,
                                const std::string& conversion) {
  const bool weights = name == conversion + "/weight";
  if (!conversion.empty() && (weights || name == conversion + "/bias")) {
    const InputConversion::Constants constants = model.conversion()->constants();
    const std::vector<double>& values = weights ? constants.weights : constants.biases;
    return {values.begin(), values.end()};
  }
  const ParameterSet& parameters = model.parameters();
  const int index = parameters.find(name);
  if (index < 0) {
    throw JobError(fmt::format("{} has no parameter {}", model.name(), name));
  }
  return copy_to_host<float>(model.device(), queue, parameters[index]);
}

}  // namespace

ExportFormat export_format_of(const std::filesystem::path& path) {
  const std::string ending = image::ending_of(path.string());
  if (ending == ".h5" || ending == ".hdf5") {
    return ExportFormat::kKeras;
  }
  if (ending == ".onnx") {
    return ExportFormat::kOnnx;
  }
  throw JobError(
      fmt::format("{}: its ending says no format: .h5 (Keras) or .onnx is needed", path.string()));
}

void export_model(const OpenedModel& model, Queue& queue, const std::filesystem::path& path,
                  const std::string& version) {
  const ExportFormat format = export_format_of(path);
  const graph::Graph* const own = model.graph();
  if (own == nullptr) {
    throw JobError(fmt::format("{} ({}) cannot be exported: it is no graph of layers", model.name(),
                               model.kind()));
  }
  graph::ExportedModel exported;
  graph::Graph converted;
  exported.graph = own;
  for (const ModelTensor& tensor : model.inputs()) {
    exported.inputs.push_back(tensor_of(tensor));
  }
  for (const ModelTensor& tensor : model.outputs()) {
    exported.outputs.push_back(tensor_of(tensor));
  }
  std::string conversion;
  if (model.conversion() != nullptr) {
    conversion = conversion_name(*own);
    converted = with_conversion(*own, model.conversion()->channels(), conversion);
    exported.graph = &converted;
    for (graph::ImportedTensor& tensor : exported.outputs) {
      ++tensor.node;
    }
  }
  exported.values = [&](const std::string& name) {
    return array_values(model, queue, name, conversion);
  };
  exported.name = std::filesystem::path(model.name()).stem().string();
  exported.version = version;
  if (format == ExportFormat::kKeras) {
    graph::export_keras(exported, path);
  } else {
    graph::export_onnx(exported, path);
  }
}

std::string pixels_taken(const OpenedModel& model) {
  if (!model.takes_pictures()) {
    return "";
  }
  if (const data::Normalization* const own = model.normalization()) {
    return fmt::format("(x / 255 - {:.6g}) / {:.6g}", own->mean, own->stddev);
  }
  switch (model.preprocessing()) {
    case Preprocessing::kInception:
      return "x / 127.5 - 1, RGB";
    case Preprocessing::kCaffe:
      return "x - (103.939, 116.779, 123.68), BGR";
    case Preprocessing::kTorch:
      return "(x / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225), RGB";
    case Preprocessing::kNone:
      break;
  }
  return "as the file's authors say";
}

}  // namespace gentrain::trainers
