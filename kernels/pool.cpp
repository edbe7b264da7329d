// Checks of pooling geometries.
#include "kernels/pool.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/geometry_checks.h"

namespace gentrain {

namespace {

constexpr std::int64_t kMaxPixels = 255;
constexpr GeometryChecks kPoolChecks("pooling", "window");

void check_padding(const char* name, std::int64_t padding, std::int64_t window) {
  kPoolChecks.range(0, name, padding);
  if (padding >= window) {
    throw ShapeError(
        fmt::format("pooling: {} is {}, less than the window's {} needed", name, padding, window));
  }
}

}  // namespace

void check(const PoolGeometry& g) {
  kPoolChecks.range(1, "n (images)", g.n);
  kPoolChecks.range(1, "h (rows)", g.h);
  kPoolChecks.range(1, "w (columns)", g.w);
  kPoolChecks.range(1, "c (channels)", g.c);
  kPoolChecks.range(1, "kh (window rows)", g.kh);
  kPoolChecks.range(1, "kw (window columns)", g.kw);
  kPoolChecks.range(1, "stride_h", g.stride_h);
  kPoolChecks.range(1, "stride_w", g.stride_w);
  if (g.kh > kMaxPixels || g.kw > kMaxPixels || g.kh * g.kw > kMaxPixels) {
    throw ShapeError(fmt::format("pooling: a window of {} x {} pixels, at most {} are supported",
                                 g.kh, g.kw, kMaxPixels));
  }
  check_padding("padding top", g.top, g.kh);
  check_padding("padding bottom", g.bottom, g.kh);
  check_padding("padding left", g.left, g.kw);
  check_padding("padding right", g.right, g.kw);
  kPoolChecks.fits("rows", g.h + g.top + g.bottom, g.kh);
  kPoolChecks.fits("columns", g.w + g.left + g.right, g.kw);
}

}  // namespace gentrain
