// The pictures that a command line names: files, folders, lists, URLs and standard input, as one
// stream of names.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "core/image/folder.h"
#include "trainers/streaming.h"

namespace gentrain::jobs {

/// Whether an argument names pictures: "-", a URL, a list (.txt), a folder that does not hold
/// MNIST's test set, or a file whose name ends as those of images do, there or not.
bool names_pictures(const std::string& argument);

/// The names, in the order of the arguments. Lists and standard input are read as the names are
/// asked for, a path or URL on each line; empty lines and those that begin with # are passed over.
/// Folders are listed at once: FOLDER/CLASS/FILE or FOLDER/FILE, as image::list_images() has them.
class PictureNames {
 public:
  /// most: names that are given at most. Throws JobError for an argument that names no pictures, or
  /// "-" twice; IoError as image::list_images(), and if a list cannot be read.
  explicit PictureNames(const std::vector<std::string>& arguments,
                        std::optional<std::int64_t> most = std::nullopt);
  ~PictureNames();
  PictureNames(const PictureNames&) = delete;
  PictureNames& operator=(const PictureNames&) = delete;

  /// A StreamSource. Labels are indices of classes(). Throws IoError if a list cannot be read, or
  /// has a line of more than 64 KiB.
  std::optional<trainers::StreamItem> next(const std::stop_token& stop);
  /// The names of the folders of all folders that have some, each once; in order.
  [[nodiscard]] const std::vector<std::string>& classes() const { return classes_; }
  /// "images in set", "a.png, b.png and 7 more"
  [[nodiscard]] std::string description() const;

 private:
  class Lines;
  struct Source {
    std::string argument;
    bool is_list = false;                   // its lines are names
    std::optional<image::Listing> listing;  // of a folder
  };
  void add_folder(Source& source);
  std::optional<trainers::StreamItem> next_of(Source& source, const std::stop_token& stop);

  std::vector<Source> sources_;
  std::vector<std::string> classes_;
  std::optional<std::int64_t> most_;
  std::size_t at_ = 0;            // source
  std::size_t file_ = 0;          // of a folder
  std::unique_ptr<Lines> lines_;  // of a list
};

/// What a name stands for: the bytes of a file, or those that a URL gives (http and https, at most
/// a minute); at most 64 MiB of either. Throws IoError naming it.
std::vector<std::uint8_t> read_picture(const std::string& name);

}  // namespace gentrain::jobs
