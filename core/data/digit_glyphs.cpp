// Skeletons as points that a stroke passes: through them straight (L) or as a Catmull-Rom curve
// (C). Strokes that meet share a point, so that smooth distortions keep them joined.
#include "core/data/digit_glyphs.h"

#include <array>

namespace gentrain::data {
namespace {

constexpr int kPiecesPerSpan = 4;
constexpr bool C = true;
constexpr bool L = false;

struct Path {
  bool curved;
  std::vector<GlyphPoint> points;
};
using Variant = std::vector<Path>;
using Table = std::array<std::vector<Variant>, 10>;

// One coordinate of a Catmull-Rom span from b to c, 0 <= t <= 1.
float curve(float a, float b, float c, float d, float t) {
  return b + 0.5F * t * ((c - a) + t * ((2 * a - 5 * b + 4 * c - d) + t * (3 * (b - c) + (d - a))));
}

GlyphStroke flatten(const Path& path) {
  if (!path.curved) {
    return path.points;
  }
  const std::vector<GlyphPoint>& p = path.points;
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

Table skeletons() {
  return {{
      // 0: an ellipse; a slim one that closes with an overlap; a wide one
      {{{C,
         {{.5F, .0F},
          {.24F, .12F},
          {.1F, .4F},
          {.12F, .72F},
          {.32F, .96F},
          {.62F, .97F},
          {.86F, .75F},
          {.9F, .42F},
          {.76F, .12F},
          {.5F, .0F}}}},
       {{C,
         {{.62F, .06F},
          {.38F, .06F},
          {.24F, .35F},
          {.24F, .7F},
          {.42F, .97F},
          {.64F, .86F},
          {.76F, .55F},
          {.72F, .22F},
          {.56F, .03F},
          {.42F, .12F}}}},
       {{C,
         {{.45F, .1F},
          {.12F, .28F},
          {.04F, .6F},
          {.28F, .9F},
          {.65F, .92F},
          {.95F, .66F},
          {.9F, .3F},
          {.66F, .1F},
          {.38F, .12F}}}}},
      // 1: a bar; with a flag; with flag and foot
      {{{L, {{.5F, .0F}, {.5F, 1.F}}}},
       {{L, {{.28F, .24F}, {.54F, .0F}, {.52F, 1.F}}}},
       {{L, {{.3F, .2F}, {.52F, .0F}, {.52F, .97F}}}, {L, {{.26F, .98F}, {.8F, .96F}}}}},
      // 2: with a flat foot; with a loop in the foot; with a wave
      {{{C,
         {{.14F, .26F},
          {.26F, .07F},
          {.5F, .0F},
          {.75F, .09F},
          {.8F, .3F},
          {.64F, .56F},
          {.38F, .79F},
          {.12F, .97F}}},
        {L, {{.12F, .97F}, {.88F, .94F}}}},
       {{C,
         {{.2F, .2F},
          {.4F, .02F},
          {.7F, .07F},
          {.78F, .3F},
          {.6F, .62F},
          {.34F, .9F},
          {.16F, .96F},
          {.1F, .84F},
          {.24F, .76F},
          {.5F, .88F},
          {.74F, .97F},
          {.94F, .88F}}}},
       {{C, {{.16F, .12F}, {.44F, .0F}, {.76F, .12F}, {.74F, .4F}, {.46F, .68F}, {.14F, .92F}}},
        {C, {{.14F, .92F}, {.36F, .86F}, {.64F, .97F}, {.9F, .9F}}}}},
      // 3: two bows; with a flat top; drawn with a small loop in the middle
      {{{C, {{.18F, .14F}, {.44F, .0F}, {.74F, .1F}, {.74F, .34F}, {.42F, .47F}}},
        {C, {{.42F, .47F}, {.76F, .57F}, {.85F, .79F}, {.62F, .97F}, {.32F, .98F}, {.1F, .84F}}}},
       {{L, {{.16F, .04F}, {.8F, .02F}, {.44F, .4F}}},
        {C, {{.44F, .4F}, {.76F, .48F}, {.85F, .72F}, {.64F, .95F}, {.36F, .98F}, {.12F, .86F}}}},
       {{C,
         {{.22F, .08F},
          {.56F, .0F},
          {.76F, .18F},
          {.6F, .4F},
          {.36F, .5F},
          {.4F, .42F},
          {.62F, .5F},
          {.8F, .7F},
          {.66F, .93F},
          {.38F, 1.F},
          {.14F, .9F}}}}},
      // 4: open; closed; with a round arm
      {{{L, {{.22F, .03F}, {.15F, .55F}, {.88F, .5F}}}, {L, {{.74F, .06F}, {.66F, 1.F}}}},
       {{L, {{.66F, .0F}, {.1F, .64F}, {.94F, .62F}}}, {L, {{.66F, .0F}, {.64F, 1.F}}}},
       {{C, {{.2F, .04F}, {.14F, .34F}, {.26F, .55F}, {.54F, .52F}, {.76F, .4F}}},
        {C, {{.8F, .02F}, {.74F, .5F}, {.62F, 1.F}}}}},
      // 5: with a cap; in one curve; with a long cap
      {{{L, {{.8F, .03F}, {.28F, .05F}, {.22F, .44F}}},
        {C,
         {{.22F, .44F},
          {.5F, .36F},
          {.8F, .48F},
          {.86F, .74F},
          {.62F, .96F},
          {.32F, .98F},
          {.1F, .86F}}}},
       {{C,
         {{.82F, .04F},
          {.52F, .04F},
          {.3F, .14F},
          {.28F, .36F},
          {.54F, .46F},
          {.76F, .62F},
          {.72F, .86F},
          {.46F, .98F},
          {.14F, .9F}}}},
       {{L, {{.32F, .06F}, {.28F, .46F}}},
        {L, {{.32F, .06F}, {.94F, .0F}}},
        {C, {{.28F, .46F}, {.6F, .46F}, {.74F, .68F}, {.58F, .92F}, {.2F, .98F}}}}},
      // 6: round; slim; with a bent top
      {{{C,
         {{.7F, .02F},
          {.4F, .2F},
          {.2F, .5F},
          {.18F, .78F},
          {.4F, .98F},
          {.7F, .92F},
          {.8F, .7F},
          {.62F, .53F},
          {.36F, .58F},
          {.2F, .76F}}}},
       {{C,
         {{.52F, .0F},
          {.3F, .3F},
          {.18F, .66F},
          {.28F, .93F},
          {.56F, .98F},
          {.78F, .82F},
          {.7F, .62F},
          {.46F, .58F},
          {.22F, .74F}}}},
       {{C,
         {{.84F, .16F},
          {.64F, .02F},
          {.36F, .14F},
          {.18F, .46F},
          {.2F, .8F},
          {.46F, .98F},
          {.78F, .86F},
          {.78F, .6F},
          {.5F, .5F},
          {.22F, .66F}}}}},
      // 7: plain; with a bar; with a hook
      {{{L, {{.12F, .07F}, {.85F, .05F}}}, {C, {{.85F, .05F}, {.6F, .46F}, {.44F, 1.F}}}},
       {{L, {{.12F, .06F}, {.84F, .06F}, {.42F, 1.F}}}, {L, {{.32F, .52F}, {.8F, .48F}}}},
       {{C, {{.1F, .24F}, {.16F, .08F}, {.5F, .08F}, {.86F, .04F}}},
        {C, {{.86F, .04F}, {.7F, .5F}, {.64F, 1.F}}}}},
      // 8: in one stroke; two circles; with an open top
      {{{C,
         {{.74F, .14F},
          {.5F, .0F},
          {.25F, .14F},
          {.34F, .37F},
          {.65F, .56F},
          {.8F, .78F},
          {.52F, .99F},
          {.2F, .82F},
          {.34F, .56F},
          {.64F, .38F},
          {.74F, .14F}}}},
       {{C,
         {{.5F, .0F},
          {.25F, .1F},
          {.25F, .35F},
          {.5F, .46F},
          {.75F, .35F},
          {.75F, .1F},
          {.5F, .0F}}},
        {C,
         {{.5F, .46F},
          {.2F, .6F},
          {.16F, .86F},
          {.5F, 1.F},
          {.84F, .86F},
          {.8F, .6F},
          {.5F, .46F}}}},
       {{C,
         {{.84F, .1F},
          {.52F, .02F},
          {.28F, .16F},
          {.38F, .42F},
          {.66F, .62F},
          {.68F, .88F},
          {.4F, .98F},
          {.2F, .8F},
          {.42F, .52F},
          {.76F, .26F},
          {.88F, .04F}}}}},
      // 9: with a straight tail; with a bent one; with an open, angular head
      {{{C,
         {{.78F, .16F},
          {.54F, .02F},
          {.26F, .14F},
          {.2F, .38F},
          {.44F, .52F},
          {.7F, .38F},
          {.78F, .16F}}},
        {C, {{.78F, .16F}, {.76F, .58F}, {.68F, 1.F}}}},
       {{C, {{.8F, .22F}, {.55F, .02F}, {.22F, .16F}, {.28F, .44F}, {.6F, .44F}, {.8F, .22F}}},
        {C, {{.8F, .22F}, {.82F, .56F}, {.64F, .9F}, {.28F, .98F}}}},
       {{C, {{.7F, .04F}, {.34F, .08F}, {.18F, .34F}, {.42F, .48F}, {.76F, .3F}}},
        {L, {{.82F, .0F}, {.62F, 1.F}}}}},
  }};
}

std::array<std::vector<Glyph>, 10> flatten_all() {
  std::array<std::vector<Glyph>, 10> glyphs;
  const Table table = skeletons();
  for (std::size_t digit = 0; digit < table.size(); ++digit) {
    for (const Variant& variant : table[digit]) {
      Glyph& glyph = glyphs[digit].emplace_back();
      for (const Path& path : variant) {
        glyph.push_back(flatten(path));
      }
    }
  }
  return glyphs;
}

}  // namespace

const std::vector<Glyph>& digit_glyphs(int digit) {
  static const std::array<std::vector<Glyph>, 10> glyphs = flatten_all();
  return glyphs[static_cast<std::size_t>(digit)];
}

}  // namespace gentrain::data
