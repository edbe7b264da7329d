// Loading the module of network functions.
#include "core/net/library.h"

#include "core/io/module_file.h"
#include "core/net/module.h"

namespace gentrain::net {
namespace {

const NetLibrary& find_module() {
  using Function = const NetLibrary* (*)();
  const auto function = reinterpret_cast<Function>(io::load_module_function(
      {"network module", "which fetches files", kModuleFile, kModuleFunction}));
  return *function();
}

}  // namespace

const NetLibrary& net_library() {
  static const NetLibrary& library = find_module();
  return library;
}

}  // namespace gentrain::net
