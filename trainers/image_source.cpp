// Folders and packs as training and test sets.
#include "trainers/image_source.h"

#include <algorithm>
#include <iterator>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "comm/shards.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "trainers/class_patterns.h"
#include "trainers/json_members.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

image::FitOptions fit_of(const DataOptions& options) {
  return {options.height, options.width, options.fit, static_cast<int>(options.channels)};
}

/// The bad files of a listing: each rank decodes a part of it.
std::vector<image::BadFile> find_bad_files(const image::Listing& listing, int threads,
                                           comm::Communicator& communicator) {
  const comm::Range mine =
      comm::part_of(std::ssize(listing.files), communicator.size(), communicator.rank());
  nlohmann::json found = nlohmann::json::array();
  for (const image::BadFile& file :
       image::find_bad_files(listing, mine.first, mine.last, threads)) {
    found.push_back({file.name, file.reason});
  }
  std::vector<image::BadFile> bad;
  for (const std::string& text :
       communicator.all_gather_text(found.dump(-1, ' ', false, kReplace))) {
    for (const nlohmann::json& file : nlohmann::json::parse(text)) {
      bad.push_back({file[0].get<std::string>(), file[1].get<std::string>()});
    }
  }
  return bad;
}

/// Whether a path is read as a pack: a damaged one, too, if its name says so.
bool stands_for_pack(const fs::path& path) {
  std::error_code ignored;
  return image::is_pack(path) ||
         (image::ending_of(path) == ".h5" && fs::is_regular_file(path, ignored));
}

image::ImageSet load_set(const fs::path& path, const DataOptions& options, int threads,
                         comm::Communicator& communicator, std::vector<image::BadFile>& left_out) {
  if (stands_for_pack(path)) {
    return image::open_pack(path, fit_of(options));
  }
  image::Listing listing =
      options.classes.empty() ? image::list_images(path) : list_by_patterns(path, options.classes);
  if (options.height < 1) {
    throw JobError(
        fmt::format("data.size is missing: {} is a folder of images, which are scaled to one size",
                    path.string()));
  }
  if (options.on_bad_file == DataOptions::OnBadFile::kSkip) {
    const std::vector<image::BadFile> bad = find_bad_files(listing, threads, communicator);
    if (!bad.empty()) {
      image::leave_out(listing, bad);
      left_out.insert(left_out.end(), bad.begin(), bad.end());
    }
  }
  std::vector<std::string> classes = listing.classes;
  return {image::open_listing(std::move(listing), fit_of(options)), std::move(classes), {}};
}

std::vector<std::string> folders_in(const fs::path& root) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : io::entries_of(root, error)) {
    std::error_code ignored;
    if (std::string name = entry.path().filename();
        !name.starts_with('.') && entry.is_directory(ignored)) {
      names.push_back(std::move(name));
    }
  }
  if (error) {
    throw IoError(fmt::format("data.path: {} cannot be read: {}", root.string(), error.message()));
  }
  std::ranges::sort(names);
  return names;
}

std::string listed(const std::vector<std::string>& classes) {
  constexpr std::size_t kMost = 10;
  const auto shown = std::min(classes.size(), kMost);
  return fmt::format(
      "{} ({}{})", classes.size(),
      fmt::join(classes.begin(), classes.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
      shown < classes.size() ? ", ..." : "");
}

/// Which folders of data.path were chosen; empty if it is the training set itself, or not given.
std::string chosen_folders(const DataOptions& options, const ImageFolders& folders) {
  if (options.path.empty() || folders.train == fs::path(options.path)) {
    return "";
  }
  return fmt::format(
      "data.path: {} is the training set{}", folders.train.string(),
      folders.test.empty() ? "" : fmt::format(", {} the test set", folders.test.string()));
}

void check_fit(const image::ImageSet& train, const image::ImageSet& test, const fs::path& path) {
  if (test.classes != train.classes) {
    throw IoError(fmt::format("{}: has the classes {}, the training set {}", path.string(),
                              listed(test.classes), listed(train.classes)));
  }
  if (test.samples->sample_shape() != train.samples->sample_shape()) {
    throw IoError(fmt::format("{}: images are {}, those of the training set {}: set data.size",
                              path.string(), test.samples->sample_shape().str(),
                              train.samples->sample_shape().str()));
  }
}

}  // namespace

ImageFolders folders_of(const DataOptions& options) {
  if (options.path.empty()) {
    return {options.folder, options.test_folder};
  }
  if (!options.classes.empty()) {
    return {options.path, {}};
  }
  const fs::path root(options.path);
  std::error_code ignored;
  if (!fs::is_directory(root, ignored)) {
    throw IoError(fmt::format(
        "data.path: {} is no folder: one that holds train/ and validation/ is needed, or a folder "
        "for each class",
        options.path));
  }
  const std::vector<std::string> names = folders_in(root);
  fs::path test;
  for (const char* name : {"validation", "val", "test"}) {
    if (test.empty() && std::ranges::find(names, name) != names.end()) {
      test = root / name;
    }
  }
  const auto train = std::ranges::find_if(names, [&test](const std::string& name) {
    return name == "train" || (!test.empty() && name.starts_with("train"));
  });
  if (train == names.end()) {
    return {root, {}};
  }
  return {root / *train, std::move(test)};
}

ImagePair load_images(const DataOptions& options, int threads, comm::Communicator& communicator) {
  ImagePair images;
  const ImageFolders folders = folders_of(options);
  images.chosen = chosen_folders(options, folders);
  const image::ImageSet train =
      load_set(folders.train, options, threads, communicator, images.left_out);
  images.pair.train = train.samples;
  if (!folders.test.empty()) {
    const image::ImageSet test =
        load_set(folders.test, options, threads, communicator, images.left_out);
    check_fit(train, test, folders.test);
    images.pair.test = test.samples;
  }
  images.pair.train_normalization = kImageNormalization;
  images.pair.test_normalization = kImageNormalization;
  return images;
}

std::string left_out_note(const std::vector<image::BadFile>& left_out, std::int64_t all) {
  constexpr std::size_t kShown = 3;
  if (left_out.empty()) {
    return "";
  }
  std::vector<std::string> reasons;
  for (std::size_t i = 0; i < std::min(left_out.size(), kShown); ++i) {
    reasons.push_back(left_out[i].reason);
  }
  return fmt::format("left out {} of {} images: {}{}", left_out.size(), all,
                     fmt::join(reasons, "; "), left_out.size() > kShown ? "; ..." : "");
}

}  // namespace gentrain::trainers
