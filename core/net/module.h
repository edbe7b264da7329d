// The seam between the program and the module of network functions.
#pragma once

namespace gentrain::net {

/// The module's file, and the function in it that gives its NetLibrary: a `const NetLibrary*()`
/// with C linkage. The number is raised with every change of NetLibrary, so that a module of
/// another version is not taken.
inline constexpr const char* kModuleFile = "libgentrain_net.so";
inline constexpr const char* kModuleFunction = "gentrain_net_library_1";

}  // namespace gentrain::net
