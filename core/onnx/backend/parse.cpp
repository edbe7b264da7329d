// Bytes of an ONNX file to structs. Strings are moved out of the messages, so that weights are not
// held twice.
#include <algorithm>
#include <cstring>
#include <limits>

#include <fmt/format.h>
#include <google/protobuf/repeated_field.h>
#include <onnx.pb.h>

#include "core/onnx/backend/messages.h"
#include "kernels/error.h"

namespace gentrain::onnx {
namespace {

using google::protobuf::RepeatedField;
using google::protobuf::RepeatedPtrField;

std::vector<std::string> take(RepeatedPtrField<std::string>& texts) {
  std::vector<std::string> taken;
  taken.reserve(static_cast<std::size_t>(texts.size()));
  for (std::string& text : texts) {
    taken.push_back(std::move(text));
  }
  return taken;
}

template <class Kept, class Stored>
std::string bytes_of(const RepeatedField<Stored>& values) {
  std::string bytes(sizeof(Kept) * static_cast<std::size_t>(values.size()), '\0');
  std::size_t at = 0;
  for (const Stored value : values) {
    const Kept kept = static_cast<Kept>(value);
    std::memcpy(bytes.data() + at, &kept, sizeof kept);
    at += sizeof kept;
  }
  return bytes;
}

/// int32_data holds all types of up to 32 bits but for float, halves by their bits.
std::string small_integers(ElementType type, const RepeatedField<std::int32_t>& values) {
  switch (type) {
    case ElementType::kUint8:
    case ElementType::kInt8:
    case ElementType::kBool:
      return bytes_of<std::uint8_t>(values);
    case ElementType::kUint16:
    case ElementType::kInt16:
    case ElementType::kFloat16:
    case ElementType::kBfloat16:
      return bytes_of<std::uint16_t>(values);
    default:
      return bytes_of<std::int32_t>(values);
  }
}

/// The elements from the field where their type has them.
std::string elements_of(ElementType type, ::onnx::TensorProto& tensor) {
  if (tensor.has_raw_data()) {
    return std::move(*tensor.mutable_raw_data());
  }
  switch (type) {
    case ElementType::kFloat:
      return bytes_of<float>(tensor.float_data());
    case ElementType::kDouble:
      return bytes_of<double>(tensor.double_data());
    case ElementType::kInt64:
      return bytes_of<std::int64_t>(tensor.int64_data());
    case ElementType::kUint32:
      return bytes_of<std::uint32_t>(tensor.uint64_data());
    case ElementType::kUint64:
      return bytes_of<std::uint64_t>(tensor.uint64_data());
    case ElementType::kString:
      return "";
    default:
      return small_integers(type, tensor.int32_data());
  }
}

Tensor take(::onnx::TensorProto& tensor) {
  Tensor taken;
  taken.name = std::move(*tensor.mutable_name());
  taken.type = static_cast<ElementType>(tensor.data_type());
  taken.dims.assign(tensor.dims().begin(), tensor.dims().end());
  taken.external = tensor.data_location() == ::onnx::TensorProto::EXTERNAL;
  for (const ::onnx::StringStringEntryProto& entry : tensor.external_data()) {
    taken.external_data.emplace_back(entry.key(), entry.value());
  }
  if (!taken.external) {
    taken.bytes = elements_of(taken.type, tensor);
  }
  return taken;
}

AttributeKind kind_of(const ::onnx::AttributeProto& attribute) {
  switch (attribute.type()) {
    case ::onnx::AttributeProto::UNDEFINED:
      return AttributeKind::kUndefined;
    case ::onnx::AttributeProto::FLOAT:
      return AttributeKind::kFloat;
    case ::onnx::AttributeProto::INT:
      return AttributeKind::kInt;
    case ::onnx::AttributeProto::STRING:
      return AttributeKind::kString;
    case ::onnx::AttributeProto::TENSOR:
      return AttributeKind::kTensor;
    case ::onnx::AttributeProto::FLOATS:
      return AttributeKind::kFloats;
    case ::onnx::AttributeProto::INTS:
      return AttributeKind::kInts;
    case ::onnx::AttributeProto::STRINGS:
      return AttributeKind::kStrings;
    default:
      return AttributeKind::kOther;
  }
}

Attribute take(::onnx::AttributeProto& attribute) {
  Attribute taken;
  taken.name = attribute.name();
  taken.kind = attribute.ref_attr_name().empty() ? kind_of(attribute) : AttributeKind::kOther;
  taken.real = attribute.f();
  taken.integer = attribute.i();
  taken.text = attribute.s();
  if (taken.kind == AttributeKind::kTensor) {
    taken.tensor = take(*attribute.mutable_t());
  }
  taken.reals.assign(attribute.floats().begin(), attribute.floats().end());
  taken.integers.assign(attribute.ints().begin(), attribute.ints().end());
  taken.texts = take(*attribute.mutable_strings());
  return taken;
}

Node take(::onnx::NodeProto& node) {
  Node taken{node.name(),
             node.op_type(),
             node.domain(),
             take(*node.mutable_input()),
             take(*node.mutable_output()),
             {}};
  for (::onnx::AttributeProto& attribute : *node.mutable_attribute()) {
    taken.attributes.push_back(take(attribute));
  }
  return taken;
}

ValueInfo take(const ::onnx::ValueInfoProto& value) {
  ValueInfo taken;
  taken.name = value.name();
  taken.is_tensor = value.type().has_tensor_type();
  const ::onnx::TypeProto::Tensor& type = value.type().tensor_type();
  taken.type = static_cast<ElementType>(type.elem_type());
  if (type.has_shape()) {
    taken.dims.emplace();
    for (const ::onnx::TensorShapeProto::Dimension& dimension : type.shape().dim()) {
      taken.dims->push_back(
          {dimension.has_dim_value() ? dimension.dim_value() : -1, dimension.dim_param()});
    }
  }
  return taken;
}

std::vector<ValueInfo> take(const RepeatedPtrField<::onnx::ValueInfoProto>& values) {
  std::vector<ValueInfo> taken;
  taken.reserve(static_cast<std::size_t>(values.size()));
  for (const ::onnx::ValueInfoProto& value : values) {
    taken.push_back(take(value));
  }
  return taken;
}

}  // namespace

Model parse_model(std::span<const std::uint8_t> file) {
  if (file.empty()) {
    throw IoError("the file is empty");
  }
  if (file.size() > std::numeric_limits<int>::max()) {
    throw IoError(
        fmt::format("the file has {} bytes, an ONNX model has at most 2 GiB (and larger "
                    "weights in files beside it)",
                    file.size()));
  }
  ::onnx::ModelProto message;
  if (!message.ParseFromArray(file.data(), static_cast<int>(file.size()))) {
    throw IoError("this is no ONNX model, or it is damaged or cut short");
  }
  Model model;
  model.ir_version = message.ir_version();
  model.producer_name = message.producer_name();
  model.producer_version = message.producer_version();
  for (const ::onnx::OperatorSetIdProto& opset : message.opset_import()) {
    model.opsets.push_back({opset.domain(), opset.version()});
  }
  model.functions = static_cast<std::size_t>(message.functions_size());
  model.has_graph = message.has_graph();
  ::onnx::GraphProto& graph = *message.mutable_graph();
  model.name = graph.name();
  model.sparse_initializers = static_cast<std::size_t>(graph.sparse_initializer_size());
  model.nodes.reserve(static_cast<std::size_t>(graph.node_size()));
  for (::onnx::NodeProto& node : *graph.mutable_node()) {
    model.nodes.push_back(take(node));
  }
  model.initializers.reserve(static_cast<std::size_t>(graph.initializer_size()));
  for (::onnx::TensorProto& tensor : *graph.mutable_initializer()) {
    model.initializers.push_back(take(tensor));
  }
  model.inputs = take(graph.input());
  model.outputs = take(graph.output());
  model.values = take(graph.value_info());
  return model;
}

}  // namespace gentrain::onnx
