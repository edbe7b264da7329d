// A confusion matrix and a sheet of mistakes as pictures.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "trainers/classification_report.h"
#include "trainers/classifier.h"
#include "trainers/glyphs.h"
#include "trainers/pictures.h"

namespace gentrain::trainers {

namespace {

constexpr Colour kBlack = {0, 0, 0};
constexpr Colour kWhite = {255, 255, 255};
constexpr Colour kDark = {8, 69, 148};      // of a cell that has its whole row
constexpr std::int64_t kMostNumbered = 40;  // classes whose cells have room for numbers

image::Image white(std::int64_t h, std::int64_t w) {
  return {h, w, 3, std::vector<std::uint8_t>(static_cast<std::size_t>(h * w * 3), 255)};
}

/// Between white and kDark.
Colour shade(double share) {
  Colour colour{};
  for (std::size_t i = 0; i < colour.size(); ++i) {
    colour[i] = static_cast<std::uint8_t>(std::lround(255 - share * (255 - kDark[i])));
  }
  return colour;
}

void fill(image::Image& image, const image::Rectangle& part, const Colour& colour) {
  for (std::int64_t y = part.y; y < part.y + part.h; ++y) {
    for (std::int64_t x = part.x; x < part.x + part.w; ++x) {
      std::copy(colour.begin(), colour.end(), image.pixels.begin() + (y * image.w + x) * 3);
    }
  }
}

/// How the matrix lies in its picture.
struct Grid {
  bool numbered = false;
  std::int64_t cell = 0;  // side, pixels, with a white line on two of them
  std::int64_t left = 0;  // columns before the cells, for names
  std::int64_t top = 0;
  std::vector<std::string> labels;  // of the rows
};

Grid grid_of(const ClassificationReport& report) {
  constexpr std::size_t kLongest = 20;
  constexpr std::int64_t kGap = 4;
  Grid grid;
  grid.numbered = report.classes <= kMostNumbered;
  if (!grid.numbered) {
    grid.cell = report.classes <= 256 ? 6 : 2;
    return grid;
  }
  const std::int64_t largest = *std::max_element(report.confusion.begin(), report.confusion.end());
  grid.cell = std::max<std::int64_t>(24, text_width(fmt::format("{}", largest)) + 7);
  grid.top = kGlyphHeight + 2 * kGap;
  for (std::int64_t i = 0; i < report.classes; ++i) {
    const std::string name =
        report.names.empty() ? "" : " " + class_name(report.names, i).substr(0, kLongest);
    grid.labels.push_back(fmt::format("{}{}", i, name));
    grid.left = std::max(grid.left, text_width(grid.labels.back()) + 2 * kGap);
  }
  return grid;
}

/// Writes a text around the middle of a part.
void centre(image::Image& image, const image::Rectangle& part, const std::string& text,
            const Colour& colour) {
  draw_text(image, part.x + (part.w - text_width(text)) / 2, part.y + (part.h - kGlyphHeight) / 2,
            text, colour);
}

/// A sample as RGB.
image::Image rgb_of(const data::Dataset& dataset, std::int64_t sample) {
  const Shape shape = dataset.sample_shape();
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(shape.elements()));
  dataset.read(sample, pixels.data());
  if (shape[2] == 3) {
    return {shape[0], shape[1], 3, std::move(pixels)};
  }
  image::Image image{shape[0], shape[1], 3, {}};
  for (const std::uint8_t value : pixels) {
    image.pixels.insert(image.pixels.end(), 3, value);
  }
  return image;
}

/// The longest words for a mistake that fit into so many columns, or none.
std::string caption(const ClassificationReport& report, const Mistake& mistake,
                    std::int64_t columns) {
  const std::string names =
      class_name(report.names, mistake.label) + ">" + class_name(report.names, mistake.predicted);
  const std::string numbers = fmt::format("{}>{}", mistake.label, mistake.predicted);
  for (const std::string& text : {fmt::format("{} {:.2f}", names, mistake.loss), names,
                                  fmt::format("{} {:.2f}", numbers, mistake.loss), numbers}) {
    if (text_width(text) <= columns) {
      return text;
    }
  }
  return "";
}

}  // namespace

image::Image draw_confusion(const ClassificationReport& report) {
  const Grid grid = grid_of(report);
  image::Image image =
      white(grid.top + report.classes * grid.cell + 1, grid.left + report.classes * grid.cell + 1);
  for (std::int64_t row = 0; row < report.classes; ++row) {
    const std::int64_t y = grid.top + row * grid.cell;
    const double samples = static_cast<double>(std::max<std::int64_t>(report.labelled(row), 1));
    if (grid.numbered) {
      centre(image, {0, y, grid.left, grid.cell}, grid.labels[static_cast<std::size_t>(row)],
             kBlack);
      centre(image, {grid.left + row * grid.cell, 0, grid.cell, grid.top}, fmt::format("{}", row),
             kBlack);
    }
    for (std::int64_t column = 0; column < report.classes; ++column) {
      const std::int64_t count = report.count(row, column);
      const double share = static_cast<double>(count) / samples;
      const image::Rectangle cell{grid.left + column * grid.cell, y, grid.cell - 1, grid.cell - 1};
      fill(image, cell, shade(share));
      if (grid.numbered) {
        centre(image, cell, fmt::format("{}", count), share > 0.5 ? kWhite : kBlack);
      }
    }
  }
  return image;
}

std::optional<image::Image> draw_mistakes(const ClassificationReport& report,
                                          const data::Dataset& dataset) {
  const Shape shape = dataset.sample_shape();
  if (report.worst.empty() || shape.rank() != 3 || (shape[2] != 3 && shape[2] != 1)) {
    return std::nullopt;
  }
  constexpr std::int64_t kColumns = 4;
  constexpr std::int64_t kLine = kGlyphHeight + 4;
  std::vector<image::Image> images;
  for (const Mistake& mistake : report.worst) {
    const image::Image picture = rgb_of(dataset, mistake.sample);
    image::Image framed = white(picture.h + kLine, picture.w);
    std::copy(picture.pixels.begin(), picture.pixels.end(), framed.pixels.begin());
    draw_text(framed, 0, picture.h + 2, caption(report, mistake, picture.w), kBlack);
    images.push_back(std::move(framed));
  }
  return sheet(images, kColumns);
}

}  // namespace gentrain::trainers
