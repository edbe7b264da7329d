// Pixel shuffle, shrinking by Gaussian means and ranges of channels, element by element.
#include "kernels/pixel.h"

#include <cmath>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/reference/activation.h"
#include "tests/reference/families.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

namespace {

/// The shape [n, h, w, c r r] that belongs to `shape`, [n, h r, w r, c].
Shape narrow_shape(const char* routine, const char* name, const Shape& shape, std::int64_t r) {
  if (r < 1 || shape.rank() != 4 || shape.elements() == 0 || shape[1] % r != 0 ||
      shape[2] % r != 0) {
    throw ShapeError(fmt::format(
        "{}: {} has shape {}: [n, h r, w r, c] that is not empty needed, r = {} at least 1",
        routine, name, shape.str(), r));
  }
  return {shape[0], shape[1] / r, shape[2] / r, shape[3] * r * r};
}

/// visit(number of an element of [n, h r, w r, c], number in [n, h, w, c r r])
template <class Visit>
void for_each_move(const Shape& wide, const Shape& narrow, std::int64_t r, Visit visit) {
  std::int64_t to = 0;
  for (std::int64_t n = 0; n < wide[0]; ++n) {
    for (std::int64_t h = 0; h < wide[1]; ++h) {
      for (std::int64_t w = 0; w < wide[2]; ++w) {
        for (std::int64_t c = 0; c < wide[3]; ++c, ++to) {
          const std::int64_t pixel = (n * narrow[1] + h / r) * narrow[2] + w / r;
          visit(to, pixel * narrow[3] + (c * r + h % r) * r + w % r);
        }
      }
    }
  }
}

class Pixel final : public PixelKernels {
 public:
  void shuffle(Queue& /*queue*/, std::int64_t r, double slope, ConstView x, View y) override {
    check_slope("pixel shuffle", slope);
    const Shape narrow = narrow_shape("pixel shuffle", "y", y.shape, r);
    const Call call("pixel shuffle", y.dtype);
    const Values source = call.load("x", x, narrow);
    Values result(y.shape);
    for_each_move(y.shape, narrow, r, [&](std::int64_t to, std::int64_t from) {
      result[to] = rectify(slope, source[from]);
    });
    call.store("y", result, y);
  }

  void shuffle_backward(Queue& /*queue*/, std::int64_t r, double slope, ConstView y, ConstView dy,
                        View dx) override {
    check_slope("pixel shuffle backward", slope);
    const Shape narrow = narrow_shape("pixel shuffle backward", "dy", dy.shape, r);
    const Call call("pixel shuffle backward", dx.dtype);
    const Values gradient = call.load("dy", dy, dy.shape);
    const Values result = slope == 1 ? gradient : call.load("y", y, dy.shape);
    Values moved(narrow);
    for_each_move(dy.shape, narrow, r, [&](std::int64_t from, std::int64_t to) {
      moved[to] = gradient[from] * (slope == 1 || result[from] > 0 ? 1 : slope);
    });
    call.store("dx", moved, dx);
  }

  void gaussian_shrink(Queue& /*queue*/, std::int64_t r, double sigma, ConstView x,
                       View y) override {
    const Shape& s = y.shape;
    if (s.rank() != 3 || s.elements() == 0 || r < 1 || r > kLargestShrink ||
        !(sigma >= kLeastSigma) || sigma > static_cast<double>(kLargestShrink)) {
      throw ShapeError(fmt::format(
          "gaussian shrink: y has shape {}, r = {}, sigma = {}: [a, l / r, b] that is not empty, r "
          "from 1 to {} and sigma from {} to {} needed",
          s.str(), r, sigma, kLargestShrink, kLeastSigma, kLargestShrink));
    }
    const Call call("gaussian shrink", y.dtype);
    const std::int64_t length = s[1] * r;
    const Values source = call.load("x", x, {s[0], length, s[2]});
    Values result(s);
    for (std::int64_t to = 0; to < s.elements(); ++to) {
      const std::int64_t a = to / (s[1] * s[2]);
      const std::int64_t i = to / s[2] % s[1];
      double sum = 0;
      double weights = 0;
      for (std::int64_t j = 0; j < length; ++j) {
        const double d = static_cast<double>(2 * (j - i * r) - (r - 1)) / 2;
        if (std::abs(d) <= 3 * sigma + static_cast<double>(r) / 2) {
          const double weight = std::exp(-0.5 * (d / sigma) * (d / sigma));
          weights += weight;
          sum += weight * source[(a * length + j) * s[2] + to % s[2]];
        }
      }
      result[to] = sum / weights;
    }
    call.store("y", result, y);
  }

  void put_channels(Queue& /*queue*/, std::int64_t first, ConstView x, View y) override {
    const Call call("put channels", y.dtype);
    const Values source = call.load("x", x, x.shape);
    Values result = call.load("y", y, y.shape);
    const ChannelRange range = channel_range("put channels", first, x.shape, y.shape);
    for (std::int64_t i = 0; i < source.elements(); ++i) {
      result[i / range.few * range.width + first + i % range.few] = source[i];
    }
    call.store("y", result, y);
  }

  void take_channels(Queue& /*queue*/, std::int64_t first, ConstView x, View y) override {
    const Call call("take channels", y.dtype);
    const Values source = call.load("x", x, x.shape);
    Values result = call.load("y", y, y.shape);
    const ChannelRange range = channel_range("take channels", first, y.shape, x.shape);
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      result[i] = source[i / range.few * range.width + first + i % range.few];
    }
    call.store("y", result, y);
  }
};

}  // namespace

std::unique_ptr<PixelKernels> make_pixel() {
  return std::make_unique<Pixel>();
}

}  // namespace gentrain::reference
