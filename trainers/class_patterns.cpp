// Listing a tree of folders, and sorting its files into classes.
#include "trainers/class_patterns.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "core/io/posix_file.h"
#include "core/pattern.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

constexpr int kMostDepth = 32;

void collect(const fs::path& folder, const std::string& prefix, int depth,
             std::vector<std::string>& paths) {
  if (depth > kMostDepth) {
    throw IoError(
        fmt::format("{}: folders are nested more than {} deep: does a link lead to a folder above "
                    "it?",
                    folder.string(), kMostDepth));
  }
  std::error_code error;
  for (const fs::directory_entry& entry : io::entries_of(folder, error)) {
    const std::string name = entry.path().filename().string();
    std::error_code ignored;  // a link to nothing is neither
    if (name.starts_with('.')) {
      continue;
    }
    if (entry.is_directory(ignored)) {
      collect(entry.path(), prefix + name + "/", depth + 1, paths);
    } else if (image::has_image_name(name)) {
      paths.push_back(prefix + name);
    }
  }
  if (error) {
    throw IoError(
        fmt::format("{}: the folder cannot be read: {}", folder.string(), error.message()));
  }
}

/// The class of a path, by index; -1: none.
std::int32_t class_of(const std::string& path, const std::vector<ClassPattern>& classes) {
  std::int32_t found = -1;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (!matches(classes[i].pattern.text, path)) {
      continue;
    }
    if (found >= 0) {
      const ClassPattern& other = classes[static_cast<std::size_t>(found)];
      throw JobError(fmt::format(
          "data.classes: {} is of two classes: it matches '{}' of {} and '{}' of {}", path,
          other.pattern.text, other.name, classes[i].pattern.text, classes[i].name));
    }
    found = static_cast<std::int32_t>(i);
  }
  return found;
}

}  // namespace

std::vector<std::string> images_below(const fs::path& folder) {
  if (!io::is_there(folder)) {
    throw IoError(fmt::format("data.path: {}: there is no such folder of images", folder.string()));
  }
  if (std::error_code ignored; !fs::is_directory(folder, ignored)) {
    throw IoError(
        fmt::format("data.path: {}: is no folder: one of images was expected", folder.string()));
  }
  std::vector<std::string> paths;
  collect(folder, "", 1, paths);
  std::ranges::sort(paths);
  return paths;
}

image::Listing list_by_patterns(const fs::path& folder, std::span<const ClassPattern> classes) {
  const std::vector<std::string> paths = images_below(folder);
  if (paths.empty()) {
    throw IoError(
        fmt::format("data.path: {}: there are no images in it or below it: files named "
                    ".jpg, .jpeg, .png, .bmp or .webp were looked for",
                    folder.string()));
  }
  std::vector<ClassPattern> sorted(classes.begin(), classes.end());
  std::ranges::sort(sorted, {}, &ClassPattern::name);
  std::vector<std::vector<std::string>> members(sorted.size());
  for (const std::string& path : paths) {
    if (const std::int32_t label = class_of(path, sorted); label >= 0) {
      members[static_cast<std::size_t>(label)].push_back(path);
    }
  }
  image::Listing listing{folder, {}, {}};
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const Pattern& pattern = sorted[i].pattern;
    if (members[i].empty()) {
      constexpr std::size_t kShown = 8;
      throw JobError(fmt::format(
          "{}{}data.classes.{}: '{}' matches none of the {} images below {} (there are {})",
          pattern.where, pattern.where.empty() ? "" : ": ", sorted[i].name, pattern.text,
          paths.size(), folder.string(), listed_near(pattern.text, paths, kShown)));
    }
    listing.classes.push_back(sorted[i].name);
    for (std::string& path : members[i]) {
      listing.files.push_back({std::move(path), static_cast<std::int32_t>(i)});
    }
  }
  return listing;
}

}  // namespace gentrain::trainers
