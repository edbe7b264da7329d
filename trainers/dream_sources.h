// Which images dreams begin with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainers/dream_image.h"
#include "trainers/dream_options.h"

namespace gentrain::trainers {

/// An image that a dream begins with.
struct DreamSource {
  std::string name;            // for messages and files
  std::filesystem::path file;  // empty: the first of the built-in faces, which is drawn
};

/// The images of a job, in order: its files and, of folders, all images (image::list_images()).
/// Without any the first picture of the folder cars_cats_dogs_flowers/validation of $GENTRAIN_DATA
/// or data; if that is not there either, a drawn face. `note` says so, for the log.
///
/// Throws IoError for a file or folder that is not there, and as image::list_images().
std::vector<DreamSource> dream_sources(const DreamOptions& options, std::string& note);

/// An image in the size that the job wants.
struct LoadedSource {
  image::Image image;  // RGB
  std::string sha256;  // of the file, or of the drawn pixels
};
/// Throws IoError naming a file that cannot be read, is damaged or no image.
LoadedSource load_source(const DreamSource& source, const DreamOptions& options);

/// What is known of an image without decoding it.
struct InspectedSource {
  Shape size;          // [h, w] in the job's size; of a photograph taken upright maybe [w, h]
  std::string sha256;  // of the file; of a drawn one ""
};
/// Throws IoError as load_source().
InspectedSource inspect_source(const DreamSource& source, const DreamOptions& options);

}  // namespace gentrain::trainers
