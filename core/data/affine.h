// Affine maps of images: the matrices of Keras's augmentation, and how an image is resampled along
// one. Plain loops in double precision: OpenCV's warpAffine rounds coordinates to 1/32 pixel.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace gentrain::data {

/// The rows (a b t) and (c d u) of a matrix that gives for a pixel of the result (row, column, 1)
/// the place in the source, rows first: (a row + b column + t, c row + d column + u).
using Affine = std::array<double, 6>;

/// What one image goes through, by Keras's names.
struct AffineParameters {
  double rotation = 0;  // theta, degrees
  double shift_y = 0;   // tx: pixels along the rows' axis (height_shift)
  double shift_x = 0;   // ty: pixels along the columns' axis (width_shift)
  double shear = 0;     // degrees
  double zoom_y = 1;    // zx: above 1 shows more of the source, smaller
  double zoom_x = 1;    // zy
  bool flip_horizontal = false;
  bool flip_vertical = false;
  friend bool operator==(const AffineParameters&, const AffineParameters&) = default;
};

/// Rotation x shift x shear x zoom, in this order, about (0, 0); then the flips, which Keras
/// applies to the result and which therefore stand rightmost:
///
///   rotation (cos -sin 0; sin cos 0)   shift (1 0 tx; 0 1 ty)   shear (1 -sin 0; 0 cos 0)
///   zoom (zx 0 0; 0 zy 0)
///
/// Source: keras_preprocessing 1.1.2, image/affine_transformations.py, apply_affine_transform: the
/// shear is an angle in degrees, as from Keras 2.1 on; earlier versions took radians.
Affine affine_about_origin(const AffineParameters& parameters);

/// The same map about (row, column): transform_matrix_offset_center with that point.
Affine affine_about(const Affine& matrix, double row, double column);

/// affine_about_origin() about the middle of h x w pixels, row (h - 1) / 2 and column (w - 1) / 2.
/// This is Keras's since its correction (h / 2 - 0.5); keras_preprocessing 1.1.2 still turns about
/// h / 2 + 0.5, one pixel further down and to the right.
Affine affine_about_middle(const AffineParameters& parameters, std::int64_t h, std::int64_t w);

/// What lies outside of the image, of pixels a b c d: kNearest aaaa|abcd|dddd, kConstant
/// kkkk|abcd|kkkk, kReflect dcba|abcd|dcba, kWrap abcd|abcd|abcd. It is decided for each pixel that
/// is interpolated between, so that the image blends into the constant over one pixel.
enum class FillMode : std::uint8_t { kNearest, kConstant, kReflect, kWrap };

/// kBilinear: between the four pixels around a place (Keras's order = 1, its default); kNearest:
/// the closest one, of two equally close ones the later (order = 0).
enum class Resampling : std::uint8_t { kBilinear, kNearest };

/// Pixels of an image, [h, w, c].
struct PixelExtents {
  std::int64_t h = 0;
  std::int64_t w = 0;
  std::int64_t c = 0;
};

/// How an image is read at places between and outside of its pixels.
struct WarpOptions {
  FillMode fill = FillMode::kNearest;
  std::uint8_t constant = 0;  // of kConstant
  Resampling resampling = Resampling::kBilinear;
};

/// The image whose pixel (y, x) is the source's at matrix (y, x, 1), rounded to the nearest byte,
/// halves up. On the calling thread.
///
/// source, result  h * w * c bytes each, apart from each other
///
/// Throws ShapeError for extents below 1, spans of another size, or a matrix that is not finite or
/// leads further away than 2^40 pixels.
void warp(const PixelExtents& extents, std::span<const std::uint8_t> source, const Affine& matrix,
          const WarpOptions& options, std::span<std::uint8_t> result);

}  // namespace gentrain::data
