// Checks of convolution geometries.
#include "kernels/conv.h"

#include "kernels/geometry_checks.h"

namespace gentrain {

namespace {

constexpr GeometryChecks kChecks("convolution", "kernel");

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
  kChecks.fits("rows", g.h + g.top + g.bottom, g.kh);
  kChecks.fits("columns", g.w + g.left + g.right, g.kw);
}

}  // namespace gentrain
