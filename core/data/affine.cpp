// Keras's matrices, and the loops that resample.
#include "core/data/affine.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::data {
namespace {

/// Of two maps the one that takes a point through `inner` first.
Affine product(const Affine& outer, const Affine& inner) {
  return {outer[0] * inner[0] + outer[1] * inner[3],
          outer[0] * inner[1] + outer[1] * inner[4],
          outer[0] * inner[2] + outer[1] * inner[5] + outer[2],
          outer[3] * inner[0] + outer[4] * inner[3],
          outer[3] * inner[1] + outer[4] * inner[4],
          outer[3] * inner[2] + outer[4] * inner[5] + outer[5]};
}

double radians(double degrees) {
  return degrees * std::numbers::pi / 180;
}

/// A number that no pixel has: the constant stands there.
constexpr std::int64_t kOutside = -1;

/// i modulo n, from 0 on.
std::int64_t modulo(std::int64_t i, std::int64_t n) {
  const std::int64_t rest = i % n;
  return rest < 0 ? rest + n : rest;
}

/// Which of n pixels along an axis stands for number i, or kOutside.
std::int64_t pixel_for(std::int64_t i, std::int64_t n, FillMode fill) {
  if (i >= 0 && i < n) {
    return i;
  }
  switch (fill) {
    case FillMode::kNearest:
      return i < 0 ? 0 : n - 1;
    case FillMode::kReflect: {
      const std::int64_t there_and_back = modulo(i, 2 * n);
      return std::min(there_and_back, 2 * n - 1 - there_and_back);
    }
    case FillMode::kWrap:
      return modulo(i, n);
    case FillMode::kConstant:
      break;
  }
  return kOutside;
}

/// floor() of what is within the integers, without a call.
std::int64_t floor_of(double x) {
  const auto whole = static_cast<std::int64_t>(x);
  return whole - (x < static_cast<double>(whole) ? 1 : 0);
}

/// One image under way. C: its channels, or 0 where only extents.c tells.
template <int C>
class Warp {
 public:
  Warp(const PixelExtents& extents, const std::uint8_t* source, const WarpOptions& options)
      : h_(extents.h), w_(extents.w), c_(extents.c), source_(source), options_(options) {}

  void bilinear(const Affine& matrix, std::uint8_t* result) const {
    for (std::int64_t y = 0; y < h_; ++y) {
      for (std::int64_t x = 0; x < w_; ++x) {
        blend(row_at(matrix, y, x), column_at(matrix, y, x), result);
        result += channels();
      }
    }
  }

  void nearest(const Affine& matrix, std::uint8_t* result) const {
    for (std::int64_t y = 0; y < h_; ++y) {
      for (std::int64_t x = 0; x < w_; ++x) {
        const std::int64_t row = floor_of(row_at(matrix, y, x) + 0.5);
        const std::int64_t column = floor_of(column_at(matrix, y, x) + 0.5);
        const std::uint8_t* pixel =
            at(pixel_for(row, h_, options_.fill), pixel_for(column, w_, options_.fill));
        for (std::int64_t c = 0; c < channels(); ++c) {
          result[c] = pixel == nullptr ? options_.constant : pixel[c];
        }
        result += channels();
      }
    }
  }

 private:
  [[nodiscard]] std::int64_t channels() const { return C > 0 ? C : c_; }

  static double row_at(const Affine& m, std::int64_t y, std::int64_t x) {
    return m[0] * static_cast<double>(y) + m[1] * static_cast<double>(x) + m[2];
  }
  static double column_at(const Affine& m, std::int64_t y, std::int64_t x) {
    return m[3] * static_cast<double>(y) + m[4] * static_cast<double>(x) + m[5];
  }

  /// A pixel of the source; null outside.
  [[nodiscard]] const std::uint8_t* at(std::int64_t row, std::int64_t column) const {
    return row == kOutside || column == kOutside ? nullptr
                                                 : source_ + (row * w_ + column) * channels();
  }

  void blend(double row, double column, std::uint8_t* result) const {
    const std::int64_t top = floor_of(row);
    const std::int64_t left = floor_of(column);
    const auto down = static_cast<float>(row - static_cast<double>(top));
    const auto right = static_cast<float>(column - static_cast<double>(left));
    const float weights[4] = {(1 - down) * (1 - right), (1 - down) * right, down * (1 - right),
                              down * right};
    if (top >= 0 && left >= 0 && top + 1 < h_ && left + 1 < w_) {
      const std::uint8_t* a = source_ + (top * w_ + left) * channels();
      const std::uint8_t* c = a + w_ * channels();
      for (std::int64_t i = 0; i < channels(); ++i) {
        result[i] = rounded(weights[0] * static_cast<float>(a[i]) +
                            weights[1] * static_cast<float>(a[i + channels()]) +
                            weights[2] * static_cast<float>(c[i]) +
                            weights[3] * static_cast<float>(c[i + channels()]));
      }
      return;
    }
    const std::int64_t rows[2] = {pixel_for(top, h_, options_.fill),
                                  pixel_for(top + 1, h_, options_.fill)};
    const std::int64_t columns[2] = {pixel_for(left, w_, options_.fill),
                                     pixel_for(left + 1, w_, options_.fill)};
    const std::uint8_t* const pixels[4] = {at(rows[0], columns[0]), at(rows[0], columns[1]),
                                           at(rows[1], columns[0]), at(rows[1], columns[1])};
    for (std::int64_t i = 0; i < channels(); ++i) {
      const auto value = [&](int k) {
        return weights[k] *
               static_cast<float>(pixels[k] == nullptr ? options_.constant : pixels[k][i]);
      };
      result[i] = rounded(value(0) + value(1) + value(2) + value(3));
    }
  }

  static std::uint8_t rounded(float value) {
    return static_cast<std::uint8_t>(std::min(value + 0.5F, 255.0F));
  }

  std::int64_t h_;
  std::int64_t w_;
  std::int64_t c_;
  const std::uint8_t* source_;
  WarpOptions options_;
};

void check(const PixelExtents& extents, std::size_t source, std::size_t result,
           const Affine& matrix) {
  constexpr double kFurthest = 0x1p40;
  const bool there = extents.h > 0 && extents.w > 0 && extents.c > 0;
  const auto bytes = there ? static_cast<std::size_t>(extents.h * extents.w * extents.c) : 0;
  if (!there || source != bytes || result != bytes) {
    throw ShapeError(fmt::format("warp: an image of {} x {} x {} from {} bytes into {}", extents.h,
                                 extents.w, extents.c, source, result));
  }
  for (const std::size_t row : {std::size_t{0}, std::size_t{3}}) {
    const double furthest = std::abs(matrix[row]) * static_cast<double>(extents.h) +
                            std::abs(matrix[row + 1]) * static_cast<double>(extents.w) +
                            std::abs(matrix[row + 2]);
    if (!(furthest < kFurthest)) {
      throw ShapeError(fmt::format("warp: the matrix ({} {} {}; {} {} {}) leads out of all bounds",
                                   matrix[0], matrix[1], matrix[2], matrix[3], matrix[4],
                                   matrix[5]));
    }
  }
}

template <int C>
void warp_channels(const PixelExtents& extents, const std::uint8_t* source, const Affine& matrix,
                   const WarpOptions& options, std::uint8_t* result) {
  const Warp<C> one(extents, source, options);
  if (options.resampling == Resampling::kNearest) {
    one.nearest(matrix, result);
  } else {
    one.bilinear(matrix, result);
  }
}

}  // namespace

Affine affine_about_origin(const AffineParameters& p) {
  const double theta = radians(p.rotation);
  const double shear = radians(p.shear);
  Affine matrix = {std::cos(theta), -std::sin(theta), 0, std::sin(theta), std::cos(theta), 0};
  matrix = product(matrix, {1, 0, p.shift_y, 0, 1, p.shift_x});
  matrix = product(matrix, {1, -std::sin(shear), 0, 0, std::cos(shear), 0});
  matrix = product(matrix, {p.zoom_y, 0, 0, 0, p.zoom_x, 0});
  return product(matrix,
                 {p.flip_vertical ? -1.0 : 1.0, 0, 0, 0, p.flip_horizontal ? -1.0 : 1.0, 0});
}

Affine affine_about(const Affine& matrix, double row, double column) {
  return product(product({1, 0, row, 0, 1, column}, matrix), {1, 0, -row, 0, 1, -column});
}

Affine affine_about_middle(const AffineParameters& parameters, std::int64_t h, std::int64_t w) {
  return affine_about(affine_about_origin(parameters), static_cast<double>(h - 1) / 2,
                      static_cast<double>(w - 1) / 2);
}

void warp(const PixelExtents& extents, std::span<const std::uint8_t> source, const Affine& matrix,
          const WarpOptions& options, std::span<std::uint8_t> result) {
  check(extents, source.size(), result.size(), matrix);
  if (extents.c == 3) {
    warp_channels<3>(extents, source.data(), matrix, options, result.data());
  } else if (extents.c == 1) {
    warp_channels<1>(extents, source.data(), matrix, options, result.data());
  } else {
    warp_channels<0>(extents, source.data(), matrix, options, result.data());
  }
}

}  // namespace gentrain::data
