// Checks of pooling geometries.
#include "kernels/pool.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain {

namespace {

constexpr std::int64_t kMaxPixels = 255;
// The sum of an extent and its padding does not overflow.
constexpr std::int64_t kMost = Shape::kMaxElements;

void check_range(std::int64_t least, const char* name, std::int64_t value) {
  if (value < least) {
    throw ShapeError(fmt::format("pooling: {} is {}, at least {} needed", name, value, least));
  }
  if (value > kMost) {
    throw ShapeError(fmt::format("pooling: {} is {}, at most {} supported", name, value, kMost));
  }
}

void check_padding(const char* name, std::int64_t padding, std::int64_t window) {
  check_range(0, name, padding);
  if (padding >= window) {
    throw ShapeError(
        fmt::format("pooling: {} is {}, less than the window's {} needed", name, padding, window));
  }
}

void check_fits(const char* axis, std::int64_t padded, std::int64_t window) {
  if (padded < window) {
    throw ShapeError(
        fmt::format("pooling: the image has {} {} with its padding, the window {}: no result",
                    padded, axis, window));
  }
}

}  // namespace

void check(const PoolGeometry& g) {
  check_range(1, "n (images)", g.n);
  check_range(1, "h (rows)", g.h);
  check_range(1, "w (columns)", g.w);
  check_range(1, "c (channels)", g.c);
  check_range(1, "kh (window rows)", g.kh);
  check_range(1, "kw (window columns)", g.kw);
  check_range(1, "stride_h", g.stride_h);
  check_range(1, "stride_w", g.stride_w);
  if (g.kh > kMaxPixels || g.kw > kMaxPixels || g.kh * g.kw > kMaxPixels) {
    throw ShapeError(fmt::format("pooling: a window of {} x {} pixels, at most {} are supported",
                                 g.kh, g.kw, kMaxPixels));
  }
  check_padding("padding top", g.top, g.kh);
  check_padding("padding bottom", g.bottom, g.kh);
  check_padding("padding left", g.left, g.kw);
  check_padding("padding right", g.right, g.kw);
  check_fits("rows", g.h + g.top + g.bottom, g.kh);
  check_fits("columns", g.w + g.left + g.right, g.kw);
}

}  // namespace gentrain
