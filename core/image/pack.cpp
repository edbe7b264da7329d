// Writing goes by blocks of files, each decoded by several threads; reading keeps the file's bytes
// and points into them.
#include "core/image/pack.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/data/memory_dataset.h"
#include "core/image/workers.h"
#include "core/io/array_file.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::image {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlockPerThread = 8;  // images that are decoded before they are appended

// ---- writing ----------------------------------------------------------------------------------

struct Decoded {
  Image image;
  std::string reason;  // why there is none
};

Decoded decode(const fs::path& path, const FitOptions& fit) {
  Decoded decoded;
  try {
    decoded.image = read_image(path, {.channels = fit.channels});
    if (fit.h > 0) {
      decoded.image = fitted(decoded.image, fit);
    }
  } catch (const IoError& error) {
    decoded.reason = error.what();
  }
  progress::tick();
  return decoded;
}

PackContent decode_all(const Listing& listing, const PackOptions& options,
                       std::vector<BadFile>& left_out) {
  PackContent content;
  const std::size_t count = listing.files.size();
  const std::size_t per_block = kBlockPerThread * static_cast<std::size_t>(options.threads);
  for (std::size_t first = 0; first < count; first += per_block) {
    std::vector<Decoded> block(std::min(per_block, count - first));
    for_each_index(block.size(), options.threads, [&](std::size_t i) {
      block[i] = decode(listing.folder / listing.files[first + i].name, options.fit);
    });
    for (std::size_t i = 0; i < block.size(); ++i) {
      const Listing::File& file = listing.files[first + i];
      if (block[i].reason.empty()) {
        content.append(block[i].image, file);
      } else if (options.leave_out_bad) {
        left_out.push_back({file.name, block[i].reason});
      } else {
        throw IoError(block[i].reason);
      }
    }
  }
  return content;
}

const char* name_of(const FitOptions& fit) {
  return fit.h == 0 ? "none" : fit.fit == Fit::kCrop ? "crop" : "stretch";
}

// ---- reading ----------------------------------------------------------------------------------

/// A pack that was read and found to be whole.
struct Pack {
  io::Bytes file;
  std::span<const std::byte> pixels;
  std::vector<std::int32_t> extents;  // three for each image
  std::vector<std::int32_t> labels;
  std::vector<std::size_t> offsets;  // of each image's pixels
  std::vector<std::string> classes;
  std::vector<std::string> files;
  nlohmann::json more;

  [[nodiscard]] Shape shape(std::size_t index) const {
    return {extents[3 * index], extents[3 * index + 1], extents[3 * index + 2]};
  }
  [[nodiscard]] std::span<const std::uint8_t> image(std::size_t index) const {
    return {reinterpret_cast<const std::uint8_t*>(pixels.data()) + offsets[index],
            static_cast<std::size_t>(shape(index).elements())};
  }
};

class PackDataset final : public data::HashedDataset {
 public:
  PackDataset(Pack pack, const FitOptions& options, std::string description)
      : pack_(std::move(pack)), options_(options), description_(std::move(description)) {
    const Shape wanted = sample_shape();
    for (std::size_t i = 0; plain_ && i < pack_.labels.size(); ++i) {
      plain_ = pack_.shape(i) == wanted;
    }
  }

  [[nodiscard]] std::int64_t size() const override { return std::ssize(pack_.labels); }
  [[nodiscard]] Shape sample_shape() const override {
    return {options_.h, options_.w, options_.channels};
  }
  [[nodiscard]] int classes() const override { return static_cast<int>(pack_.classes.size()); }
  [[nodiscard]] std::vector<std::string> class_names() const override { return pack_.classes; }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    const auto i = static_cast<std::size_t>(index);
    const std::span<const std::uint8_t> stored = pack_.image(i);
    if (plain_) {
      std::memcpy(pixels, stored.data(), stored.size());
      return;
    }
    const Shape shape = pack_.shape(i);
    const Image image =
        fitted({shape[0], shape[1], shape[2], {stored.begin(), stored.end()}}, options_);
    std::copy(image.pixels.begin(), image.pixels.end(), pixels);
    progress::tick();
  }
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return pack_.labels[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] bool in_memory() const override { return plain_; }
  [[nodiscard]] std::string description() const override { return description_; }

 private:
  Pack pack_;
  FitOptions options_;
  std::string description_;
  bool plain_ = true;  // no image has to be fitted
};

/// An array's bytes. Throws IoError that names it if it is missing or of another type or rank.
std::span<const std::byte> bytes_of(const io::ArrayViews& file, const char* name,
                                    io::ElementType type, int rank) {
  const auto found = std::ranges::find(file.arrays, name, &io::ArrayView::name);
  if (found == file.arrays.end() || found->type != type || found->shape.rank() != rank) {
    throw IoError(fmt::format("{}: there is no such array of the right type and rank", name));
  }
  return found->bytes;
}

/// A copy: in a file numbers may lie at odd places.
std::vector<std::int32_t> numbers_of(const io::ArrayViews& file, const char* name, int rank) {
  const std::span<const std::byte> bytes = bytes_of(file, name, io::ElementType::kI32, rank);
  std::vector<std::int32_t> numbers(bytes.size() / sizeof(std::int32_t));
  std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span(numbers)).begin());
  return numbers;
}

std::vector<std::string> names_of(const nlohmann::json& header, const char* key) {
  try {
    return header.at(key).get<std::vector<std::string>>();
  } catch (const nlohmann::json::exception& error) {
    throw IoError(fmt::format("header: {}: {}", key, error.what()));
  }
}

/// The keys of a header beside those that every pack has.
nlohmann::json more_of(nlohmann::json header) {
  for (const char* const key : {"classes", "files", "left_out", "fit"}) {
    header.erase(key);
  }
  return header;
}

/// Finds the images' places.
void measure(Pack& pack) {
  const std::size_t images = pack.labels.size();
  if (images == 0 || pack.extents.size() != 3 * images || pack.files.size() != images) {
    throw IoError(fmt::format("{} labels, {} extents and {} names of files do not fit together",
                              images, pack.extents.size(), pack.files.size()));
  }
  std::size_t offset = 0;
  for (std::size_t i = 0; i < images; ++i) {
    const auto one = std::span(pack.extents).subspan(3 * i, 3);
    if (one[0] < 1 || one[1] < 1 || (one[2] != 1 && one[2] != 3)) {
      throw IoError(fmt::format("extents: image {} is [{}, {}, {}]", i, one[0], one[1], one[2]));
    }
    const std::int32_t label = pack.labels[i];
    if (label >= std::ssize(pack.classes) || (label < 0 && !pack.classes.empty())) {
      throw IoError(fmt::format("labels: label {} is {}, there are {} classes", i, label,
                                pack.classes.size()));
    }
    pack.offsets.push_back(offset);
    offset += static_cast<std::size_t>(pack.shape(i).elements());
    if (offset > pack.pixels.size()) {
      break;
    }
  }
  if (offset != pack.pixels.size()) {
    throw IoError(fmt::format("pixels: {} bytes, the extents say {}", pack.pixels.size(), offset));
  }
}

Pack read_pack(io::Bytes bytes, const std::string& name) {
  Pack pack;
  pack.file = std::move(bytes);
  const io::ArrayViews file = io::view_array_file(name, pack.file, io::FileKind::kPack);
  try {
    pack.pixels = bytes_of(file, "pixels", io::ElementType::kU8, 1);
    pack.extents = numbers_of(file, "extents", 2);
    pack.labels = numbers_of(file, "labels", 1);
    pack.classes = names_of(file.header, "classes");
    pack.files = names_of(file.header, "files");
    pack.more = more_of(file.header);
    measure(pack);
  } catch (const IoError& error) {
    throw IoError(fmt::format("cannot read {}: {}", name, error.what()));
  }
  return pack;
}

/// The extents that all images have.
FitOptions common_extents(const Pack& pack, const std::string& name, FitOptions options) {
  const Shape first = pack.shape(0);
  for (std::size_t i = 1; i < pack.labels.size(); ++i) {
    const Shape other = pack.shape(i);
    if (other[0] != first[0] || other[1] != first[1]) {
      throw IoError(fmt::format(
          "{}: its images differ in size, as {} with {} x {} and {} with {} x {}: set data.size",
          name, pack.files[0], first[0], first[1], pack.files[i], other[0], other[1]));
    }
  }
  options.h = first[0];
  options.w = first[1];
  return options;
}

}  // namespace

void PackContent::append(const Image& image, const Listing::File& file) {
  pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
  for (const std::int64_t extent : {image.h, image.w, image.c}) {
    extents.push_back(static_cast<std::int32_t>(extent));
  }
  labels.push_back(file.label);
  files.push_back(file.name);
}

void write_pack(const std::filesystem::path& file, const PackContent& content,
                const PackHeader& header) {
  nlohmann::json json = header.more;
  json["classes"] = header.classes;
  json["files"] = content.files;
  json["left_out"] = header.left_out;
  json["fit"] = header.fit;
  const std::int64_t images = std::ssize(content.labels);
  const auto stored = [](const auto& values) { return std::as_bytes(std::span(values)); };
  io::write_array_views(
      file,
      io::ArrayViews{io::FileKind::kPack,
                     std::move(json),
                     {{"pixels", Shape{std::ssize(content.pixels)}, io::ElementType::kU8,
                       stored(content.pixels)},
                      {"extents", Shape{images, 3}, io::ElementType::kI32, stored(content.extents)},
                      {"labels", Shape{images}, io::ElementType::kI32, stored(content.labels)}}});
}

PackReport pack_folder(const std::filesystem::path& folder, const std::filesystem::path& file,
                       const PackOptions& options) {
  Listing listing = list_images(folder);
  PackReport report;
  const PackContent content = decode_all(listing, options, report.left_out);
  if (!report.left_out.empty()) {
    leave_out(listing, report.left_out);
  }
  report.images = std::ssize(content.labels);
  report.bytes = std::ssize(content.pixels);
  report.classes = listing.classes;
  PackHeader header{report.classes, {}, name_of(options.fit), nlohmann::json::object()};
  for (const BadFile& bad : report.left_out) {
    header.left_out.push_back(bad.name);
  }
  write_pack(file, content, header);
  return report;
}

bool is_pack(const std::filesystem::path& path) {
  return io::begins_as(path, io::FileKind::kPack);
}

ImageSet open_pack(const std::filesystem::path& path, const FitOptions& options) {
  return open_pack(io::read_file(path), path.string(), options);
}

ImageSet open_pack(io::Bytes file, const std::string& name, const FitOptions& options) {
  Pack pack = read_pack(std::move(file), name);
  const FitOptions fit = options.h > 0 ? options : common_extents(pack, name, options);
  std::vector<std::string> classes = pack.classes;
  nlohmann::json more = std::move(pack.more);
  return {std::make_shared<PackDataset>(std::move(pack), fit, "pack " + name), std::move(classes),
          std::move(more)};
}

}  // namespace gentrain::image
