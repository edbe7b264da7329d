// Loading modules by dlopen(3).
#include "core/io/module_file.h"

#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain::io {
namespace {

namespace fs = std::filesystem;

/// dlerror() of the call that has just failed.
std::string reason() {
  const char* const text = dlerror();
  return text == nullptr ? "unknown" : text;
}

void* open_module(const ModuleName& module, const std::string& path) {
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw DeviceError(fmt::format("the {} cannot be loaded: {}", module.name, reason()));
  }
  void* const function = dlsym(handle, module.function);
  if (function == nullptr) {
    throw DeviceError(
        fmt::format("the {} {} is of another version: {}", module.name, path, reason()));
  }
  return function;
}

}  // namespace

void* load_module_function(const ModuleName& module) {
  const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();
  const std::vector<std::string> places = {
      (folder / module.file).string(),
      (folder.parent_path() / "lib" / "gentrain" / module.file).string()};
  for (const std::string& place : places) {
    if (std::error_code ignored; fs::exists(place, ignored)) {
      return open_module(module, place);
    }
  }
  throw DeviceError(fmt::format("the {}, {}, is not there: it was looked for as {}", module.name,
                                module.purpose, fmt::join(places, " and ")));
}

}  // namespace gentrain::io
