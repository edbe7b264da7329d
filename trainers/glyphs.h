// Small letters for pictures: capitals, digits and a few signs of 5 x 7 pixels.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "core/image/image.h"

namespace gentrain::trainers {

inline constexpr std::int64_t kGlyphHeight = 7;
/// From one letter to the next.
inline constexpr std::int64_t kGlyphAdvance = 6;

/// Columns that a text takes.
constexpr std::int64_t text_width(std::string_view text) {
  return text.empty() ? 0 : static_cast<std::int64_t>(text.size()) * kGlyphAdvance - 1;
}

/// A colour, RGB.
using Colour = std::array<std::uint8_t, 3>;

/// Draws a text into an RGB image, its upper left corner at (x, y); what lies outside is left out.
/// Small letters are drawn as capitals, each byte of an unknown sign as a box.
void draw_text(image::Image& image, std::int64_t x, std::int64_t y, std::string_view text,
               const Colour& colour);

}  // namespace gentrain::trainers
