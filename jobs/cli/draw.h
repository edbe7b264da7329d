// Small grey images as text: two pixels a character.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gentrain::jobs {

/// A line of text per two rows of an image of height x width grey bytes (0 is black). With colours,
/// upper half blocks in 24 greys (for terminals); without, one of ten shades for the mean of both
/// pixels.
std::vector<std::string> draw_image(std::span<const std::uint8_t> pixels, int height, int width,
                                    bool colours);

/// "######....": `value` in 0..1 as a bar of `width` characters.
std::string bar(double value, int width);

}  // namespace gentrain::jobs
