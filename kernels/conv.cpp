// Checks of convolution geometries.
#include "kernels/conv.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain {

namespace {

// The sum of an extent and its padding does not overflow.
constexpr std::int64_t kMost = Shape::kMaxElements;

void check_range(std::int64_t least, const char* name, std::int64_t value) {
  if (value < least) {
    throw ShapeError(fmt::format("convolution: {} is {}, at least {} needed", name, value, least));
  }
  if (value > kMost) {
    throw ShapeError(
        fmt::format("convolution: {} is {}, at most {} supported", name, value, kMost));
  }
}

void check_fits(const char* axis, std::int64_t padded, std::int64_t kernel) {
  if (padded < kernel) {
    throw ShapeError(
        fmt::format("convolution: the image has {} {} with its padding, the kernel {}: no result",
                    padded, axis, kernel));
  }
}

}  // namespace

void check(const ConvGeometry& g) {
  check_range(1, "n (images)", g.n);
  check_range(1, "h (rows)", g.h);
  check_range(1, "w (columns)", g.w);
  check_range(1, "c (input channels)", g.c);
  check_range(1, "oc (output channels)", g.oc);
  check_range(1, "kh (kernel rows)", g.kh);
  check_range(1, "kw (kernel columns)", g.kw);
  check_range(1, "stride_h", g.stride_h);
  check_range(1, "stride_w", g.stride_w);
  check_range(0, "padding top", g.top);
  check_range(0, "padding bottom", g.bottom);
  check_range(0, "padding left", g.left);
  check_range(0, "padding right", g.right);
  check_fits("rows", g.h + g.top + g.bottom, g.kh);
  check_fits("columns", g.w + g.left + g.right, g.kw);
}

}  // namespace gentrain
