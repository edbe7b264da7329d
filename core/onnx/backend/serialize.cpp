// Structs to the bytes of an ONNX file. Fields go out in the order of their numbers and there are
// no maps, so that equal models give equal bytes.
#include <limits>

#include <fmt/format.h>
#include <onnx.pb.h>

#include "core/onnx/backend/messages.h"
#include "kernels/error.h"

namespace gentrain::onnx {
namespace {

void put(const Tensor& tensor, ::onnx::TensorProto& message) {
  if (!tensor.name.empty()) {
    message.set_name(tensor.name);
  }
  message.set_data_type(static_cast<std::int32_t>(tensor.type));
  message.mutable_dims()->Assign(tensor.dims.begin(), tensor.dims.end());
  if (!tensor.external) {
    message.set_raw_data(tensor.bytes);
    return;
  }
  message.set_data_location(::onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] : tensor.external_data) {
    ::onnx::StringStringEntryProto& entry = *message.add_external_data();
    entry.set_key(key);
    entry.set_value(value);
  }
}

void put(const Attribute& attribute, ::onnx::AttributeProto& message) {
  using Proto = ::onnx::AttributeProto;
  message.set_name(attribute.name);
  switch (attribute.kind) {
    case AttributeKind::kFloat:
      message.set_type(Proto::FLOAT);
      message.set_f(attribute.real);
      break;
    case AttributeKind::kInt:
      message.set_type(Proto::INT);
      message.set_i(attribute.integer);
      break;
    case AttributeKind::kString:
      message.set_type(Proto::STRING);
      message.set_s(attribute.text);
      break;
    case AttributeKind::kTensor:
      message.set_type(Proto::TENSOR);
      put(attribute.tensor.value(), *message.mutable_t());
      break;
    case AttributeKind::kFloats:
      message.set_type(Proto::FLOATS);
      message.mutable_floats()->Assign(attribute.reals.begin(), attribute.reals.end());
      break;
    case AttributeKind::kInts:
      message.set_type(Proto::INTS);
      message.mutable_ints()->Assign(attribute.integers.begin(), attribute.integers.end());
      break;
    case AttributeKind::kStrings:
      message.set_type(Proto::STRINGS);
      for (const std::string& text : attribute.texts) {
        message.add_strings(text);
      }
      break;
    default:
      throw IoError(fmt::format("attribute {} has no value that can be written", attribute.name));
  }
}

void put(const Node& node, ::onnx::NodeProto& message) {
  for (const std::string& input : node.inputs) {
    message.add_input(input);
  }
  for (const std::string& output : node.outputs) {
    message.add_output(output);
  }
  message.set_name(node.name);
  message.set_op_type(node.op_type);
  message.set_domain(node.domain);
  for (const Attribute& attribute : node.attributes) {
    put(attribute, *message.add_attribute());
  }
}

void put(const ValueInfo& value, ::onnx::ValueInfoProto& message) {
  message.set_name(value.name);
  if (!value.is_tensor) {
    throw IoError(fmt::format("value {} is no tensor and cannot be written", value.name));
  }
  ::onnx::TypeProto::Tensor& type = *message.mutable_type()->mutable_tensor_type();
  type.set_elem_type(static_cast<std::int32_t>(value.type));
  if (!value.dims) {
    return;
  }
  ::onnx::TensorShapeProto& shape = *type.mutable_shape();
  for (const Dimension& dimension : *value.dims) {
    ::onnx::TensorShapeProto::Dimension& to = *shape.add_dim();
    if (dimension.extent >= 0) {
      to.set_dim_value(dimension.extent);
    } else if (!dimension.symbol.empty()) {
      to.set_dim_param(dimension.symbol);
    }
  }
}

void put_graph(const Model& model, ::onnx::GraphProto& graph) {
  for (const Node& node : model.nodes) {
    put(node, *graph.add_node());
  }
  graph.set_name(model.name);
  for (const Tensor& tensor : model.initializers) {
    put(tensor, *graph.add_initializer());
  }
  for (const ValueInfo& value : model.inputs) {
    put(value, *graph.add_input());
  }
  for (const ValueInfo& value : model.outputs) {
    put(value, *graph.add_output());
  }
  for (const ValueInfo& value : model.values) {
    put(value, *graph.add_value_info());
  }
}

}  // namespace

std::string serialize_model(const Model& model) {
  if (model.functions != 0 || model.sparse_initializers != 0) {
    throw IoError("functions and sparse initializers of an ONNX model cannot be written");
  }
  ::onnx::ModelProto message;
  message.set_ir_version(model.ir_version);
  message.set_producer_name(model.producer_name);
  message.set_producer_version(model.producer_version);
  if (model.has_graph) {
    put_graph(model, *message.mutable_graph());
  }
  for (const OpsetImport& opset : model.opsets) {
    ::onnx::OperatorSetIdProto& import = *message.add_opset_import();
    import.set_domain(opset.domain);
    import.set_version(opset.version);
  }
  const std::size_t size = message.ByteSizeLong();
  if (size > std::numeric_limits<int>::max()) {
    throw IoError(fmt::format("an ONNX model of {} bytes cannot be written: at most 2 GiB", size));
  }
  return message.SerializeAsString();
}

}  // namespace gentrain::onnx
