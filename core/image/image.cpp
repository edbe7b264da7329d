// Loading the module, and what is done before and after it: files, limits.
#include "core/image/image.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/image/format.h"
#include "core/image/module.h"
#include "core/io/atomic_file.h"
#include "core/io/module_file.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"

namespace gentrain::image {
namespace {

const ImageLibrary& find_module() {
  using Function = const ImageLibrary* (*)();
  const auto function = reinterpret_cast<Function>(io::load_module_function(
      {"image module", "which reads images", kModuleFile, kModuleFunction}));
  return *function();
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

void write_png(const std::filesystem::path& path, const Image& image,
               const std::function<void()>& before_rename) {
  const std::vector<std::uint8_t> bytes = image_library().encode_png(image);
  io::write_file_atomically(
      path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
      before_rename);
}

}  // namespace gentrain::image
