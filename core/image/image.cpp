// Loading the module, and what is done before and after it: files, limits.
#include "core/image/image.h"

#include <string_view>
#include <utility>

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/image/format.h"
#include "core/image/module.h"
#include "core/io/atomic_file.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"

namespace gentrain::image {
namespace {

namespace fs = std::filesystem;

/// dlerror() of the call that has just failed.
std::string reason() {
  const char* const text = dlerror();
  return text == nullptr ? "unknown" : text;
}

/// The module out of one file. It stays loaded: what it gave out may be in use until the end.
const ImageLibrary& open_module(const fs::path& path) {
  void* const module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    throw DeviceError(fmt::format("the image module cannot be loaded: {}", reason()));
  }
  using Function = const ImageLibrary* (*)();
  const auto function = reinterpret_cast<Function>(dlsym(module, kModuleFunction));
  if (function == nullptr) {
    throw DeviceError(
        fmt::format("the image module {} is of another version: {}", path.string(), reason()));
  }
  return *function();
}

const ImageLibrary& find_module() {
  const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();
  const std::vector<std::string> places = {
      (folder / kModuleFile).string(),
      (folder.parent_path() / "lib" / "gentrain" / kModuleFile).string()};
  for (const std::string& place : places) {
    if (std::error_code ignored; fs::exists(place, ignored)) {
      return open_module(place);
    }
  }
  throw DeviceError(
      fmt::format("the image module, which reads images, is not there: it was looked for as {}",
                  fmt::join(places, " and ")));
}

}  // namespace

Image cut_out(const Image& image, const Rectangle& part) {
  Image cut{part.h, part.w, image.c, {}};
  cut.pixels.reserve(static_cast<std::size_t>(part.h * part.w * image.c));
  for (std::int64_t y = part.y; y < part.y + part.h; ++y) {
    const auto row = image.pixels.begin() + (y * image.w + part.x) * image.c;
    cut.pixels.insert(cut.pixels.end(), row, row + part.w * image.c);
  }
  return cut;
}

const ImageLibrary& image_library() {
  static const ImageLibrary& library = find_module();
  return library;
}

Image decode_image(std::span<const std::uint8_t> file, const std::string& name,
                   const DecodeOptions& options) {
  if (options.channels != 1 && options.channels != 3) {
    throw ShapeError(fmt::format("decode: {} channels were wanted, there are 1 (grey) and 3 (RGB)",
                                 options.channels));
  }
  const ImageInfo info = inspect(file, name);
  if (info.h > options.max_pixels / info.w) {
    throw IoError(fmt::format("{}: {} x {} pixels are more than the limit of {}", name, info.h,
                              info.w, options.max_pixels));
  }
  return image_library().decode(file, name, options.channels);
}

Image read_image(const std::filesystem::path& path, const DecodeOptions& options) {
  const io::Bytes bytes = io::read_file(path);
  return decode_image({bytes.data.get(), bytes.size}, path.string(), options);
}

void write_png(const std::filesystem::path& path, const Image& image) {
  const std::vector<std::uint8_t> bytes = image_library().encode_png(image);
  io::write_file_atomically(
      path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace gentrain::image
