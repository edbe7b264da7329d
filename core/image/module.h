// The seam between the program and the module of image functions.
#pragma once

namespace gentrain::image {

/// The module's file, and the function in it that gives its ImageLibrary: a `const ImageLibrary*()`
/// with C linkage. The number is raised with every change of ImageLibrary, so that a module of
/// another version is not taken.
inline constexpr const char* kModuleFile = "libgentrain_image.so";
inline constexpr const char* kModuleFunction = "gentrain_image_library_3";

}  // namespace gentrain::image
