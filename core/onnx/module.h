// The seam between the program and the module that reads and writes ONNX files.
#pragma once

namespace gentrain::onnx {

/// The module's file, and the function in it that gives its OnnxLibrary: a `const OnnxLibrary*()`
/// with C linkage. The number is raised with every change of model.h, so that a module of another
/// version is not taken.
inline constexpr const char* kModuleFile = "libgentrain_onnx.so";
inline constexpr const char* kModuleFunction = "gentrain_onnx_library_1";

}  // namespace gentrain::onnx
