// The skeletons of the built-in digits: how a hand draws each, in a few ways.
#pragma once

#include <vector>

namespace gentrain::data {

/// A point of the unit square, x to the right, y down.
struct GlyphPoint {
  float x = 0;
  float y = 0;
};

/// Connected straight pieces, drawn without lifting the pen.
using GlyphStroke = std::vector<GlyphPoint>;
using Glyph = std::vector<GlyphStroke>;

/// The ways to draw a digit, 0 <= digit <= 9; curves are cut into short straight pieces. At least
/// one.
const std::vector<Glyph>& digit_glyphs(int digit);

}  // namespace gentrain::data
