// Skeletons as texts: strokes that pass points in hundredths of the unit square, straight (L) or as
// a Catmull-Rom curve (C). Strokes that meet share a point, so that smooth distortions keep them
// joined.
#include "core/data/digit_glyphs.h"

#include <array>
#include <cctype>
#include <locale>
#include <sstream>
#include <string>
#include <string_view>

namespace gentrain::data {
namespace {

constexpr int kPiecesPerSpan = 4;
// Per digit its ways to be drawn.
constexpr std::array<std::array<std::string_view, 3>, 10> kSkeletons = {{
    // 0: an ellipse; a slim one that closes with an overlap; a wide one
    {"C 50,0 24,12 10,40 12,72 32,96 62,97 86,75 90,42 76,12 50,0",
     "C 62,6 38,6 24,35 24,70 42,97 64,86 76,55 72,22 56,3 42,12",
     "C 45,10 12,28 4,60 28,90 65,92 95,66 90,30 66,10 38,12"},
    // 1: a bar; with a flag; with flag and foot
    {"L 50,0 50,100", "L 28,24 54,0 52,100", "L 30,20 52,0 52,97 L 26,98 80,96"},
    // 2: with a flat foot; with a loop in the foot; with a wave
    {"C 14,26 26,7 50,0 75,9 80,30 64,56 38,79 12,97 L 12,97 88,94",
     "C 20,20 40,2 70,7 78,30 60,62 34,90 16,96 10,84 24,76 50,88 74,97 94,88",
     "C 16,12 44,0 76,12 74,40 46,68 14,92 C 14,92 36,86 64,97 90,90"},
    // 3: two bows; with a flat top; drawn with a small loop in the middle
    {"C 18,14 44,0 74,10 74,34 42,47 C 42,47 76,57 85,79 62,97 32,98 10,84",
     "L 16,4 80,2 44,40 C 44,40 76,48 85,72 64,95 36,98 12,86",
     "C 22,8 56,0 76,18 60,40 36,50 40,42 62,50 80,70 66,93 38,100 14,90"},
    // 4: open; closed; with a round arm
    {"L 22,3 15,55 88,50 L 74,6 66,100", "L 66,0 10,64 94,62 L 66,0 64,100",
     "C 20,4 14,34 26,55 54,52 76,40 C 80,2 74,50 62,100"},
    // 5: with a cap; in one curve; with a long cap
    {"L 80,3 28,5 22,44 C 22,44 50,36 80,48 86,74 62,96 32,98 10,86",
     "C 82,4 52,4 30,14 28,36 54,46 76,62 72,86 46,98 14,90",
     "L 32,6 28,46 L 32,6 94,0 C 28,46 60,46 74,68 58,92 20,98"},
    // 6: round; slim; with a bent top
    {"C 70,2 40,20 20,50 18,78 40,98 70,92 80,70 62,53 36,58 20,76",
     "C 52,0 30,30 18,66 28,93 56,98 78,82 70,62 46,58 22,74",
     "C 84,16 64,2 36,14 18,46 20,80 46,98 78,86 78,60 50,50 22,66"},
    // 7: plain; with a bar; with a hook
    {"L 12,7 85,5 C 85,5 60,46 44,100", "L 12,6 84,6 42,100 L 32,52 80,48",
     "C 10,24 16,8 50,8 86,4 C 86,4 70,50 64,100"},
    // 8: in one stroke; two circles; with an open top
    {"C 74,14 50,0 25,14 34,37 65,56 80,78 52,99 20,82 34,56 64,38 74,14",
     "C 50,0 25,10 25,35 50,46 75,35 75,10 50,0 C 50,46 20,60 16,86 50,100 84,86 80,60 50,46",
     "C 84,10 52,2 28,16 38,42 66,62 68,88 40,98 20,80 42,52 76,26 88,4"},
    // 9: with a straight tail; with a bent one; with an open, angular head
    {"C 78,16 54,2 26,14 20,38 44,52 70,38 78,16 C 78,16 76,58 68,100",
     "C 80,22 55,2 22,16 28,44 60,44 80,22 C 80,22 82,56 64,90 28,98",
     "C 70,4 34,8 18,34 42,48 76,30 L 82,0 62,100"},
}};

// One coordinate of a Catmull-Rom span from b to c, 0 <= t <= 1.
float curve(float a, float b, float c, float d, float t) {
  return b + 0.5F * t * ((c - a) + t * ((2 * a - 5 * b + 4 * c - d) + t * (3 * (b - c) + (d - a))));
}

GlyphStroke through(const GlyphStroke& p) {
  GlyphStroke stroke{p.front()};
  for (std::size_t i = 0; i + 1 < p.size(); ++i) {
    const GlyphPoint& a = p[i == 0 ? 0 : i - 1];
    const GlyphPoint& d = p[i + 2 < p.size() ? i + 2 : i + 1];
    for (int piece = 1; piece <= kPiecesPerSpan; ++piece) {
      const float t = static_cast<float>(piece) / kPiecesPerSpan;
      stroke.push_back(
          {curve(a.x, p[i].x, p[i + 1].x, d.x, t), curve(a.y, p[i].y, p[i + 1].y, d.y, t)});
    }
  }
  return stroke;
}

Glyph parse(std::string_view text) {
  Glyph glyph;
  std::istringstream in{std::string(text)};
  in.imbue(std::locale::classic());
  for (char kind = 0; in >> kind;) {
    GlyphStroke points;
    float x = 0;
    float y = 0;
    for (char comma = 0; in >> std::ws && std::isdigit(in.peek()) != 0 && in >> x >> comma >> y;) {
      points.push_back({x / 100, y / 100});
    }
    in.clear(in.rdstate() & ~std::ios::failbit);
    glyph.push_back(kind == 'C' ? through(points) : points);
  }
  return glyph;
}

std::array<std::vector<Glyph>, 10> parse_all() {
  std::array<std::vector<Glyph>, 10> glyphs;
  for (std::size_t digit = 0; digit < kSkeletons.size(); ++digit) {
    for (const std::string_view text : kSkeletons[digit]) {
      glyphs[digit].push_back(parse(text));
    }
  }
  return glyphs;
}

}  // namespace

const std::vector<Glyph>& digit_glyphs(int digit) {
  static const std::array<std::vector<Glyph>, 10> glyphs = parse_all();
  return glyphs[static_cast<std::size_t>(digit)];
}

}  // namespace gentrain::data
