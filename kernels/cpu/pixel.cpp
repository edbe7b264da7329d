// Pixel shuffle: checks, then the vector kernels. Shrinking by Gaussian means, which only small
// images of the input go through, is plain. Channels are moved as bytes, so bf16 as f32.
#include "kernels/pixel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/simd.h"
#include "kernels/error.h"

namespace gentrain::cpu {

namespace {

/// As many weights as the largest r and sigma have.
using ShrinkWeights = std::array<float, 7 * kLargestShrink + 2>;

/// The weights of element i of the result, for elements `first` and following of x.
struct Window {
  std::int64_t first = 0;
  std::span<const float> weights;
};

struct Shrinking {
  std::int64_t length = 0;  // of x's axis
  std::int64_t r = 1;
  double sigma = 0;
};

Window window_of(std::int64_t i, const Shrinking& shrinking, ShrinkWeights& weights) {
  const auto& [length, r, sigma] = shrinking;
  const double middle = static_cast<double>(i * r) + static_cast<double>(r - 1) / 2;
  const double reach = 3 * sigma + static_cast<double>(r) / 2;
  const auto first =
      std::max(std::int64_t{0}, static_cast<std::int64_t>(std::ceil(middle - reach)));
  const auto last = std::min(length - 1, static_cast<std::int64_t>(std::floor(middle + reach)));
  const auto weight = [&](std::int64_t j) {
    const double d = static_cast<double>(j) - middle;
    return std::exp(-d * d / (2 * shrinking.sigma * shrinking.sigma));
  };
  double sum = 0;
  for (std::int64_t j = first; j <= last; ++j) {
    sum += weight(j);
  }
  for (std::int64_t j = first; j <= last; ++j) {
    weights[static_cast<std::size_t>(j - first)] = static_cast<float>(weight(j) / sum);
  }
  return {first, std::span(weights).first(static_cast<std::size_t>(last - first + 1))};
}

/// Element i of the result, [a, y[1], b], for all a and b.
void shrink(const Shape& y, std::int64_t i, const Shrinking& shrinking, const float* from,
            float* to) {
  ShrinkWeights weights;
  const Window window = window_of(i, shrinking, weights);
  const std::int64_t width = y[2];
  for (std::int64_t a = 0; a < y[0]; ++a) {
    const float* row = from + (a * shrinking.length + window.first) * width;
    float* sum = to + (a * y[1] + i) * width;
    std::fill_n(sum, width, 0.0F);
    for (const float weight : window.weights) {
      for (std::int64_t b = 0; b < width; ++b) {
        sum[b] += weight * row[b];
      }
      row += width;
    }
  }
}

/// f32 or bf16, the same of both.
void require_channels(const char* routine, ConstView x, ConstView y) {
  const Arguments arguments(routine);
  const DType type = x.dtype == DType::kBf16 ? DType::kBf16 : DType::kF32;
  arguments.require("x", x, x.shape, type);
  arguments.require("y", y, y.shape, type);
}

class Pixel final : public PixelKernels {
 public:
  explicit Pixel(const Backend& backend) : table_(backend.simd->pixel) {}

  void shuffle(Queue& /*queue*/, std::int64_t r, double slope, ConstView x, View y) override {
    const Arguments arguments("pixel shuffle");
    arguments.require_slope(slope);
    const simd::ShuffleShape s = shape_of(arguments, "y", y, r);
    arguments.require("x", x, {s.n, s.h, s.w, s.c * r * r});
    table_.shuffle(s, static_cast<float>(slope), x.as<float>(), y.as<float>());
  }

  void shuffle_backward(Queue& /*queue*/, std::int64_t r, double slope, ConstView y, ConstView dy,
                        View dx) override {
    const Arguments arguments("pixel shuffle backward");
    arguments.require_slope(slope);
    const simd::ShuffleShape s = shape_of(arguments, "dy", dy, r);
    if (slope != 1) {
      arguments.require("y", y, dy.shape);
    }
    arguments.require("dx", dx, {s.n, s.h, s.w, s.c * r * r});
    table_.shuffle_backward(s, static_cast<float>(slope), y.as<float>(), dy.as<float>(),
                            dx.as<float>());
  }

  void gaussian_shrink(Queue& /*queue*/, std::int64_t r, double sigma, ConstView x,
                       View y) override {
    const Arguments arguments("gaussian shrink");
    constexpr auto kLargest = static_cast<double>(kLargestShrink);
    const Shape& s = y.shape;
    if (s.rank() != 3 || s.elements() == 0 || r < 1 || r > kLargestShrink ||
        !(sigma >= kLeastSigma && sigma <= kLargest)) {
      throw ShapeError(fmt::format(
          "gaussian shrink: y has shape {}, r = {}, sigma = {}: [a, l / r, b] that is not empty, r "
          "from 1 to {} and sigma from {} to {} needed",
          s.str(), r, sigma, kLargestShrink, kLeastSigma, kLargestShrink));
    }
    const std::int64_t length = s[1] * r;
    arguments.require("x", x, {s[0], length, s[2]});
    arguments.require("y", y, s);
    for (std::int64_t i = 0; i < s[1]; ++i) {
      shrink(s, i, {length, r, sigma}, x.as<float>(), y.as<float>());
    }
  }

  void put_channels(Queue& /*queue*/, std::int64_t first, ConstView x, View y) override {
    constexpr const char* kRoutine = "put channels";
    require_channels(kRoutine, x, y);
    const ChannelRange range = channel_range(kRoutine, first, x.shape, y.shape);
    const std::size_t size = size_of(x.dtype);
    const std::size_t few = static_cast<std::size_t>(range.few) * size;
    const std::size_t width = static_cast<std::size_t>(range.width) * size;
    const auto* from = x.as<std::byte>();
    auto* to = y.as<std::byte>() + static_cast<std::size_t>(first) * size;
    for (std::int64_t row = 0; row < range.rows; ++row, from += few, to += width) {
      std::memcpy(to, from, few);
    }
  }

  void take_channels(Queue& /*queue*/, std::int64_t first, ConstView x, View y) override {
    constexpr const char* kRoutine = "take channels";
    require_channels(kRoutine, x, y);
    const ChannelRange range = channel_range(kRoutine, first, y.shape, x.shape);
    const std::size_t size = size_of(x.dtype);
    const std::size_t few = static_cast<std::size_t>(range.few) * size;
    const std::size_t width = static_cast<std::size_t>(range.width) * size;
    const auto* from = x.as<std::byte>() + static_cast<std::size_t>(first) * size;
    auto* to = y.as<std::byte>();
    for (std::int64_t row = 0; row < range.rows; ++row, from += width, to += few) {
      std::memcpy(to, from, few);
    }
  }

 private:
  /// The extents by which `view`, [n, h r, w r, c], fits.
  static simd::ShuffleShape shape_of(const Arguments& arguments, std::string_view name,
                                     ConstView view, std::int64_t r) {
    const Shape& s = view.shape;
    if (r < 1 || s.rank() != 4 || s.elements() == 0 || s[1] % r != 0 || s[2] % r != 0) {
      throw ShapeError(fmt::format(
          "{}: {} has shape {}: [n, h r, w r, c] that is not empty needed, r = {} at least 1",
          arguments.routine(), name, s.str(), r));
    }
    arguments.require(name, view, s);
    return {s[0], s[1] / r, s[2] / r, s[3], r};
  }

  const simd::PixelTable& table_;
};

}  // namespace

std::unique_ptr<PixelKernels> make_pixel(const Backend& backend) {
  return std::make_unique<Pixel>(backend);
}

}  // namespace gentrain::cpu
