// Listing and reading the images of dreams.
#include "trainers/dream_sources.h"

#include <algorithm>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "core/data/faces.h"
#include "core/image/format.h"
#include "core/io/array_file.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "trainers/data_source.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPictures = "cars_cats_dogs_flowers";

void append_folder(const fs::path& folder, std::vector<DreamSource>& sources) {
  for (const image::Listing::File& file : image::list_images(folder).files) {
    sources.push_back({file.name, folder / file.name});
  }
}

/// A picture of the data sets, or a drawn one.
DreamSource stand_in(std::string& note) {
  for (const fs::path& folder : data_folders({}, kPictures)) {
    const fs::path pictures = folder / "validation";
    if (std::error_code ignored; !fs::is_directory(pictures, ignored)) {
      continue;
    }
    std::vector<DreamSource> found;
    append_folder(pictures, found);
    note = fmt::format("images: none are named: {} stands in, the first picture of {}",
                       found.front().name, pictures.string());
    return found.front();
  }
  note =
      fmt::format("images: none are named, and there are no pictures in {}: a drawn face stands in",
                  joined(data_folders({}, kPictures)));
  return {"face", {}};
}

image::Image drawn_face() {
  const auto faces = data::make_faces(1, 1, 1).train;
  image::Image face{data::kFaceSide, data::kFaceSide, 3, {}};
  face.pixels.resize(static_cast<std::size_t>(faces->sample_shape().elements()));
  faces->read(0, face.pixels.data());
  return face;
}

std::span<const std::uint8_t> bytes_of(const io::Bytes& bytes) {
  return {bytes.data.get(), bytes.size};
}

}  // namespace

std::vector<DreamSource> dream_sources(const DreamOptions& options, std::string& note) {
  note.clear();
  std::vector<DreamSource> sources;
  for (const std::string& name : options.images) {
    std::error_code ignored;
    if (fs::is_directory(name, ignored)) {
      append_folder(name, sources);
    } else if (io::is_there(name)) {
      sources.push_back({fs::path(name).filename().string(), name});
    } else {
      throw IoError(fmt::format("images: {} is not there: a file or folder is needed", name));
    }
  }
  if (sources.empty()) {
    sources.push_back(stand_in(note));
  }
  return sources;
}

LoadedSource load_source(const DreamSource& source, const DreamOptions& options) {
  LoadedSource loaded;
  if (source.file.empty()) {
    loaded.image = drawn_face();
    loaded.sha256 = io::sha256(std::as_bytes(std::span(loaded.image.pixels)));
  } else {
    const io::Bytes file = io::read_file(source.file);
    loaded.sha256 = io::sha256(std::as_bytes(bytes_of(file)));
    loaded.image = image::decode_image(bytes_of(file), source.file.string());
  }
  if (options.height > 0) {
    loaded.image = image::fitted(loaded.image, {options.height, options.width, options.fit, 3});
  }
  return loaded;
}

InspectedSource inspect_source(const DreamSource& source, const DreamOptions& options) {
  image::ImageInfo info{data::kFaceSide, data::kFaceSide};
  std::string sha256;
  if (!source.file.empty()) {
    const io::Bytes file = io::read_file(source.file);
    info = image::inspect(bytes_of(file), source.file.string());
    sha256 = io::sha256(std::as_bytes(bytes_of(file)));
  }
  return {options.height > 0 ? Shape{options.height, options.width} : Shape{info.h, info.w},
          std::move(sha256)};
}

}  // namespace gentrain::trainers
