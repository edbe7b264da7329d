// Images in a network's input space: in and out of it, noise, other sizes, and the terms of a
// dream's loss that look at the image alone. All in double, on the host.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/image/image.h"
#include "kernels/philox.h"
#include "trainers/dream_options.h"

namespace gentrain::trainers {

/// Values [h, w, 3] in a network's input space.
struct DreamImage {
  std::int64_t h = 0;
  std::int64_t w = 0;
  std::vector<double> values;
};

/// Channel i of the network is factor * (channel source[i] of RGB in 0..255) + shift.
struct InputSpace {
  std::array<std::size_t, 3> source = {0, 1, 2};
  std::array<double, 3> factor = {1, 1, 1};
  std::array<double, 3> shift = {0, 0, 0};
};

/// That of a rule. kAuto is none: Error.
InputSpace input_space(DreamPreprocess preprocess);
/// What a built-in network was trained on.
DreamPreprocess preprocess_of(std::string_view network);

/// image RGB. Throws ShapeError for another number of channels.
DreamImage into_space(const image::Image& image, const InputSpace& space);
/// The nearest bytes.
image::Image out_of_space(const DreamImage& image, const InputSpace& space);

/// Another size: bilinear interpolation between pixel centres, constant beyond the outermost ones.
/// Throws ShapeError for an extent below 1.
DreamImage resized(const DreamImage& image, std::int64_t h, std::int64_t w);
/// The same size, enlarged about the middle. factor at least 1.
DreamImage zoomed(const DreamImage& image, double factor);

/// `count` numbers, uniform in [-amount, amount): a pure function of the key.
std::vector<double> jitter(RngKey key, double amount, std::size_t count);

/// weight * sum((dx^2 + dy^2)^1.25) / (3 h w), over the pixels that have one on the right and one
/// below, each channel by itself; adds the gradient to `gradient`. x, gradient [h, w, 3]
double add_continuity(std::span<const double> x, std::int64_t h, std::int64_t w, double weight,
                      std::span<double> gradient);
/// weight * sum(x^2) / size; likewise, of any shape.
double add_l2(std::span<const double> x, double weight, std::span<double> gradient);

}  // namespace gentrain::trainers
