// Arithmetic of images in double.
#include "trainers/dream_image.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/progress.h"
#include "trainers/models/options.h"
#include "trainers/models/preprocessing.h"

namespace gentrain::trainers {

namespace {

constexpr std::size_t kRgb = 3;

/// Where a position of the result lies between two of the source.
struct Between {
  std::size_t low = 0;
  std::size_t high = 0;
  double share = 0;  // of high
};

/// Positions of `to` pixels over `from` pixels; each pixel of the result is `step` wide, and their
/// middles are one.
std::vector<Between> positions(std::int64_t from, std::int64_t to, double step) {
  std::vector<Between> all;
  all.reserve(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const double off_middle = (static_cast<double>(i) + 0.5 - static_cast<double>(to) / 2) * step;
    const double at = std::clamp(static_cast<double>(from) / 2 + off_middle - 0.5, 0.0,
                                 static_cast<double>(from - 1));
    const double low = std::floor(at);
    const auto index = static_cast<std::size_t>(low);
    all.push_back({index, std::min(index + 1, static_cast<std::size_t>(from) - 1), at - low});
  }
  return all;
}

DreamImage sampled(const DreamImage& image, const std::vector<Between>& rows,
                   const std::vector<Between>& columns) {
  DreamImage result{std::ssize(rows), std::ssize(columns), {}};
  result.values.reserve(rows.size() * columns.size() * kRgb);
  const auto w = static_cast<std::size_t>(image.w);
  for (const Between& row : rows) {
    for (const Between& column : columns) {
      for (std::size_t c = 0; c < kRgb; ++c) {
        const auto along = [&](std::size_t y) {
          const double low = image.values[(y * w + column.low) * kRgb + c];
          const double high = image.values[(y * w + column.high) * kRgb + c];
          return low + column.share * (high - low);
        };
        const double low = along(row.low);
        result.values.push_back(low + row.share * (along(row.high) - low));
      }
    }
    progress::tick();
  }
  return result;
}

}  // namespace

InputSpace input_space(DreamPreprocess preprocess) {
  switch (preprocess) {
    case DreamPreprocess::kCaffe:
      return {{2, 1, 0}, {1, 1, 1}, {-kCaffeMeans[0], -kCaffeMeans[1], -kCaffeMeans[2]}};
    case DreamPreprocess::kInception:
      return {{0, 1, 2}, {1 / 127.5, 1 / 127.5, 1 / 127.5}, {-1, -1, -1}};
    case DreamPreprocess::kTorch:
      return {{0, 1, 2},
              {1 / (255 * kTorchDeviations[0]), 1 / (255 * kTorchDeviations[1]),
               1 / (255 * kTorchDeviations[2])},
              {-kTorchMeans[0] / kTorchDeviations[0], -kTorchMeans[1] / kTorchDeviations[1],
               -kTorchMeans[2] / kTorchDeviations[2]}};
    case DreamPreprocess::kNone:
      return {};
    case DreamPreprocess::kAuto:
      break;
  }
  throw Error("input_space: which rule is for the network to say");
}

DreamPreprocess preprocess_of(std::string_view network) {
  ModelOptions model;
  model.name = network;
  return takes_bgr(model) ? DreamPreprocess::kCaffe : DreamPreprocess::kInception;
}

DreamImage into_space(const image::Image& image, const InputSpace& space) {
  if (image.c != static_cast<std::int64_t>(kRgb)) {
    throw ShapeError(fmt::format("dreams begin with RGB images, got {} channel(s)", image.c));
  }
  DreamImage result{image.h, image.w, std::vector<double>(image.pixels.size())};
  for (std::size_t i = 0; i < image.pixels.size(); i += kRgb) {
    for (std::size_t c = 0; c < kRgb; ++c) {
      result.values[i + c] =
          space.factor.at(c) * static_cast<double>(image.pixels[i + space.source.at(c)]) +
          space.shift.at(c);
    }
  }
  return result;
}

image::Image out_of_space(const DreamImage& image, const InputSpace& space) {
  image::Image result{image.h, image.w, static_cast<std::int64_t>(kRgb),
                      std::vector<std::uint8_t>(image.values.size())};
  for (std::size_t i = 0; i < image.values.size(); i += kRgb) {
    for (std::size_t c = 0; c < kRgb; ++c) {
      const double pixel = (image.values[i + c] - space.shift.at(c)) / space.factor.at(c);
      result.pixels[i + space.source.at(c)] =
          static_cast<std::uint8_t>(std::clamp(pixel, 0.0, 255.0) + 0.5);
    }
  }
  return result;
}

DreamImage resized(const DreamImage& image, std::int64_t h, std::int64_t w) {
  if (h < 1 || w < 1) {
    throw ShapeError(fmt::format("a dream of {} x {} pixels was wanted: at least 1 x 1", h, w));
  }
  if (h == image.h && w == image.w) {
    return image;
  }
  return sampled(image,
                 positions(image.h, h, static_cast<double>(image.h) / static_cast<double>(h)),
                 positions(image.w, w, static_cast<double>(image.w) / static_cast<double>(w)));
}

DreamImage zoomed(const DreamImage& image, double factor) {
  return factor == 1 ? image
                     : sampled(image, positions(image.h, image.h, 1 / factor),
                               positions(image.w, image.w, 1 / factor));
}

std::vector<double> jitter(RngKey key, double amount, std::size_t count) {
  std::vector<double> noise(count, 0.0);
  if (amount == 0) {
    return noise;
  }
  constexpr std::size_t kWords = 4;
  for (std::size_t i = 0; i < count; ++i) {
    const PhiloxBlock block = key.block(i / kWords);
    noise[i] = amount * (2 * static_cast<double>(uniform_float(block.at(i % kWords))) - 1);
  }
  return noise;
}

double add_continuity(std::span<const double> x, std::int64_t h, std::int64_t w, double weight,
                      std::span<double> gradient) {
  const double scale = weight / static_cast<double>(x.size());
  const std::size_t line = static_cast<std::size_t>(w) * kRgb;
  double sum = 0;
  for (std::int64_t y = 0; y + 1 < h; ++y) {
    const std::size_t first = static_cast<std::size_t>(y) * line;
    double row = 0;
    for (std::size_t i = first; i < first + line - kRgb; ++i) {
      const double below = x[i] - x[i + line];
      const double right = x[i] - x[i + kRgb];
      const double squares = below * below + right * right;
      const double root = std::sqrt(std::sqrt(squares));
      row += squares * root;
      const double slope = scale * 2.5 * root;  // 1.25 * 2
      gradient[i] += slope * (below + right);
      gradient[i + line] -= slope * below;
      gradient[i + kRgb] -= slope * right;
    }
    sum += row;
  }
  progress::tick();
  return scale * sum;
}

double add_l2(std::span<const double> x, double weight, std::span<double> gradient) {
  const double scale = weight / static_cast<double>(x.size());
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += x[i] * x[i];
    gradient[i] += 2 * scale * x[i];
  }
  progress::tick();
  return scale * sum;
}

}  // namespace gentrain::trainers
