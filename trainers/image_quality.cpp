// PSNR and SSIM of 8-bit images.
#include "trainers/image_quality.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/io/sha256.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

constexpr double kPeak = 255;
constexpr std::int64_t kWindow = 11;

void check_same(const image::Image& a, const image::Image& b) {
  if (a.h != b.h || a.w != b.w || a.c != b.c) {
    throw ShapeError(fmt::format("images of {} x {} x {} and {} x {} x {} are compared", a.h, a.w,
                                 a.c, b.h, b.w, b.c));
  }
}

std::array<double, kWindow> window() {
  constexpr double kSigma = 1.5;
  std::array<double, kWindow> weights{};
  double sum = 0;
  for (std::int64_t i = 0; i < kWindow; ++i) {
    const auto x = static_cast<double>(i - kWindow / 2);
    weights[static_cast<std::size_t>(i)] = std::exp(-x * x / (2 * kSigma * kSigma));
    sum += weights[static_cast<std::size_t>(i)];
  }
  for (double& weight : weights) {
    weight /= sum;
  }
  return weights;
}

/// A plane of h x w values.
struct Plane {
  std::int64_t h = 0;
  std::int64_t w = 0;
  std::vector<double> values;
  [[nodiscard]] double at(std::int64_t y, std::int64_t x) const {
    return values[static_cast<std::size_t>(y * w + x)];
  }
};

/// Weighted means over all windows inside.
Plane filtered(const Plane& plane) {
  static const std::array<double, kWindow> kWeights = window();
  Plane rows{plane.h, plane.w - kWindow + 1, {}};
  for (std::int64_t y = 0; y < rows.h; ++y) {
    for (std::int64_t x = 0; x < rows.w; ++x) {
      double sum = 0;
      for (std::int64_t i = 0; i < kWindow; ++i) {
        sum += kWeights[static_cast<std::size_t>(i)] * plane.at(y, x + i);
      }
      rows.values.push_back(sum);
    }
  }
  Plane all{plane.h - kWindow + 1, rows.w, {}};
  for (std::int64_t y = 0; y < all.h; ++y) {
    for (std::int64_t x = 0; x < all.w; ++x) {
      double sum = 0;
      for (std::int64_t i = 0; i < kWindow; ++i) {
        sum += kWeights[static_cast<std::size_t>(i)] * rows.at(y + i, x);
      }
      all.values.push_back(sum);
    }
  }
  return all;
}

/// The products of two channels' values, element by element; `b` may be null for ones.
Plane product(const image::Image& a, const image::Image* b, std::int64_t channel) {
  Plane plane{a.h, a.w, {}};
  for (std::size_t i = static_cast<std::size_t>(channel); i < a.pixels.size();
       i += static_cast<std::size_t>(a.c)) {
    plane.values.push_back(static_cast<double>(a.pixels[i]) * (b == nullptr ? 1 : b->pixels[i]));
  }
  return plane;
}

double ssim_of_channel(const image::Image& a, const image::Image& b, std::int64_t channel) {
  constexpr double kC1 = (0.01 * kPeak) * (0.01 * kPeak);
  constexpr double kC2 = (0.03 * kPeak) * (0.03 * kPeak);
  const Plane mean_a = filtered(product(a, nullptr, channel));
  const Plane mean_b = filtered(product(b, nullptr, channel));
  const Plane aa = filtered(product(a, &a, channel));
  const Plane bb = filtered(product(b, &b, channel));
  const Plane ab = filtered(product(a, &b, channel));
  double sum = 0;
  for (std::size_t i = 0; i < aa.values.size(); ++i) {
    const double ma = mean_a.values[i];
    const double mb = mean_b.values[i];
    const double variances = aa.values[i] - ma * ma + bb.values[i] - mb * mb;
    const double covariance = ab.values[i] - ma * mb;
    sum += (2 * ma * mb + kC1) * (2 * covariance + kC2) /
           ((ma * ma + mb * mb + kC1) * (variances + kC2));
  }
  return sum / static_cast<double>(aa.values.size());
}

}  // namespace

double psnr(const image::Image& a, const image::Image& b) {
  constexpr double kOfEqual = 100;
  check_same(a, b);
  double sum = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    const double difference = static_cast<double>(a.pixels[i]) - static_cast<double>(b.pixels[i]);
    sum += difference * difference;
  }
  const double mean = sum / static_cast<double>(a.pixels.size());
  return mean == 0 ? kOfEqual : 10 * std::log10(kPeak * kPeak / mean);
}

double ssim(const image::Image& a, const image::Image& b) {
  check_same(a, b);
  if (a.h < kWindow || a.w < kWindow) {
    throw ShapeError(
        fmt::format("images of {} x {} pixels: SSIM needs {} x {}", a.h, a.w, kWindow, kWindow));
  }
  double sum = 0;
  for (std::int64_t c = 0; c < a.c; ++c) {
    sum += ssim_of_channel(a, b, c);
  }
  return sum / static_cast<double>(a.c);
}

double laplacian_energy(const image::Image& image) {
  if (image.h < 3 || image.w < 3) {
    throw ShapeError(
        fmt::format("an image of {} x {} pixels: its Laplacian needs 3 x 3", image.h, image.w));
  }
  const std::int64_t row = image.w * image.c;
  std::int64_t sum = 0;
  for (std::int64_t y = 1; y + 1 < image.h; ++y) {
    const std::uint8_t* const pixels = image.pixels.data() + y * row;
    for (std::int64_t i = image.c; i < row - image.c; ++i) {
      const std::int64_t value = 4 * pixels[i] - pixels[i - row] - pixels[i + row] -
                                 pixels[i - image.c] - pixels[i + image.c];
      sum += value * value;
    }
  }
  return static_cast<double>(sum) / static_cast<double>((image.h - 2) * (image.w - 2) * image.c);
}

ImageQuality BicubicQuality::of(const image::Image& small, const image::Image& original) {
  io::Sha256 hash;
  for (const image::Image* one : {&small, &original}) {
    const std::int64_t extents[] = {one->h, one->w, one->c};
    hash.update(extents, sizeof extents);
    hash.update(one->pixels.data(), one->pixels.size());
  }
  const std::string key = hash.finish();
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(key); found != known_.end()) {
      return found->second;
    }
  }
  const image::Image large =
      image::image_library().resize(small, original.h, original.w, image::Interpolation::kBicubic);
  const ImageQuality quality{psnr(large, original), ssim(large, original)};
  const std::lock_guard lock(mutex_);
  ++computed_;
  if (known_.size() < kMost) {
    known_.emplace(key, quality);
  }
  return quality;
}

std::int64_t BicubicQuality::computed() const {
  const std::lock_guard lock(mutex_);
  return computed_;
}

}  // namespace gentrain::trainers
