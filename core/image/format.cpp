// Each format's walk stops at the end of the image: what follows it is nobody's business.
#include "core/image/format.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain::image {
namespace {

using Bytes = std::span<const std::uint8_t>;

/// A file with its name; what lies behind its end is an error.
class File {
 public:
  File(Bytes bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] Bytes bytes() const { return bytes_; }
  [[nodiscard]] bool has(std::size_t at, std::string_view text) const {
    return at + text.size() <= bytes_.size() &&
           std::equal(text.begin(), text.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at),
                      [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
  }
  /// A number of `bytes` bytes.
  [[nodiscard]] std::uint32_t big(std::size_t at, int bytes) const {
    require(at + static_cast<std::size_t>(bytes));
    std::uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) {
      value = value << 8U | bytes_[at + static_cast<std::size_t>(i)];
    }
    return value;
  }
  [[nodiscard]] std::uint32_t little(std::size_t at, int bytes) const {
    require(at + static_cast<std::size_t>(bytes));
    std::uint32_t value = 0;
    for (int i = bytes - 1; i >= 0; --i) {
      value = value << 8U | bytes_[at + static_cast<std::size_t>(i)];
    }
    return value;
  }
  void require(std::uint64_t bytes) const {
    if (bytes > bytes_.size()) {
      throw IoError(fmt::format("{} is truncated: {} bytes, at least {} are needed", name_,
                                bytes_.size(), bytes));
    }
  }
  [[noreturn]] void fail(const std::string& reason) const {
    throw IoError(fmt::format("{} {}", name_, reason));
  }

 private:
  Bytes bytes_;
  const std::string& name_;
};

// ---- JPEG: segments up to a scan, its bytes up to the next marker, and so on to the end marker --

constexpr std::uint32_t kStartOfScan = 0xDA;
constexpr std::uint32_t kEndOfImage = 0xD9;

bool is_frame(std::uint32_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}
bool stands_alone(std::uint32_t marker) {
  return (marker >= 0xD0 && marker <= 0xD7) || marker == 0x01;
}

/// Extents out of a frame's segment, whose length stands at `at`.
ImageInfo parse_frame(const File& file, std::size_t at) {
  const std::uint32_t precision = file.big(at + 2, 1);
  if (precision != 8) {
    file.fail(fmt::format("is a JPEG of {} bits a value; 8 are read", precision));
  }
  if (file.big(at + 7, 1) == 4) {
    file.fail("is a JPEG in CMYK; grey and RGB are read: convert it");
  }
  return {file.big(at + 3, 2), file.big(at + 5, 2)};
}

/// Where the marker behind a scan's bytes begins.
std::size_t end_of_scan(const File& file, std::size_t at) {
  const Bytes bytes = file.bytes();
  while (true) {
    const auto found =
        std::find(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(), 0xFF);
    at = static_cast<std::size_t>(found - bytes.begin());
    if (at + 1 >= bytes.size()) {
      file.fail(fmt::format("is truncated: {} bytes without a JPEG's end marker", bytes.size()));
    }
    const std::uint8_t next = bytes[at + 1];
    if (next != 0 && next != 0xFF && !stands_alone(next)) {
      return at;
    }
    at += next == 0xFF ? 1 : 2;
  }
}

ImageInfo inspect_jpeg(const File& file) {
  std::optional<ImageInfo> info;
  std::size_t at = 2;
  while (true) {
    if (file.big(at, 1) != 0xFF || file.big(at + 1, 1) == 0) {
      file.fail(fmt::format("is a damaged JPEG: no marker at byte {}", at));
    }
    const std::uint32_t marker = file.big(at + 1, 1);
    if (marker == 0xFF || stands_alone(marker)) {
      at += marker == 0xFF ? 1 : 2;
      continue;
    }
    if (marker == kEndOfImage) {
      return info.value_or(ImageInfo{});
    }
    const std::size_t length = file.big(at + 2, 2);
    if (is_frame(marker)) {
      if (info) {
        file.fail("is a damaged JPEG: it has two frames");
      }
      info = parse_frame(file, at + 2);
    }
    at += 2 + length;
    file.require(at);
    if (marker == kStartOfScan) {
      at = end_of_scan(file, at);
    }
  }
}

// ---- the others -------------------------------------------------------------------------------

[[noreturn]] void fail_animation(const File& file) {
  file.fail("is an animation; single images are read");
}

ImageInfo inspect_png(const File& file) {
  constexpr std::size_t kChunkFrame = 12;  // length, name and sum around the content
  if (!file.has(12, "IHDR")) {
    file.require(16);
    file.fail("is a damaged PNG: it does not begin with IHDR");
  }
  const ImageInfo info{file.big(20, 4), file.big(16, 4)};
  for (std::size_t at = 8;;) {
    const std::size_t length = file.big(at, 4);
    file.require(at + kChunkFrame + length);
    if (file.has(at + 4, "acTL")) {
      fail_animation(file);
    }
    if (file.has(at + 4, "IEND")) {
      return info;
    }
    at += kChunkFrame + length;
  }
}

ImageInfo inspect_bmp(const File& file) {
  constexpr std::uint32_t kCoreHeader = 12;
  constexpr std::uint32_t kRle8 = 1;
  constexpr std::uint32_t kRle4 = 2;
  if (file.little(14, 4) == kCoreHeader) {
    return {file.little(20, 2), file.little(18, 2)};
  }
  // A negative height stands for rows from the top.
  const auto w = static_cast<std::int32_t>(file.little(18, 4));
  const auto h = static_cast<std::int32_t>(file.little(22, 4));
  const ImageInfo info{std::abs(static_cast<std::int64_t>(h)), w};
  const std::uint32_t compression = file.little(30, 4);
  if (compression != kRle8 && compression != kRle4 && w > 0) {
    const std::uint64_t bits = file.little(28, 2);
    const std::uint64_t row = (static_cast<std::uint64_t>(w) * bits + 31) / 32 * 4;
    file.require(file.little(10, 4) + row * static_cast<std::uint64_t>(info.h));
  }
  return info;
}

ImageInfo inspect_webp(const File& file) {
  constexpr std::uint32_t kAnimation = 0x02;
  file.require(std::uint64_t{file.little(4, 4)} + 8);
  if (file.has(12, "VP8 ")) {
    return {file.little(28, 2) & 0x3FFFU, file.little(26, 2) & 0x3FFFU};
  }
  if (file.has(12, "VP8L")) {
    const std::uint32_t bits = file.little(21, 4);
    return {(bits >> 14U & 0x3FFFU) + 1, (bits & 0x3FFFU) + 1};
  }
  if (!file.has(12, "VP8X")) {
    file.require(16);
    file.fail("is a damaged WebP: its first chunk is unknown");
  }
  if ((file.little(20, 1) & kAnimation) != 0) {
    fail_animation(file);
  }
  return {file.little(27, 3) + std::int64_t{1}, file.little(24, 3) + std::int64_t{1}};
}

ImageInfo inspect_any(const File& file) {
  if (file.size() == 0) {
    file.fail("is empty");
  }
  if (file.has(0, "\xFF\xD8\xFF")) {
    return inspect_jpeg(file);
  }
  if (file.has(0, "\x89PNG\r\n\x1A\n")) {
    return inspect_png(file);
  }
  if (file.has(0, "BM")) {
    return inspect_bmp(file);
  }
  if (file.has(0, "RIFF") && file.has(8, "WEBP")) {
    return inspect_webp(file);
  }
  const Bytes first = file.bytes().first(std::min<std::size_t>(file.size(), 8));
  file.fail(
      fmt::format("is no image: JPEG, PNG, BMP and WebP are read, it begins with the bytes {:02x}",
                  fmt::join(first, " ")));
}

}  // namespace

ImageInfo inspect(std::span<const std::uint8_t> file, const std::string& name) {
  const File whole(file, name);
  const ImageInfo info = inspect_any(whole);
  if (info.h < 1 || info.w < 1) {
    whole.fail(fmt::format("has no pixels: {} x {}", info.h, info.w));
  }
  return info;
}

}  // namespace gentrain::image
