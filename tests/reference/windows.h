// What convolution and pooling share: windows that slide over an image, and which pixel each of
// their positions falls on.
#pragma once

#include <cstdint>

namespace gentrain::reference {

/// Position (kh, kw) of the window of result pixel (n, oh, ow) lies on input pixel (n, h, w).
struct Tap {
  std::int64_t n, oh, ow;
  std::int64_t kh, kw;
  std::int64_t h, w;
};

/// Pixels from one position of a window to the next.
struct Step {
  std::int64_t h = 1, w = 1;
};

/// More than one only where the geometry has dilation.
template <class Geometry>
Step step_of(const Geometry& g) {
  if constexpr (requires { g.dilation_h; }) {
    return {g.dilation_h, g.dilation_w};
  } else {
    return {};
  }
}

/// Visits the taps of one window that lie inside the image, in row-major order.
template <class Geometry, class Visit>
void for_each_tap(const Geometry& g, std::int64_t n, std::int64_t oh, std::int64_t ow,
                  Visit visit) {
  const Step step = step_of(g);
  for (std::int64_t kh = 0; kh < g.kh; ++kh) {
    for (std::int64_t kw = 0; kw < g.kw; ++kw) {
      const std::int64_t h = oh * g.stride_h + kh * step.h - g.top;
      const std::int64_t w = ow * g.stride_w + kw * step.w - g.left;
      if (h >= 0 && h < g.h && w >= 0 && w < g.w) {
        visit(Tap{n, oh, ow, kh, kw, h, w});
      }
    }
  }
}

/// Visits the taps of all windows, image by image, windows in row-major order.
template <class Geometry, class Visit>
void for_each_tap(const Geometry& g, Visit visit) {
  for (std::int64_t n = 0; n < g.n; ++n) {
    for (std::int64_t oh = 0; oh < g.oh(); ++oh) {
      for (std::int64_t ow = 0; ow < g.ow(); ++ow) {
        for_each_tap(g, n, oh, ow, visit);
      }
    }
  }
}

}  // namespace gentrain::reference
