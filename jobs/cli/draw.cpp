// Drawing in the terminal.
#include "jobs/cli/draw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

namespace gentrain::jobs {

namespace {

/// The grey ramp of 256-colour terminals: colours 232 (nearly black) to 255 (nearly white).
int grey_of(std::uint8_t pixel) {
  return 232 + pixel * 23 / 255;
}

/// Two pixels, one above the other, without colours: the ink of strokes on an empty background.
std::string_view block_of(std::uint8_t above, std::uint8_t below) {
  constexpr int kFaint = 48;
  constexpr int kBright = 128;
  if (above >= kBright && below >= kBright) {
    return "\u2588";  // whole block
  }
  if (above >= kBright && below < kFaint) {
    return "\u2580";  // upper half
  }
  if (below >= kBright && above < kFaint) {
    return "\u2584";  // lower half
  }
  constexpr std::array<std::string_view, 4> kShades = {" ", "\u2591", "\u2592", "\u2593"};
  return kShades.at(static_cast<std::size_t>(std::min((above + below) / kFaint, 3)));
}

}  // namespace

std::vector<std::string> draw_image(std::span<const std::uint8_t> pixels, int height, int width,
                                    bool colours) {
  const auto pixel = [&](int row, int column) -> std::uint8_t {
    return row < height ? pixels[static_cast<std::size_t>(row) * static_cast<std::size_t>(width) +
                                 static_cast<std::size_t>(column)]
                        : std::uint8_t{0};
  };
  std::vector<std::string> lines;
  for (int row = 0; row < height; row += 2) {
    std::string line;
    for (int column = 0; column < width; ++column) {
      const std::uint8_t above = pixel(row, column);
      const std::uint8_t below = pixel(row + 1, column);
      if (colours) {
        line += fmt::format("\033[38;5;{};48;5;{}m\u2580", grey_of(above), grey_of(below));
      } else {
        line += block_of(above, below);
      }
    }
    lines.push_back(colours ? line + "\033[0m" : line);
  }
  return lines;
}

std::string bar(double value, int width) {
  constexpr std::array<std::string_view, 8> kParts = {"",       "\u258f", "\u258e", "\u258d",
                                                      "\u258c", "\u258b", "\u258a", "\u2589"};
  const int eighths = static_cast<int>(std::lround(std::clamp(value, 0.0, 1.0) * width * 8));
  std::string text;
  for (int i = 0; i < eighths / 8; ++i) {
    text += "\u2588";
  }
  text += kParts[static_cast<std::size_t>(eighths % 8)];
  const int used = (eighths + 7) / 8;
  return text + std::string(static_cast<std::size_t>(width - used), ' ');
}

}  // namespace gentrain::jobs
