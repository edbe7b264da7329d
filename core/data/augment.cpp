// The random numbers of augmentation, and the image that they make.
#include "core/data/augment.h"

#include <algorithm>

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace gentrain::data {
namespace {

constexpr std::uint64_t kAugmentStream = 0x6175676d656e74;  // "augment"

/// A number between low and high out of a random word.
double between(double low, double high, std::uint32_t word) {
  return low + (high - low) * static_cast<double>(uniform_float(word));
}

void check_range(const char* name, double value, double high, bool open) {
  if (!(value >= 0 && (open ? value < high : value <= high))) {
    throw JobError(fmt::format("data.augment.{} is {}: 0 to {}{} needed", name, value,
                               open ? "below " : "", high));
  }
}

}  // namespace

bool augments(const AugmentOptions& o) {
  return o.rotation != 0 || o.width_shift != 0 || o.height_shift != 0 || o.shear != 0 ||
         o.zoom_low != 1 || o.zoom_high != 1 || o.horizontal_flip || o.vertical_flip;
}

void check_augmentation(const AugmentOptions& o) {
  check_range("rotation", o.rotation, 180, false);
  check_range("width_shift", o.width_shift, 1, true);
  check_range("height_shift", o.height_shift, 1, true);
  check_range("shear", o.shear, 90, true);
  check_range("fill_value", static_cast<double>(o.fill_value), 255, false);
  if (!(o.zoom_low > 0 && o.zoom_low <= o.zoom_high && o.zoom_high <= kMostZoom)) {
    throw JobError(
        fmt::format("data.augment.zoom is from {} to {}: above 0, at most {}, and the "
                    "lower first needed",
                    o.zoom_low, o.zoom_high, kMostZoom));
  }
}

AffineParameters draw_parameters(const AugmentOptions& options, const SampleKey& key,
                                 std::int64_t h, std::int64_t w) {
  const RngKey stream = RngKey(key.seed)
                            .fold(kAugmentStream)
                            .fold(static_cast<std::uint64_t>(key.epoch))
                            .fold(static_cast<std::uint64_t>(key.sample));
  const PhiloxBlock first = stream.block(0);
  const PhiloxBlock second = stream.block(1);
  constexpr std::uint32_t kHalf = 0x80000000U;
  AffineParameters p;
  p.rotation = between(-options.rotation, options.rotation, first[0]);
  p.shift_y =
      between(-options.height_shift, options.height_shift, first[1]) * static_cast<double>(h);
  p.shift_x = between(-options.width_shift, options.width_shift, first[2]) * static_cast<double>(w);
  p.shear = between(-options.shear, options.shear, first[3]);
  p.zoom_y = between(options.zoom_low, options.zoom_high, second[0]);
  p.zoom_x = between(options.zoom_low, options.zoom_high, second[1]);
  p.flip_horizontal = options.horizontal_flip && second[2] < kHalf;
  p.flip_vertical = options.vertical_flip && second[3] < kHalf;
  return p;
}

void augment(const AugmentOptions& options, const SampleKey& key, const Shape& shape,
             std::span<const std::uint8_t> source, std::span<std::uint8_t> result) {
  if (shape.rank() != 3) {
    throw ShapeError(fmt::format("augment: images [h, w, c] needed, not {}", shape.str()));
  }
  const AffineParameters parameters = draw_parameters(options, key, shape[0], shape[1]);
  warp({shape[0], shape[1], shape[2]}, source, affine_about_middle(parameters, shape[0], shape[1]),
       {options.fill_mode, static_cast<std::uint8_t>(options.fill_value), options.interpolation},
       result);
}

}  // namespace gentrain::data
