// Pooling of any geometry. Windows are cut at the border; vectors run along the channels.
#include "kernels/cpu/simd/tables.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

// The part of a window that lies inside the image: rows [top, bottom), columns [left, right) of it.
struct Window {
  std::int64_t top, bottom, left, right;
  std::int64_t x;  // offset of the uncut window's first pixel in the image tensor; may lie outside
  std::int64_t y;  // offset of the result's pixel
};

// visit(window) for every window in row-major order.
template <class Visit>
void for_each_window(const PoolShape& s, Visit visit) {
  std::int64_t y = 0;
  for (std::int64_t n = 0; n < s.n; ++n) {
    for (std::int64_t oh = 0; oh < s.oh; ++oh) {
      const std::int64_t h = oh * s.stride_h - s.top;
      for (std::int64_t ow = 0; ow < s.ow; ++ow, y += s.c) {
        const std::int64_t w = ow * s.stride_w - s.left;
        visit(Window{larger(0, -h), smaller(s.kh, s.h - h), larger(0, -w), smaller(s.kw, s.w - w),
                     ((n * s.h + h) * s.w + w) * s.c, y});
      }
    }
  }
}

std::int64_t pixel(const PoolShape& s, const Window& window, std::int64_t row,
                   std::int64_t column) {
  return window.x + (row * s.w + column) * s.c;
}

// visit(offset in x, number in the uncut window) for each pixel of a window.
template <class Visit>
void for_each_pixel(const PoolShape& s, const Window& window, Visit visit) {
  for (std::int64_t row = window.top; row < window.bottom; ++row) {
    for (std::int64_t column = window.left; column < window.right; ++column) {
      visit(pixel(s, window, row, column), row * s.kw + column);
    }
  }
}

// visit(first channel, number of channels up to kLanes) for the vectors of a pixel.
template <class Visit>
void for_each_vector(const PoolShape& s, Visit visit) {
  std::int64_t c = 0;
  for (; c + kLanes <= s.c; c += kLanes) {
    visit(c, kLanes);
  }
  if (c < s.c) {
    visit(c, static_cast<int>(s.c - c));
  }
}

Vec load_some(const float* p, int lanes) {
  return lanes == kLanes ? load(p) : load_n(p, lanes);
}

void store_some(float* p, Vec v, int lanes) {
  if (lanes == kLanes) {
    store(p, v);
  } else {
    store_n(p, v, lanes);
  }
}

// Vectors that a window's pixels are read for at a time: as many chains that do not wait for each
// other.
constexpr int kAtOnce = 4;

/// Their channels from c on.
template <int kVectors>
void max_of_window(const PoolShape& s, const Window& window, const float* x, float* y,
                   std::uint8_t* argmax, std::int64_t c) {
  const float* first = x + pixel(s, window, window.top, window.left) + c;
  Vec best[kVectors];
  IntVec where[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    best[v] = load(first + v * kLanes);
    where[v] = broadcast(static_cast<std::int32_t>(window.top * s.kw + window.left));
  }
  for_each_pixel(s, window, [&](std::int64_t offset, std::int64_t number) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vec value = load(x + offset + c + v * kLanes);
      const IntVec above = wins(value, best[v]);
      best[v] = select(above, value, best[v]);
      where[v] = (above & static_cast<std::int32_t>(number)) | (~above & where[v]);
    }
  });
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    store(y + window.y + c + v * kLanes, best[v]);
    store_n(argmax + window.y + c + v * kLanes, __builtin_convertvector(where[v], ByteVec), kLanes);
  }
}

/// The channels from c on, fewer than kLanes of them.
void max_of_rest(const PoolShape& s, const Window& window, const float* x, float* y,
                 std::uint8_t* argmax, std::int64_t c) {
  const int lanes = static_cast<int>(s.c - c);
  Vec best = load_n(x + pixel(s, window, window.top, window.left) + c, lanes);
  IntVec where = broadcast(static_cast<std::int32_t>(window.top * s.kw + window.left));
  for_each_pixel(s, window, [&](std::int64_t offset, std::int64_t number) {
    const Vec value = load_n(x + offset + c, lanes);
    const IntVec above = wins(value, best);
    best = select(above, value, best);
    where = (above & static_cast<std::int32_t>(number)) | (~above & where);
  });
  store_n(y + window.y + c, best, lanes);
  store_n(argmax + window.y + c, __builtin_convertvector(where, ByteVec), lanes);
}

void max_forward(const PoolShape& s, const float* x, float* y, std::uint8_t* argmax) {
  for_each_window(s, [&](const Window& window) {
    std::int64_t c = 0;
    for (; c + kAtOnce * kLanes <= s.c; c += kAtOnce * kLanes) {
      max_of_window<kAtOnce>(s, window, x, y, argmax, c);
    }
    for (; c + kLanes <= s.c; c += kLanes) {
      max_of_window<1>(s, window, x, y, argmax, c);
    }
    if (c < s.c) {
      max_of_rest(s, window, x, y, argmax, c);
    }
  });
}

void zero(float* x, std::int64_t count) {
  __builtin_memset(x, 0, static_cast<unsigned long>(count) * sizeof(float));
}

void max_backward(const PoolShape& s, const float* dy, const std::uint8_t* argmax, float* dx) {
  zero(dx, s.n * s.h * s.w * s.c);
  // Offsets of a window's pixels from its first one. Pixels beyond number 255 are never named.
  std::int64_t offsets[256];
  for (std::int64_t number = 0; number < smaller(256, s.kh * s.kw); ++number) {
    offsets[number] = (number / s.kw * s.w + number % s.kw) * s.c;
  }
  for_each_window(s, [&](const Window& window) {
    for (std::int64_t c = 0; c < s.c; ++c) {
      dx[window.x + offsets[argmax[window.y + c]] + c] += dy[window.y + c];
    }
  });
}

float pixels(const Window& window) {
  return static_cast<float>((window.bottom - window.top) * (window.right - window.left));
}

template <int kVectors>
void average_of_window(const PoolShape& s, const Window& window, const float* x, float* y,
                       std::int64_t c) {
  Vec totals[kVectors] = {};
  for_each_pixel(s, window, [&](std::int64_t offset, std::int64_t) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      totals[v] += load(x + offset + c + v * kLanes);
    }
  });
  const Vec count = broadcast(pixels(window));
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    store(y + window.y + c + v * kLanes, totals[v] / count);
  }
}

void average_of_rest(const PoolShape& s, const Window& window, const float* x, float* y,
                     std::int64_t c) {
  const int lanes = static_cast<int>(s.c - c);
  Vec total{};
  for_each_pixel(s, window, [&](std::int64_t offset, std::int64_t) {
    total += load_n(x + offset + c, lanes);
  });
  store_n(y + window.y + c, total / broadcast(pixels(window)), lanes);
}

void average_forward(const PoolShape& s, const float* x, float* y) {
  for_each_window(s, [&](const Window& window) {
    std::int64_t c = 0;
    for (; c + kAtOnce * kLanes <= s.c; c += kAtOnce * kLanes) {
      average_of_window<kAtOnce>(s, window, x, y, c);
    }
    for (; c + kLanes <= s.c; c += kLanes) {
      average_of_window<1>(s, window, x, y, c);
    }
    if (c < s.c) {
      average_of_rest(s, window, x, y, c);
    }
  });
}

void average_backward(const PoolShape& s, const float* dy, float* dx) {
  zero(dx, s.n * s.h * s.w * s.c);
  for_each_window(s, [&](const Window& window) {
    for_each_vector(s, [&](std::int64_t c, int lanes) {
      const Vec share = load_some(dy + window.y + c, lanes) / broadcast(pixels(window));
      for_each_pixel(s, window, [&](std::int64_t offset, std::int64_t) {
        float* p = dx + offset + c;
        store_some(p, load_some(p, lanes) + share, lanes);
      });
    });
  });
}

}  // namespace

PoolTable make_pool_table() {
  return {max_forward, max_backward, average_forward, average_backward};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
