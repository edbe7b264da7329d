// Listing a folder, and decoding its files when they are asked for.
#include "core/image/folder.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/data/memory_dataset.h"
#include "core/image/workers.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::image {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNeeded = "files named .jpg, .jpeg, .png, .bmp or .webp were looked for";

/// What a folder holds, sorted by bytes.
struct Content {
  std::vector<std::string> folders;
  std::vector<std::string> images;
};

[[noreturn]] void fail(const fs::path& folder, const std::error_code& error) {
  throw IoError(fmt::format("{}: the folder cannot be read: {}", folder.string(), error.message()));
}

Content content_of(const fs::path& folder) {
  Content content;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;  // a link to nothing is neither
    if (name.starts_with(".")) {
      continue;
    }
    if (entry->is_directory(ignored)) {
      content.folders.push_back(name);
    } else if (has_image_name(name)) {
      content.images.push_back(name);
    }
  }
  if (error) {
    fail(folder, error);
  }
  std::sort(content.folders.begin(), content.folders.end());
  std::sort(content.images.begin(), content.images.end());
  return content;
}

bool is_utf8(const std::string& text) {
  try {
    static_cast<void>(nlohmann::json(text).dump());
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

/// The files of the folders in `listing.folder`.
void list_classes(Listing& listing, const std::vector<std::string>& folders) {
  for (const std::string& name : folders) {
    if (!is_utf8(name)) {
      throw IoError(fmt::format(
          "{}: the class's name is not valid UTF-8, so that no model could name it: rename the "
          "folder",
          (listing.folder / name).string()));
    }
    const Content content = content_of(listing.folder / name);
    if (content.images.empty()) {
      throw IoError(fmt::format("{}: the class holds no images: {}",
                                (listing.folder / name).string(), kNeeded));
    }
    const auto label = static_cast<std::int32_t>(listing.classes.size());
    listing.classes.push_back(name);
    for (const std::string& image : content.images) {
      listing.files.push_back({fmt::format("{}/{}", name, image), label});
    }
  }
}

class FolderDataset final : public data::HashedDataset {
 public:
  FolderDataset(Listing listing, const FitOptions& options)
      : listing_(std::move(listing)), options_(options) {}

  [[nodiscard]] std::int64_t size() const override { return std::ssize(listing_.files); }
  [[nodiscard]] Shape sample_shape() const override {
    return {options_.h, options_.w, options_.channels};
  }
  [[nodiscard]] int classes() const override { return static_cast<int>(listing_.classes.size()); }
  [[nodiscard]] std::vector<std::string> class_names() const override { return listing_.classes; }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    const fs::path path = listing_.folder / listing_.files[static_cast<std::size_t>(index)].name;
    const Image image = fitted(read_image(path, {.channels = options_.channels}), options_);
    std::copy(image.pixels.begin(), image.pixels.end(), pixels);
    progress::tick();
  }
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return listing_.files[static_cast<std::size_t>(index)].label;
  }
  [[nodiscard]] bool in_memory() const override { return false; }
  [[nodiscard]] std::string description() const override {
    return fmt::format("images in {}", listing_.folder.string());
  }

 private:
  Listing listing_;
  FitOptions options_;
};

/// The largest part around the middle with the proportions of h : w.
Image middle_of(const Image& image, std::int64_t h, std::int64_t w) {
  // Rounded to nearest, at least one pixel.
  const auto scaled = [](std::int64_t extent, std::int64_t by, std::int64_t of) {
    return std::max<std::int64_t>(1, (extent * by + of / 2) / of);
  };
  const bool wide = image.w * h > image.h * w;
  const std::int64_t part_h = wide ? image.h : std::min(image.h, scaled(image.w, h, w));
  const std::int64_t part_w = wide ? std::min(image.w, scaled(image.h, w, h)) : image.w;
  return cut_out(image, {(image.w - part_w) / 2, (image.h - part_h) / 2, part_w, part_h});
}

}  // namespace

std::string ending_of(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending;
}

bool has_image_name(const std::filesystem::path& path) {
  constexpr std::array<std::string_view, 5> kEndings = {".jpg", ".jpeg", ".png", ".bmp", ".webp"};
  return std::find(kEndings.begin(), kEndings.end(), ending_of(path)) != kEndings.end();
}

Listing list_images(const std::filesystem::path& folder) {
  if (!io::is_there(folder)) {
    throw IoError(fmt::format("{}: there is no such folder of images", folder.string()));
  }
  if (std::error_code ignored; !fs::is_directory(folder, ignored)) {
    throw IoError(fmt::format("{}: is no folder: one of images was expected", folder.string()));
  }
  const Content content = content_of(folder);
  if (content.folders.empty() && content.images.empty()) {
    throw IoError(fmt::format("{}: the folder holds no images: {} in it and in its folders",
                              folder.string(), kNeeded));
  }
  if (!content.folders.empty() && !content.images.empty()) {
    throw IoError(fmt::format(
        "{}: holds both folders, as {}, and images, as {}: either each folder is a class, or there "
        "are no classes",
        folder.string(), content.folders.front(), content.images.front()));
  }
  Listing listing{folder, {}, {}};
  list_classes(listing, content.folders);
  for (const std::string& image : content.images) {
    listing.files.push_back({image, -1});
  }
  return listing;
}

Image fitted(const Image& image, const FitOptions& options) {
  if (options.h < 1 || options.w < 1) {
    throw ShapeError(fmt::format("images of {} x {} pixels were wanted, at least 1 x 1 is needed",
                                 options.h, options.w));
  }
  if (image.h == options.h && image.w == options.w && image.c == options.channels) {
    return image;
  }
  const ImageLibrary& library = image_library();
  Image result = library.with_channels(image, options.channels);
  if (options.fit == Fit::kCrop) {
    result = middle_of(result, options.h, options.w);
  }
  const bool shrinks = result.h >= options.h && result.w >= options.w;
  return library.resize(result, options.h, options.w,
                        shrinks ? Interpolation::kArea : Interpolation::kBilinear);
}

std::vector<BadFile> find_bad_files(const Listing& listing, std::int64_t first, std::int64_t last,
                                    int threads) {
  const auto count = static_cast<std::size_t>(last - first);
  std::vector<std::string> reasons(count);
  for_each_index(count, threads, [&](std::size_t i) {
    try {
      read_image(listing.folder / listing.files[static_cast<std::size_t>(first) + i].name);
    } catch (const IoError& error) {
      reasons[i] = error.what();
    }
    progress::tick();
  });
  std::vector<BadFile> bad;
  for (std::size_t i = 0; i < count; ++i) {
    if (!reasons[i].empty()) {
      bad.push_back({listing.files[static_cast<std::size_t>(first) + i].name, reasons[i]});
    }
  }
  return bad;
}

void leave_out(Listing& listing, const std::vector<BadFile>& bad) {
  std::set<std::string_view> names;
  for (const BadFile& file : bad) {
    names.insert(file.name);
  }
  std::erase_if(listing.files,
                [&](const Listing::File& file) { return names.contains(file.name); });
  if (listing.files.empty()) {
    throw IoError(fmt::format("{}: none of its {} images can be read: {}", listing.folder.string(),
                              bad.size(), bad.front().reason));
  }
  std::vector<std::int64_t> left(listing.classes.size());
  for (const Listing::File& file : listing.files) {
    if (file.label >= 0) {
      ++left[static_cast<std::size_t>(file.label)];
    }
  }
  if (const auto none = std::find(left.begin(), left.end(), 0); none != left.end()) {
    throw IoError(fmt::format(
        "{}: none of the images of the class can be read",
        (listing.folder / listing.classes[static_cast<std::size_t>(none - left.begin())])
            .string()));
  }
}

std::shared_ptr<const data::Dataset> open_listing(Listing listing, const FitOptions& options) {
  if (options.h < 1 || options.w < 1) {
    throw ShapeError(fmt::format("images of {} x {} pixels were wanted, at least 1 x 1 is needed",
                                 options.h, options.w));
  }
  return std::make_shared<FolderDataset>(std::move(listing), options);
}

}  // namespace gentrain::image
