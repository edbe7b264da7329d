// Drawing in the terminal.
#include "jobs/cli/draw.h"

#include <algorithm>

#include <fmt/format.h>

namespace gentrain::jobs {

namespace {

/// The grey ramp of 256-colour terminals: colours 232 (nearly black) to 255 (nearly white).
int grey_of(std::uint8_t pixel) {
  return 232 + pixel * 23 / 255;
}

}  // namespace

std::vector<std::string> draw_image(std::span<const std::uint8_t> pixels, int height, int width,
                                    bool colours) {
  constexpr std::string_view kShades = " .:-=+*#%@";
  const auto pixel = [&](int row, int column) -> std::uint8_t {
    return row < height ? pixels[static_cast<std::size_t>(row * width + column)] : std::uint8_t{0};
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
        line += kShades[static_cast<std::size_t>((above + below) * 9 / 510)];
      }
    }
    lines.push_back(colours ? line + "\033[0m" : line);
  }
  return lines;
}

std::string bar(double value, int width) {
  const auto filled = static_cast<std::size_t>(std::clamp(value, 0.0, 1.0) * width + 0.5);
  return std::string(filled, '#') + std::string(static_cast<std::size_t>(width) - filled, '.');
}

}  // namespace gentrain::jobs
