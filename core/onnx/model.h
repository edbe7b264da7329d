// An ONNX model as it stands in a file, and the module that reads and writes such files. The
// structs are those of onnx.proto, less what gentrain has no use for; what they mean is decided by
// those who use them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace gentrain::onnx {

/// TensorProto.DataType, by its numbers in the file; a file may hold others.
enum class ElementType : std::int32_t {
  kUndefined = 0,
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kBfloat16 = 16,
};

struct Tensor {
  std::string name;
  ElementType type = ElementType::kFloat;
  std::vector<std::int64_t> dims;  // as the file has them: nobody has checked them
  /// The elements, row-major and little-endian, whatever field of the file they stood in; nothing
  /// of strings and of external data.
  std::string bytes;
  bool external = false;
  std::vector<std::pair<std::string, std::string>> external_data;  // location, offset, length
};

/// Which field of an attribute holds its value; AttributeProto.AttributeType. Of those from
/// kOther on nothing is kept.
enum class AttributeKind : std::uint8_t {
  kUndefined,
  kFloat,
  kInt,
  kString,
  kTensor,
  kFloats,
  kInts,
  kStrings,
  kOther,  // graphs, sparse tensors, types, lists of tensors
};

struct Attribute {
  std::string name;
  AttributeKind kind = AttributeKind::kUndefined;
  float real = 0;
  std::int64_t integer = 0;
  std::string text;
  std::optional<Tensor> tensor;
  std::vector<float> reals;
  std::vector<std::int64_t> integers;
  std::vector<std::string> texts;
};

struct Node {
  std::string name;  // may be empty
  std::string op_type;
  std::string domain;                // empty or "ai.onnx": the default one
  std::vector<std::string> inputs;   // empty: left out
  std::vector<std::string> outputs;  // empty: not wanted
  std::vector<Attribute> attributes;
};

struct Dimension {
  std::int64_t extent = -1;  // -1: not given
  std::string symbol;        // a name for an extent that is free
};

/// Name, type and shape of a value.
struct ValueInfo {
  std::string name;
  bool is_tensor = true;  // no sequence, map or optional
  ElementType type = ElementType::kFloat;
  std::optional<std::vector<Dimension>> dims;
};

struct OpsetImport {
  std::string domain;
  std::int64_t version = 0;
};

struct Model {
  std::int64_t ir_version = 0;
  std::string producer_name;
  std::string producer_version;
  std::vector<OpsetImport> opsets;
  std::size_t functions = 0;            // that the file defines itself; none is kept
  bool has_graph = true;                // the rest is of the graph
  std::string name;                     // of the graph
  std::size_t sparse_initializers = 0;  // none is kept
  std::vector<Node> nodes;
  std::vector<Tensor> initializers;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  std::vector<ValueInfo> values;  // inner ones
};

class OnnxLibrary {
 public:
  virtual ~OnnxLibrary() = default;
  /// A whole file. Throws IoError, without the file's name, if it is no ONNX model or damaged.
  [[nodiscard]] virtual Model parse(std::span<const std::uint8_t> file) const = 0;
  /// The bytes of a file: the same ones for equal models. `functions` and `sparse_initializers`
  /// must be 0. Throws IoError for a model of more than 2 GiB.
  [[nodiscard]] virtual std::string serialize(const Model& model) const = 0;
  /// "ONNX IR 8, protobuf 3.21.12"
  [[nodiscard]] virtual std::string version() const = 0;
};

/// The module's, which is loaded at the first call. Throws DeviceError if it is not there or cannot
/// be loaded.
const OnnxLibrary& onnx_library();

}  // namespace gentrain::onnx
