// Augmentation: each training image is turned, shifted, sheared, zoomed and flipped a little, anew
// in every epoch, by a pure function of (seed, epoch, sample).
#pragma once

#include <cstdint>
#include <span>

#include "core/data/affine.h"
#include "kernels/shape.h"

namespace gentrain::data {

/// How far images may be moved: Keras's ImageDataGenerator. Each image draws every value on its
/// own, uniformly; the defaults move nothing.
struct AugmentOptions {
  double rotation = 0;      // degrees, from -rotation to rotation; 0 to 180
  double width_shift = 0;   // share of the width, from -x to x; 0 <= x < 1
  double height_shift = 0;  // share of the height, likewise
  double shear = 0;         // degrees, likewise; 0 <= x < 90
  double zoom_low = 1;      // factors of height and width, each drawn in [zoom_low, zoom_high]
  double zoom_high = 1;
  bool horizontal_flip = false;  // with probability 1/2
  bool vertical_flip = false;
  FillMode fill_mode = FillMode::kNearest;
  std::int64_t fill_value = 0;  // of kConstant, 0 to 255
  Resampling interpolation = Resampling::kBilinear;
  friend bool operator==(const AugmentOptions&, const AugmentOptions&) = default;
};

/// Largest factor of a zoom.
inline constexpr double kMostZoom = 100;

/// Whether images are moved at all.
bool augments(const AugmentOptions& options);

/// Throws JobError for a value out of its range, naming it.
void check_augmentation(const AugmentOptions& options);

/// Which image of which training.
struct SampleKey {
  std::uint64_t seed = 0;
  std::int64_t epoch = 0;
  std::int64_t sample = 0;  // index in the data set, whatever the epoch's order
};

/// What a sample of h x w pixels goes through in an epoch. A value's random number has a place of
/// its own: another option that is switched on changes no other value.
AffineParameters draw_parameters(const AugmentOptions& options, const SampleKey& key,
                                 std::int64_t h, std::int64_t w);

/// The image that a sample becomes in an epoch; the same bytes wherever they are made.
///
/// shape           [h, w, c]
/// source, result  shape.elements() bytes each, apart from each other
///
/// Throws ShapeError as warp(), or for a shape of another rank.
void augment(const AugmentOptions& options, const SampleKey& key, const Shape& shape,
             std::span<const std::uint8_t> source, std::span<std::uint8_t> result);

}  // namespace gentrain::data
