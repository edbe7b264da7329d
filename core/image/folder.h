// Folders of images as data sets: FOLDER/CLASS/FILE, or files alone. Names are sorted by their
// bytes, so that the same folder is the same data set on every file system.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/data/dataset.h"
#include "core/image/image.h"

namespace gentrain::image {

/// The files of a folder.
struct Listing {
  struct File {
    std::string name;         // below the folder: "cats/1.jpg"
    std::int32_t label = -1;  // index of its class; -1 without classes
  };
  std::filesystem::path folder;
  std::vector<std::string> classes;  // names of the folders in it; none if it holds images itself
  std::vector<File> files;           // by class, then by name
};

/// Lists FOLDER/CLASS/* or, where FOLDER holds no folders, FOLDER/*: the files named .jpg, .jpeg,
/// .png, .bmp or .webp in small or capital letters. Names that begin with a dot, other files and
/// folders further down are passed over; links are followed.
///
/// Throws IoError naming the folder: missing, no folder, unreadable, without images, images beside
/// folders of images, a class without images, a class whose name is not UTF-8.
Listing list_images(const std::filesystem::path& folder);

/// The ending of a file's name in small letters: ".png" of "X.PNG".
std::string ending_of(const std::filesystem::path& path);

/// Whether a file's name ends as those of images do.
bool has_image_name(const std::filesystem::path& path);

/// How an image becomes h x w pixels: the largest part around its middle of the same proportions is
/// scaled, or all of it, whatever its proportions.
enum class Fit : std::uint8_t { kCrop, kStretch };

/// One shape for all images.
struct FitOptions {
  std::int64_t h = 0;
  std::int64_t w = 0;
  Fit fit = Fit::kCrop;
  int channels = 3;  // 3: RGB, 1: grey
};

/// The image with these channels, then scaled: by averaging (kArea) where it has at least h rows
/// and w columns, else bilinearly. Throws ShapeError for extents below 1.
Image fitted(const Image& image, const FitOptions& options);

/// A file of a listing that is no image or a damaged one.
struct BadFile {
  std::string name;    // as Listing::File
  std::string reason;  // names the file
};

/// Decodes files [first, last) of a listing with `threads` threads; in the listing's order.
/// Throws DeviceError if a thread cannot be started or the image module is missing.
std::vector<BadFile> find_bad_files(const Listing& listing, std::int64_t first, std::int64_t last,
                                    int threads);

/// Takes files out of a listing. Throws IoError if none is left, or none of a class.
void leave_out(Listing& listing, const std::vector<BadFile>& bad);

/// Decodes a file when it is read: in_memory() is false, classes() may be 0, and a bad file is an
/// IoError of read(). Throws ShapeError for extents below 1.
std::shared_ptr<const data::Dataset> open_listing(Listing listing, const FitOptions& options);

}  // namespace gentrain::image
