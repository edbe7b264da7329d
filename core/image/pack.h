// Packs: the decoded images of a folder in one file with hashes, an array file of the kind `pack`
// (core/io/array_file.h), which any HDF5 reader opens.
//
//   /header       JSON: classes, files (names below the folder), left_out, fit
//   /data/pixels  u8 [bytes]   all images one after another, each [h, w, c]
//   /data/extents i32 [n, 3]   h, w, c of each image
//   /data/labels  i32 [n]      index of the class, -1 without classes
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/image/folder.h"
#include "core/io/posix_file.h"

namespace gentrain::image {

struct PackOptions {
  FitOptions fit;              // h = w = 0: each image keeps its extents
  bool leave_out_bad = false;  // else a bad file ends it
  int threads = 1;             // that decode; the same bytes for any number
};

struct PackReport {
  std::int64_t images = 0;
  std::int64_t bytes = 0;  // of pixels
  std::vector<std::string> classes;
  std::vector<BadFile> left_out;
};

/// Decodes a folder of images and writes it as a pack, whole or not at all. The same images give
/// the same bytes. All pixels are in memory meanwhile.
///
/// Throws IoError as list_images(), leave_out() and read_image(), and if the file cannot be
/// written.
PackReport pack_folder(const std::filesystem::path& folder, const std::filesystem::path& file,
                       const PackOptions& options);

/// Images on their way into a pack.
struct PackContent {
  std::vector<std::uint8_t> pixels;   // one image after another
  std::vector<std::int32_t> extents;  // h, w, c of each
  std::vector<std::int32_t> labels;   // -1 without classes
  std::vector<std::string> files;     // where each comes from

  /// Puts an image behind the others.
  void append(const Image& image, const Listing::File& file);
};

/// What a pack says beside its images.
struct PackHeader {
  std::vector<std::string> classes;
  std::vector<std::string> left_out;               // names of the files that are not in it
  std::string fit = "none";                        // how images got their extents
  nlohmann::json more = nlohmann::json::object();  // further keys, which reading passes over
};

/// Writes a pack, whole or not at all; equal values give equal bytes. Throws IoError naming it.
void write_pack(const std::filesystem::path& file, const PackContent& content,
                const PackHeader& header);

/// Whether this is a pack's file. Throws IoError naming a file that cannot be read.
bool is_pack(const std::filesystem::path& path);

/// Samples, and the names of their classes.
struct ImageSet {
  std::shared_ptr<const data::Dataset> samples;
  std::vector<std::string> classes;
  nlohmann::json more;  // PackHeader::more
};

/// The images of a pack, held in memory; read() fits those that are of another shape, so that
/// in_memory() is true where none is. With options.h = 0 all must have the same extents, which are
/// taken.
///
/// Throws IoError naming the file: missing, no pack, damaged (and the array), contents that do not
/// fit together, images of different extents where no size is given.
ImageSet open_pack(const std::filesystem::path& path, const FitOptions& options);
/// The same of a pack's bytes; `name` stands for the file in messages and in description().
ImageSet open_pack(io::Bytes file, const std::string& name, const FitOptions& options);

}  // namespace gentrain::image
