// PNG files too large for memory, written a few rows at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>

namespace gentrain::image {

/// Rows and columns of an image that is written: more than this few programs read.
inline constexpr std::int64_t kMostExtent = std::int64_t{1} << 20;

/// A PNG file of RGB pixels, written from the top down. It appears whole, at finish(), or not at
/// all; the bytes are those of the same pixels however the rows came. Errors of the file are
/// IoErrors that name it.
class PngWriter {
 public:
  /// An image of h x w pixels. Throws ShapeError for extents below 1 or above kMostExtent.
  PngWriter(const std::filesystem::path& path, std::int64_t h, std::int64_t w);
  ~PngWriter();
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  /// The next rows, [any, w, 3]. Throws ShapeError for a part of a row, or more rows than h.
  void write(std::span<const std::uint8_t> rows);
  /// The last call. Throws ShapeError if rows are missing. `before_rename` as of
  /// io::write_file_atomically.
  void finish(const std::function<void()>& before_rename = {});

 private:
  class Encoder;
  std::unique_ptr<Encoder> encoder_;
};

}  // namespace gentrain::image
