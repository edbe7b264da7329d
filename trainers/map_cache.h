// Maps that a network has of images, kept as files of the data cache: computed by whichever rank of
// whichever run needs them first, read by all others. They are found by the image's own values, so
// that it makes no difference where an image comes from.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/io/cache.h"
#include "core/io/posix_file.h"

namespace gentrain::trainers {

/// Thread-safe. A file is 64 hex digits, the SHA-256 of its key and of what follows: the maps'
/// elements, f32, one map after another.
class MapCache {
 public:
  /// The maps of images [n, h, w, c]: one tensor [n, ...] of f32 for each map.
  using Compute = std::function<std::vector<Tensor>(Context& context, const Tensor& images)>;

  /// identity  all that the maps depend on beside the image
  /// maps      their shapes for one image, without its 1
  MapCache(const std::filesystem::path& folder, std::string identity, std::vector<Shape> maps,
           Compute compute);

  /// What `compute` gives for each of the images [n, h, w, c] alone. A file that is damaged, or no
  /// such file, is made anew, with a warning in the log. Where one cannot be kept a warning says
  /// so, and nothing more is kept. Waits for nobody who writes the same file. Throws ShapeError if
  /// `compute` gives maps of other shapes.
  std::vector<Tensor> get(Context& context, const Tensor& images);
  /// Writes the maps of an image [1, h, w, c], even if they are kept: shows whether that can be
  /// done. Throws as get(), and IoError naming the folder or file if that fails.
  void keep(Context& context, const Tensor& image);

  /// Of the file of an image.
  [[nodiscard]] std::int64_t bytes_of_image() const;
  /// Images whose maps were computed here.
  [[nodiscard]] std::int64_t computed() const { return computed_; }

 private:
  std::string key_of(Context& context, const Tensor& image) const;
  [[nodiscard]] std::optional<io::Bytes> read(const std::string& key) const;
  void warn(const std::string& what) const;
  io::Bytes make(Context& context, const std::string& key, const Tensor& image);
  void write(const std::string& key, const io::Bytes& file) const;
  void keep_if_possible(const std::string& key, const io::Bytes& file);

  io::Cache cache_;
  std::string identity_;
  std::vector<Shape> maps_;
  Compute compute_;
  std::atomic<bool> keeps_{true};
  std::atomic<std::int64_t> computed_{0};
};

/// Whether a file of the cache holds maps: it begins with the digits of a hash.
bool begins_as_maps(const std::filesystem::path& file);

/// An image whose maps have other bits among some images than where they are to be as.
struct Dependence {
  std::size_t map = 0;      // the first that differs, from 0
  std::int64_t images = 0;  // among so many
};
/// Kernels choose their algorithms by shape, so that an image might have other bits among others.
/// The first of `sizes` at which one has other maps than among `among` copies of itself; none if
/// all are alike.
///
/// images  as for check_images_are_independent()
std::optional<Dependence> find_dependence(Context& context, const Tensor& images,
                                          std::int64_t among, std::span<const std::int64_t> sizes,
                                          const MapCache::Compute& compute);

/// Throws JobError naming `what`, the map and n unless each of n images has the maps
/// that `compute` gives it alone, for each n of `sizes`; see find_dependence().
///
/// images  [2, h, w, c], different ones, which are repeated in turn
void check_images_are_independent(Context& context, const Tensor& images,
                                  std::span<const std::int64_t> sizes,
                                  const MapCache::Compute& compute, const std::string& what);

}  // namespace gentrain::trainers
