// Small grey images and bars as text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gentrain::jobs {

/// A line of text per two rows of an image of height x width grey bytes (0 is black): a character
/// stands for the two pixels of a column. With colours, half blocks in 24 greys (for terminals of
/// 256 colours); without, half and whole blocks and shades.
std::vector<std::string> draw_image(std::span<const std::uint8_t> pixels, int height, int width,
                                    bool colours);

/// `value` in 0..1 as a bar of blocks, to an eighth of a character, filled up with spaces to
/// `width` columns.
std::string bar(double value, int width);

}  // namespace gentrain::jobs
