// The description of data.augment, and the names of choices for classifiers: as describe.h.
#pragma once

#include "core/data/augment.h"
#include "jobs/cli/schema.h"

namespace gentrain::jobs {

template <>
inline constexpr auto kChoices<trainers::ClassWeight> =
    std::to_array<Choice<trainers::ClassWeight>>({{trainers::ClassWeight::kNone, "none"},
                                                  {trainers::ClassWeight::kAuto, "auto"}});
template <>
inline constexpr auto kChoices<data::FillMode> =
    std::to_array<Choice<data::FillMode>>({{data::FillMode::kNearest, "nearest"},
                                           {data::FillMode::kConstant, "constant"},
                                           {data::FillMode::kReflect, "reflect"},
                                           {data::FillMode::kWrap, "wrap"}});
template <>
inline constexpr auto kChoices<data::Resampling> = std::to_array<Choice<data::Resampling>>(
    {{data::Resampling::kBilinear, "bilinear"}, {data::Resampling::kNearest, "nearest"}});

template <class V>
void describe(V& v, data::AugmentOptions& a) {
  v.field("rotation", a.rotation, between(0, 180), "Degrees: turned by up to so many, either way");
  v.field("width_shift", a.width_shift, below_one(),
          "Share of the width: moved sideways by up to that");
  v.field("height_shift", a.height_shift, below_one(),
          "Share of the height: moved up or down by up to that");
  v.field("shear", a.shear, Range{.low = 0, .high = 90, .high_open = true},
          "Degrees (not radians, as before Keras 2.1): sheared by up to so many");
  v.factors("zoom", a.zoom_low, a.zoom_high,
            Range{.low = 0, .high = data::kMostZoom, .low_open = true},
            "Height and width are each scaled by a factor of their own, as Keras does: z stands "
            "for [1 - z, 1 + z]; factors above 1 show more, smaller");
  v.field("horizontal_flip", a.horizontal_flip, "Every other image is mirrored, left to right");
  v.field("vertical_flip", a.vertical_flip, "The same, top to bottom");
  v.field("fill_mode", a.fill_mode,
          "What comes in from outside, of pixels abcd: nearest aaaa|abcd|dddd, constant "
          "kkkk|abcd|kkkk, reflect dcba|abcd|dcba, wrap abcd|abcd|abcd");
  v.field("fill_value", a.fill_value, between(0, 255), "constant: value of all channels there");
  v.field("interpolation", a.interpolation,
          "bilinear: between the four pixels around a place; nearest: the closest one");
}

}  // namespace gentrain::jobs
