// What the bytes of an image file say without decoding it: its extents, and whether it is all
// there.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace gentrain::image {

struct ImageInfo {
  std::int64_t h = 0;  // as stored, before EXIF's orientation
  std::int64_t w = 0;
};

/// Looks at a whole file, which `name` names in messages. Time grows with its bytes, never with the
/// extents that it claims.
///
/// Throws IoError: empty, no JPEG, PNG, BMP or WebP, truncated (a JPEG must have its end marker),
/// damaged (as a JPEG of two frames), without pixels, or a kind that is not read: JPEG in CMYK or
/// with more than 8 bits, an animation.
/// Source: ITU-T T.81 annex B; ISO/IEC 15948 and its extension APNG; RFC 9649.
ImageInfo inspect(std::span<const std::uint8_t> file, const std::string& name);

}  // namespace gentrain::image
