// Checks of convolution geometries.
#include "kernels/conv.h"

#include <limits>

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/geometry_checks.h"

namespace gentrain {

namespace {

constexpr GeometryChecks kChecks("convolution", "kernel");

/// Of a kernel of `size` rows or columns, at least 1 each; what 64 bits hold at most is more than
/// any padded image has.
std::int64_t covered(std::int64_t size, std::int64_t dilation) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  return size - 1 > (kMost - 1) / dilation ? kMost : (size - 1) * dilation + 1;
}

void divides(std::int64_t groups, const char* name, std::int64_t channels) {
  if (channels % groups != 0) {
    throw ShapeError(fmt::format("convolution: {} is {}, a multiple of the {} groups needed", name,
                                 channels, groups));
  }
}

}  // namespace

void check(const ConvGeometry& g) {
  kChecks.range(1, "n (images)", g.n);
  kChecks.range(1, "h (rows)", g.h);
  kChecks.range(1, "w (columns)", g.w);
  kChecks.range(1, "c (input channels)", g.c);
  kChecks.range(1, "oc (output channels)", g.oc);
  kChecks.range(1, "kh (kernel rows)", g.kh);
  kChecks.range(1, "kw (kernel columns)", g.kw);
  kChecks.range(1, "stride_h", g.stride_h);
  kChecks.range(1, "stride_w", g.stride_w);
  kChecks.range(0, "padding top", g.top);
  kChecks.range(0, "padding bottom", g.bottom);
  kChecks.range(0, "padding left", g.left);
  kChecks.range(0, "padding right", g.right);
  kChecks.range(1, "groups", g.groups);
  kChecks.range(1, "dilation_h", g.dilation_h);
  kChecks.range(1, "dilation_w", g.dilation_w);
  divides(g.groups, "c (input channels)", g.c);
  divides(g.groups, "oc (output channels)", g.oc);
  kChecks.fits("rows", g.h + g.top + g.bottom, covered(g.kh, g.dilation_h));
  kChecks.fits("columns", g.w + g.left + g.right, covered(g.kw, g.dilation_w));
}

}  // namespace gentrain
