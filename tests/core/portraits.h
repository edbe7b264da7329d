// Photographs of faces for tests: faces that the program draws, in a frame of one grey.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/data/faces.h"
#include "core/image/image.h"

namespace gentrain::image {

/// A frame of one grey, [h, w, 3].
inline Image empty_frame(std::int64_t h, std::int64_t w, std::uint8_t grey = 128) {
  return {h, w, 3, std::vector<std::uint8_t>(static_cast<std::size_t>(h * w * 3), grey)};
}

/// Puts an image into a frame, its first row at y and its first column at x.
inline void put_into(Image& frame, const Image& part, std::int64_t y, std::int64_t x) {
  for (std::int64_t row = 0; row < part.h; ++row) {
    std::copy_n(part.pixels.begin() + row * part.w * 3, part.w * 3,
                frame.pixels.begin() + ((y + row) * frame.w + x) * 3);
  }
}

/// Drawn faces that the detector takes for one face each when they stand in a grey frame, scaled to
/// kPortraitSide; `count` of them at most, in a fixed order.
inline constexpr std::int64_t kPortraitSide = 120;
inline std::vector<Image> drawn_portraits(std::size_t count) {
  constexpr std::int64_t kDrawn = 100;
  const data::DataPair drawn = data::make_faces(1, kDrawn, 1);
  std::vector<Image> portraits;
  for (std::int64_t i = 0; i < kDrawn && portraits.size() < count; ++i) {
    Image face{data::kFaceSide, data::kFaceSide, 3, {}};
    face.pixels.resize(static_cast<std::size_t>(face.h * face.w * 3));
    drawn.train->read(i, face.pixels.data());
    face = image_library().resize(face, kPortraitSide, kPortraitSide, Interpolation::kBicubic);
    Image frame = empty_frame(2 * kPortraitSide, 2 * kPortraitSide);
    put_into(frame, face, kPortraitSide / 2, kPortraitSide / 2);
    if (image_library().detect_frontal_faces(frame).size() == 1) {
      portraits.push_back(face);
    }
  }
  return portraits;
}

/// A face in the middle of a frame of twice its side.
inline Image portrait(const Image& face) {
  Image frame = empty_frame(2 * face.h, 2 * face.w);
  put_into(frame, face, face.h / 2, face.w / 2);
  return frame;
}

}  // namespace gentrain::image
