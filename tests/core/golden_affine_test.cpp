// Affine maps against numbers that Keras itself gave for the same parameters: matrices, and the
// pixels of one small picture (tests/golden/README.md).
#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/data/affine.h"

namespace gentrain::data {
namespace {

using Bytes = std::vector<std::uint8_t>;

nlohmann::json golden() {
  std::ifstream file(GENTRAIN_SOURCE_DIR "/tests/golden/affine.json");
  return nlohmann::json::parse(file);
}

/// Without the flips, which Keras applies to the pixels of the result.
AffineParameters parameters_of(const nlohmann::json& entry) {
  return {.rotation = entry.value("rotation", 0.0),
          .shift_y = entry.value("shift_y", 0.0),
          .shift_x = entry.value("shift_x", 0.0),
          .shear = entry.value("shear", 0.0),
          .zoom_y = entry.value("zoom_y", 1.0),
          .zoom_x = entry.value("zoom_x", 1.0)};
}

void expect_matrix(const Affine& actual, const nlohmann::json& expected, const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual.at(i), expected[i].get<double>(), 1e-10) << what << ", number " << i;
  }
}

/// What keras_preprocessing 1.1.2 turns about.
Affine about_its_point(const AffineParameters& parameters, std::int64_t h, std::int64_t w) {
  return affine_about(affine_about_origin(parameters), static_cast<double>(h) / 2 + 0.5,
                      static_cast<double>(w) / 2 + 0.5);
}

/// The axes of source and result exchanged: keras 3 does so to the finished map.
Affine exchanged(const Affine& m) {
  return {m[4], m[3], m[5], m[1], m[0], m[2]};
}

TEST(GoldenAffine, MatricesAreThoseOfKeras) {
  const nlohmann::json file = golden();
  const auto h = file["h"].get<std::int64_t>();
  const auto w = file["w"].get<std::int64_t>();
  ASSERT_GE(file["cases"].size(), 10);
  for (const nlohmann::json& entry : file["cases"]) {
    const AffineParameters parameters = parameters_of(entry);
    expect_matrix(about_its_point(parameters, h, w), entry["matrix"], "1.1.2 " + entry.dump());
    expect_matrix(exchanged(affine_about_middle(parameters, h, w)), entry["keras3_matrix"],
                  "3 " + entry.dump());
  }
}

Bytes flipped(const Bytes& pixels, const PixelExtents& extents, bool rows, bool columns) {
  Bytes result;
  for (std::int64_t y = 0; y < extents.h; ++y) {
    for (std::int64_t x = 0; x < extents.w; ++x) {
      const std::int64_t from_y = rows ? extents.h - 1 - y : y;
      const std::int64_t from_x = columns ? extents.w - 1 - x : x;
      const auto* const pixel = pixels.data() + (from_y * extents.w + from_x) * extents.c;
      result.insert(result.end(), pixel, pixel + extents.c);
    }
  }
  return result;
}

/// The largest distance of a picture from Keras's, which is not rounded.
double distance(const Bytes& pixels, const nlohmann::json& expected) {
  double largest = 0;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    largest = std::max(largest, std::abs(pixels[i] - expected.at(i).get<double>()));
  }
  return largest;
}

TEST(GoldenAffine, PixelsAreThoseOfKeras) {
  constexpr double kRounding = 0.5 + 1e-3;  // to a byte, and of Keras's stored six digits
  const nlohmann::json file = golden();
  const PixelExtents extents{file["h"], file["w"], file["c"]};
  Bytes source(static_cast<std::size_t>(extents.h * extents.w * extents.c));
  for (std::size_t i = 0; i < source.size(); ++i) {
    source[i] = static_cast<std::uint8_t>((73 * i + 41) % 256);
  }
  for (const nlohmann::json& entry : file["cases"]) {
    const WarpOptions options{
        entry["fill_mode"] == "reflect" ? FillMode::kReflect : FillMode::kNearest, 0,
        Resampling::kBilinear};
    const auto warped = [&](const Affine& matrix) {
      Bytes result(source.size());
      warp(extents, source, matrix, options, result);
      return flipped(result, extents, entry.value("flip_vertical", false),
                     entry.value("flip_horizontal", false));
    };
    const AffineParameters parameters = parameters_of(entry);
    ASSERT_EQ(entry["pixels"].size(), source.size());
    EXPECT_LE(distance(warped(about_its_point(parameters, extents.h, extents.w)), entry["pixels"]),
              kRounding)
        << entry.dump();
    AffineParameters other = parameters;
    other.shift_x += 0.1;
    EXPECT_GT(distance(warped(about_its_point(other, extents.h, extents.w)), entry["pixels"]), 2)
        << "a tenth of a pixel must be seen";
  }
}

}  // namespace
}  // namespace gentrain::data
