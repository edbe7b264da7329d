// How the pixels of a picture become what a network takes, as the frameworks name it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/shape.h"

namespace gentrain::trainers {

/// kNone: 0..255 as they are. kInception: x / 127.5 - 1. kCaffe: BGR minus the means 103.939,
/// 116.779, 123.68. kTorch: x / 255, minus the means 0.485, 0.456, 0.406, divided by 0.229, 0.224,
/// 0.225, RGB. Source: imagenet_utils of Keras Applications, which calls the second one "tf".
enum class Preprocessing : std::uint8_t { kNone, kInception, kCaffe, kTorch };

inline constexpr std::int64_t kColours = 3;

inline constexpr std::array<double, 3> kCaffeMeans = {103.939, 116.779, 123.68};  // B, G, R
inline constexpr std::array<double, 3> kTorchMeans = {0.485, 0.456, 0.406};
inline constexpr std::array<double, 3> kTorchDeviations = {0.229, 0.224, 0.225};

inline constexpr std::array<std::string_view, 4> kPreprocessingNames = {"none", "inception",
                                                                        "caffe", "torch"};

/// "none"
std::string_view name_of(Preprocessing preprocessing);
/// Throws JobError that lists the known names.
Preprocessing preprocessing_of(const std::string& name);

/// Where the channels of a sample stand.
enum class ChannelOrder : std::uint8_t { kLast, kFirst };

/// What of a picture a sample of three axes is.
struct PictureAxes {
  Shape image;  // [h, w, c]
  ChannelOrder order = ChannelOrder::kLast;
};
/// Channels are where one or three positions are, the last axis first. None of a sample that is no
/// picture.
std::optional<PictureAxes> picture_axes(const Shape& sample);

/// Values of pixels.
///
/// pixels [n, h, w, c], RGB or grey; pixels_each: h w
/// result [n, h, w, c], or with kFirst [n, c, h, w]; each value is computed in double and rounded
///        once
///
/// Throws ShapeError unless channels is 1 or 3, and 3 for kCaffe and kTorch.
std::vector<float> preprocessed(Preprocessing preprocessing, std::span<const std::uint8_t> pixels,
                                std::int64_t pixels_each, std::int64_t channels,
                                ChannelOrder order = ChannelOrder::kLast);

}  // namespace gentrain::trainers
