// What the first bytes of an image file say, read without decoding it: format and extents, and
// whether the file is all there.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace gentrain::image {

enum class Format : std::uint8_t { kJpeg, kPng, kBmp, kWebp };

struct ImageInfo {
  Format format = Format::kJpeg;
  std::int64_t h = 0;  // as stored, before EXIF's orientation
  std::int64_t w = 0;
};

/// Looks at a whole file, which `name` names in messages. Time grows with its bytes, never with the
/// extents that it claims.
///
/// Throws IoError: empty, of none of these formats, truncated (a JPEG must have its end marker),
/// without pixels, or a kind that is not read: JPEG in CMYK or with more than 8 bits, an animation.
/// Source: ITU-T T.81 annex B; ISO/IEC 15948; RFC 9649.
ImageInfo inspect(std::span<const std::uint8_t> file, const std::string& name);

}  // namespace gentrain::image
