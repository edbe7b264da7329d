// Images, and the library that decodes, encodes and resizes them. OpenCV does the work, in a module
// that is loaded when it is first asked for: its many libraries cost a start 0.15 s and 60 MiB.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace gentrain::image {

/// Rows of pixels from the top, [h, w, c]: RGB (c = 3) or grey (c = 1).
struct Image {
  std::int64_t h = 0;
  std::int64_t w = 0;
  std::int64_t c = 0;
  std::vector<std::uint8_t> pixels;  // h * w * c
};

/// kArea averages what falls into a pixel (to shrink); the others interpolate between neighbours.
enum class Interpolation : std::uint8_t { kArea, kBilinear, kBicubic };

/// Pixels [y, y + h) x [x, x + w) of an image.
struct Rectangle {
  std::int64_t x = 0;
  std::int64_t y = 0;
  std::int64_t w = 0;
  std::int64_t h = 0;
};

/// The pixels of a part, which must lie inside the image.
Image cut_out(const Image& image, const Rectangle& part);

/// Decoded images of more pixels than this are refused before anything is decoded.
inline constexpr std::int64_t kMostPixels = std::int64_t{1} << 27;

struct DecodeOptions {
  int channels = 3;                       // 3: RGB; 1: grey, 0.299 R + 0.587 G + 0.114 B
  std::int64_t max_pixels = kMostPixels;  // h * w; at most 2^30
};

/// What the module does. Each call runs on the thread that makes it, and gives the same bytes
/// whatever else runs. Thread-safe. All throw ShapeError for an image whose extents do not fit its
/// pixels, or that has neither one channel nor three.
class ImageLibrary {
 public:
  virtual ~ImageLibrary() = default;

  /// The pixels of a file that inspect() has passed; see decode_image(). Throws IoError naming it:
  /// damaged.
  [[nodiscard]] virtual Image decode(std::span<const std::uint8_t> file, const std::string& name,
                                     int channels) const = 0;
  /// The bytes of a PNG file.
  [[nodiscard]] virtual std::vector<std::uint8_t> encode_png(const Image& image) const = 0;
  /// The same image with h x w pixels. Throws ShapeError if one of them is below 1.
  [[nodiscard]] virtual Image resize(const Image& image, std::int64_t h, std::int64_t w,
                                     Interpolation interpolation) const = 0;
  /// 1 channel: grey as in DecodeOptions; 3: the grey values three times. Throws ShapeError for
  /// another number.
  [[nodiscard]] virtual Image with_channels(const Image& image, int channels) const = 0;
  /// Faces that look into the camera, at least 30 x 30 pixels, from the top down. Throws IoError if
  /// the cascade's file cannot be read. Source: Viola and Jones 2001; the Haar cascade
  /// haarcascade_frontalface_default of OpenCV.
  [[nodiscard]] virtual std::vector<Rectangle> detect_frontal_faces(const Image& image) const = 0;
  /// What the bytes depend on beside the arguments: "OpenCV 4.6.0".
  [[nodiscard]] virtual std::string version() const = 0;
};

/// The module, loaded by the first call. Throws DeviceError that says where it was looked for:
/// beside the program and in ../lib/gentrain.
const ImageLibrary& image_library();

/// The pixels of a JPEG, PNG, BMP or WebP file, which `name` names in messages. EXIF's orientation
/// is applied; palettes are resolved; transparency is dropped, the colours below it count; of 16
/// bits the upper 8 are taken.
///
/// Throws IoError: whatever inspect() throws, more than options.max_pixels, damaged. Throws
/// ShapeError unless options.channels is 1 or 3.
Image decode_image(std::span<const std::uint8_t> file, const std::string& name,
                   const DecodeOptions& options = {});
/// The same of a file on disk. Throws IoError too if it cannot be read.
Image read_image(const std::filesystem::path& path, const DecodeOptions& options = {});

/// Writes a PNG file, atomically. Throws IoError naming it. before_rename: as
/// io::write_file_atomically() has it.
void write_png(const std::filesystem::path& path, const Image& image,
               const std::function<void()>& before_rename = {});

}  // namespace gentrain::image
