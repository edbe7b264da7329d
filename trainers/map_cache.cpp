// Kept maps: keys, files, and whether an image's maps are its own.
#include "trainers/map_cache.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "core/io/sha256.h"
#include "kernels/error.h"
#include "trainers/objective.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kHashDigits = 64;  // of a hash

/// Of [n, ...] the i-th as [1, ...].
Tensor one_of(const Tensor& all, std::int64_t i) {
  const Shape one = batch_shape(1, Shape(all.shape().extents().subspan(1)));
  return all.slice(i * one.elements(), one);
}

std::string digits_of(const std::string& key, const io::Bytes& file) {
  io::Sha256 hash;
  hash.update(key.data(), key.size());
  hash.update(file.data.get() + kHashDigits, file.size - kHashDigits);
  return hash.finish();
}

/// Images 0, 1, 0, 1 and so on of two.
Tensor in_turn(Context& context, const Tensor& two, std::int64_t n) {
  const std::vector<float> values = copy_to_host<float>(context.device, context.queue, two);
  const std::size_t half = values.size() / 2;
  std::vector<float> all;
  all.reserve(static_cast<std::size_t>(n) * half);
  for (std::int64_t i = 0; i < n; ++i) {
    const float* const image = values.data() + (i % 2 == 0 ? 0 : half);
    all.insert(all.end(), image, image + half);
  }
  Tensor x = Tensor::empty(context.device, batch_shape(n, Shape(two.shape().extents().subspan(1))));
  copy_from_host<float>(context.device, context.queue, all, x);
  return x;
}

/// [n, ...] of n times the same [1, ...].
Tensor copies(Context& context, const Tensor& one, std::int64_t n) {
  const std::vector<float> values = copy_to_host<float>(context.device, context.queue, one);
  std::vector<float> all;
  all.reserve(static_cast<std::size_t>(n) * values.size());
  for (std::int64_t i = 0; i < n; ++i) {
    all.insert(all.end(), values.begin(), values.end());
  }
  Tensor x = Tensor::empty(context.device, batch_shape(n, Shape(one.shape().extents().subspan(1))));
  copy_from_host<float>(context.device, context.queue, all, x);
  return x;
}

using Values = std::vector<float>;

/// Whether a map [n, ...] of images 0, 1, 0, 1 and so on is theirs bit by bit.
bool is_that_of(Context& context, const Tensor& map, const Values& even, const Values& odd) {
  const Values all = copy_to_host<float>(context.device, context.queue, map);
  const auto n = static_cast<std::size_t>(map.shape()[0]);
  bool same = even.size() * n == all.size() && odd.size() == even.size();
  for (std::size_t i = 0; same && i < n; ++i) {
    same = std::memcmp(all.data() + i * even.size(), (i % 2 == 0 ? even : odd).data(),
                       even.size() * sizeof(float)) == 0;
  }
  return same;
}

}  // namespace

MapCache::MapCache(const fs::path& folder, std::string identity, std::vector<Shape> maps,
                   Compute compute)
    : cache_(folder),
      identity_(std::move(identity)),
      maps_(std::move(maps)),
      compute_(std::move(compute)) {
  for (const Shape& map : maps_) {
    identity_ += ", " + map.str();
  }
}

std::int64_t MapCache::bytes_of_image() const {
  std::int64_t elements = 0;
  for (const Shape& map : maps_) {
    elements += map.elements();
  }
  return static_cast<std::int64_t>(kHashDigits +
                                   sizeof(float) * static_cast<std::size_t>(elements));
}

std::vector<Tensor> MapCache::get(Context& context, const Tensor& images) {
  const std::int64_t n = images.shape()[0];
  std::vector<Tensor> all;
  all.reserve(maps_.size());
  for (const Shape& map : maps_) {
    all.push_back(Tensor::empty(context.device, batch_shape(n, map)));
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const Tensor image = one_of(images, i);
    const std::string key = key_of(context, image);
    std::optional<io::Bytes> file = read(key);
    if (!file) {
      file = make(context, key, image);
      keep_if_possible(key, *file);
    }
    const std::uint8_t* at = file->data.get() + kHashDigits;
    for (const Tensor& map : all) {
      const Tensor own = one_of(map, i);
      context.device.to_device(context.queue, at, own.data(), own.bytes());
      at += own.bytes();
    }
  }
  return all;
}

void MapCache::keep(Context& context, const Tensor& image) {
  const std::string key = key_of(context, image);
  std::optional<io::Bytes> file = read(key);
  if (!file) {
    file = make(context, key, image);
  }
  write(key, *file);
}

std::string MapCache::key_of(Context& context, const Tensor& image) const {
  const std::string text = fmt::format("{}, of {}\n", identity_, image.shape().str());
  const std::vector<float> values = copy_to_host<float>(context.device, context.queue, image);
  io::Sha256 hash;
  hash.update(text.data(), text.size());
  hash.update(values.data(), values.size() * sizeof(float));
  return hash.finish();
}

/// The file of a key if it is there and whole.
std::optional<io::Bytes> MapCache::read(const std::string& key) const {
  const std::optional<fs::path> path = cache_.find(key);
  if (!path) {
    return std::nullopt;
  }
  try {
    io::Bytes file = io::read_file(*path);
    if (static_cast<std::int64_t>(file.size) == bytes_of_image() &&
        std::memcmp(digits_of(key, file).data(), file.data.get(), kHashDigits) == 0) {
      return file;
    }
    warn(path->string() + ": is damaged, or not the maps of its image: they are");
  } catch (const IoError& error) {
    warn(fmt::format("{}: the maps are", error.what()));
  }
  return std::nullopt;
}

/// Where nothing can be mended any more nothing more is said.
void MapCache::warn(const std::string& what) const {
  if (keeps_) {
    spdlog::warn("{} computed anew", what);
  }
}

/// The content of an image's file.
io::Bytes MapCache::make(Context& context, const std::string& key, const Tensor& image) {
  ++computed_;
  const std::vector<Tensor> maps = compute_(context, image);
  io::Bytes file = io::make_bytes(static_cast<std::size_t>(bytes_of_image()));
  std::uint8_t* at = file.data.get() + kHashDigits;
  for (std::size_t i = 0; i < maps_.size(); ++i) {
    const Tensor& map = maps.at(i);
    if (map.shape() != batch_shape(1, maps_[i])) {
      throw ShapeError(fmt::format("map {} to keep is {} but {} was expected", i + 1,
                                   map.shape().str(), batch_shape(1, maps_[i]).str()));
    }
    context.device.to_host(context.queue, map.data(), at, map.bytes());
    at += map.bytes();
  }
  std::memcpy(file.data.get(), digits_of(key, file).data(), kHashDigits);
  return file;
}

void MapCache::write(const std::string& key, const io::Bytes& file) const {
  cache_.put(key, [&](const fs::path& path) {
    io::PosixFile(path, O_WRONLY | O_CREAT | O_TRUNC, 0666).write(file.data.get(), file.size);
  });
}

void MapCache::keep_if_possible(const std::string& key, const io::Bytes& file) {
  if (!keeps_) {
    return;
  }
  try {
    write(key, file);
  } catch (const IoError& error) {
    if (keeps_.exchange(false)) {
      spdlog::warn("content.cache: from here on this rank keeps no more maps: {}", error.what());
    }
  }
}

bool begins_as_maps(const fs::path& file) {
  std::array<char, kHashDigits> digits{};
  std::ifstream stream(file, std::ios::binary);
  return stream.read(digits.data(), digits.size()) && io::is_hex({digits.data(), digits.size()});
}

std::optional<Dependence> find_dependence(Context& context, const Tensor& images,
                                          std::int64_t among, std::span<const std::int64_t> sizes,
                                          const MapCache::Compute& compute) {
  std::array<std::vector<Values>, 2> own;  // by image and map
  for (std::size_t i = 0; i < own.size(); ++i) {
    const Tensor one = one_of(images, static_cast<std::int64_t>(i));
    for (const Tensor& map : compute(context, copies(context, one, among))) {
      own[i].push_back(copy_to_host<float>(context.device, context.queue, one_of(map, 0)));
    }
  }
  for (const std::int64_t n : sizes) {
    const std::vector<Tensor> together = compute(context, in_turn(context, images, n));
    for (std::size_t m = 0; m < together.size(); ++m) {
      if (!is_that_of(context, together[m], own[0].at(m), own[1].at(m))) {
        return Dependence{m, n};
      }
    }
  }
  return std::nullopt;
}

void check_images_are_independent(Context& context, const Tensor& images,
                                  std::span<const std::int64_t> sizes,
                                  const MapCache::Compute& compute, const std::string& what) {
  if (const auto found = find_dependence(context, images, 1, sizes, compute)) {
    throw JobError(fmt::format(
        "{}: map {} of an image among {} differs in bits from that of the image alone, so "
        "that kept maps would change the result; set it to false",
        what, found->map + 1, found->images));
  }
}

}  // namespace gentrain::trainers
