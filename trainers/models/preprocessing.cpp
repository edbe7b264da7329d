// Preprocessing by a table of the 256 values that a channel can have.
#include "trainers/models/preprocessing.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

double value_of(Preprocessing preprocessing, std::size_t channel, int byte) {
  switch (preprocessing) {
    case Preprocessing::kInception:
      return byte / 127.5 - 1;
    case Preprocessing::kCaffe:
      return byte - kCaffeMeans.at(channel);
    case Preprocessing::kTorch:
      return (byte / 255.0 - kTorchMeans.at(channel)) / kTorchDeviations.at(channel);
    case Preprocessing::kNone:
      break;
  }
  return byte;
}

}  // namespace

std::string_view name_of(Preprocessing preprocessing) {
  return kPreprocessingNames.at(static_cast<std::size_t>(preprocessing));
}

Preprocessing preprocessing_of(const std::string& name) {
  const auto* const found = std::ranges::find(kPreprocessingNames, name);
  if (found == kPreprocessingNames.end()) {
    throw JobError(fmt::format("--preprocess: there is no '{}' (known: {})", name,
                               fmt::join(kPreprocessingNames, ", ")));
  }
  return static_cast<Preprocessing>(found - kPreprocessingNames.begin());
}

std::optional<PictureAxes> picture_axes(const Shape& sample) {
  const auto is_channels = [](std::int64_t extent) { return extent == 1 || extent == kColours; };
  if (sample.rank() != 3) {
    return std::nullopt;
  }
  if (is_channels(sample[2])) {
    return PictureAxes{sample, ChannelOrder::kLast};
  }
  if (is_channels(sample[0])) {
    return PictureAxes{{sample[1], sample[2], sample[0]}, ChannelOrder::kFirst};
  }
  return std::nullopt;
}

std::vector<float> preprocessed(Preprocessing preprocessing, std::span<const std::uint8_t> pixels,
                                std::int64_t pixels_each, std::int64_t channels,
                                ChannelOrder order) {
  const bool coloured =
      preprocessing == Preprocessing::kCaffe || preprocessing == Preprocessing::kTorch;
  if (channels != kColours && (channels != 1 || coloured)) {
    throw ShapeError(fmt::format("preprocess {}: images of {} channels, {} needed",
                                 name_of(preprocessing), channels,
                                 coloured ? "3 are"
                                          : "1 or 3 "
                                            "are"));
  }
  const std::size_t c = static_cast<std::size_t>(channels);
  const bool swaps = preprocessing == Preprocessing::kCaffe;
  std::vector<std::array<float, 256>> table(c);
  for (std::size_t k = 0; k < c; ++k) {
    for (int byte = 0; byte < 256; ++byte) {
      table[k].at(static_cast<std::size_t>(byte)) =
          static_cast<float>(value_of(preprocessing, k, byte));
    }
  }
  const auto each = static_cast<std::size_t>(pixels_each);
  const bool last = order == ChannelOrder::kLast;
  std::vector<float> values(pixels.size());
  for (std::size_t image = 0; image < pixels.size(); image += each * c) {
    for (std::size_t k = 0; k < c; ++k) {
      const std::size_t from = image + (swaps ? c - 1 - k : k);
      const std::size_t to = image + (last ? k : k * each);
      for (std::size_t i = 0; i < each; ++i) {
        values[to + i * (last ? c : 1)] = table[k][pixels[from + i * c]];
      }
    }
  }
  return values;
}

}  // namespace gentrain::trainers
