// Loading the module that reads and writes ONNX files.
#include "core/io/module_file.h"
#include "core/onnx/model.h"
#include "core/onnx/module.h"

namespace gentrain::onnx {
namespace {

const OnnxLibrary& find_module() {
  using Function = const OnnxLibrary* (*)();
  const auto function = reinterpret_cast<Function>(io::load_module_function(
      {"ONNX module", "which reads ONNX files", kModuleFile, kModuleFunction}));
  return *function();
}

}  // namespace

const OnnxLibrary& onnx_library() {
  static const OnnxLibrary& library = find_module();
  return library;
}

}  // namespace gentrain::onnx
