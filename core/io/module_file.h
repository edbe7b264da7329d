// Modules: shared libraries of gentrain's own that are loaded when they are first needed, because
// the foreign libraries behind them would cost every start time and memory.
#pragma once

namespace gentrain::io {

/// What a module is called.
struct ModuleName {
  const char* name;      // "image module"
  const char* purpose;   // "which reads images"
  const char* file;      // "libgentrain_image.so"
  const char* function;  // with C linkage; it names the version of the seam
};

/// The function of a module, which is loaded from beside the program or from ../lib/gentrain, and
/// stays loaded: what it gave out may be in use until the end.
///
/// Throws DeviceError naming the places if the file is not there, and if it cannot be loaded or
/// lacks the function.
void* load_module_function(const ModuleName& module);

}  // namespace gentrain::io
