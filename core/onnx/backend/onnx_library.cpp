// What the program looks for in the module: reading and writing of ONNX files by protobuf's lite
// runtime and the messages that protoc makes from onnx.proto.
#include <fmt/format.h>
#include <google/protobuf/stubs/common.h>
#include <onnx.pb.h>

#include "core/onnx/backend/messages.h"
#include "core/onnx/model.h"

namespace gentrain::onnx {
namespace {

class ProtobufLibrary : public OnnxLibrary {
 public:
  [[nodiscard]] Model parse(std::span<const std::uint8_t> file) const override {
    return parse_model(file);
  }

  [[nodiscard]] std::string serialize(const Model& model) const override {
    return serialize_model(model);
  }

  [[nodiscard]] std::string version() const override {
    return fmt::format("ONNX IR {}, protobuf {}", static_cast<int>(::onnx::IR_VERSION),
                       google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION));
  }
};

}  // namespace
}  // namespace gentrain::onnx

/// What the program looks for: kModuleFunction of core/onnx/module.h.
extern "C" const gentrain::onnx::OnnxLibrary* gentrain_onnx_library_1() {
  static const gentrain::onnx::ProtobufLibrary library;
  return &library;
}
