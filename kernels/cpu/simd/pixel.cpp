// Pixel shuffle: each pixel is a matrix of c rows and r r columns, turned by r r vectors at a time
// of kLanes channels each; what is missing of the last ones is a copy that zeros fill up. r = 2
// turns its four vectors by shuffles, other r element by element.
#include "kernels/cpu/simd/rectify.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

// Elements with even and odd numbers of two vectors, one behind the other.
Vec evens(Vec a, Vec b) {
#if GENTRAIN_SIMD_LANES == 16
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#else
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#endif
}
Vec odds(Vec a, Vec b) {
#if GENTRAIN_SIMD_LANES == 16
  return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#else
  return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#endif
}
// The first and the second vector of both in turns: evens and odds take them apart again.
Vec first_turns(Vec a, Vec b) {
#if GENTRAIN_SIMD_LANES == 16
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#else
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#endif
}
Vec second_turns(Vec a, Vec b) {
#if GENTRAIN_SIMD_LANES == 16
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
#else
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#endif
}

// v[k] = elements k, k + 4, k + 8, ... of the 4 kLanes at p.
void take_apart(const float* p, Vec (&v)[4]) {
  const Vec even_low = evens(load(p), load(p + kLanes));
  const Vec odd_low = odds(load(p), load(p + kLanes));
  const Vec even_high = evens(load(p + 2 * kLanes), load(p + 3 * kLanes));
  const Vec odd_high = odds(load(p + 2 * kLanes), load(p + 3 * kLanes));
  v[0] = evens(even_low, even_high);
  v[1] = evens(odd_low, odd_high);
  v[2] = odds(even_low, even_high);
  v[3] = odds(odd_low, odd_high);
}

void put_together(const Vec (&v)[4], float* p) {
  const Vec even_low = first_turns(v[0], v[2]);
  const Vec even_high = second_turns(v[0], v[2]);
  const Vec odd_low = first_turns(v[1], v[3]);
  const Vec odd_high = second_turns(v[1], v[3]);
  store(p, first_turns(even_low, odd_low));
  store(p + kLanes, second_turns(even_low, odd_low));
  store(p + 2 * kLanes, first_turns(even_high, odd_high));
  store(p + 3 * kLanes, second_turns(even_high, odd_high));
}

// visit(offset of a pixel with c r r channels, offset of the first of its r x r pixels).
template <class Visit>
inline void for_each_pixel(const ShuffleShape& s, Visit visit) {
  for (std::int64_t row = 0; row < s.n * s.h; ++row) {
    for (std::int64_t column = 0; column < s.w; ++column) {
      visit((row * s.w + column) * s.c * s.r * s.r, (row * s.r * s.w + column) * s.r * s.c);
    }
  }
}

// The offset of pixel k, row by row, of an r x r square from its first.
std::int64_t place(const ShuffleShape& s, std::int64_t k) {
  return (k / s.r * s.w * s.r + k % s.r) * s.c;
}

template <Rectifier kKind>
void shuffle_two(const ShuffleShape& s, Vec slope, const float* x, float* y) {
  const std::int64_t places[4] = {place(s, 0), place(s, 1), place(s, 2), place(s, 3)};
  for_each_pixel(s, [&](std::int64_t from, std::int64_t to) {
    std::int64_t c = 0;
    Vec v[4];
    for (; c + kLanes <= s.c; c += kLanes) {
      take_apart(x + from + 4 * c, v);
      for (int k = 0; k < 4; ++k) {
        store(y + to + places[k] + c, rectify<kKind>(v[k], slope));
      }
    }
    if (const int rest = static_cast<int>(s.c - c); rest > 0) {
      float copy[4 * kLanes] = {};
      __builtin_memcpy(copy, x + from + 4 * c, static_cast<unsigned>(4 * rest) * sizeof(float));
      take_apart(copy, v);
      for (int k = 0; k < 4; ++k) {
        store_n(y + to + places[k] + c, rectify<kKind>(v[k], slope), rest);
      }
    }
  });
}

template <Rectifier kKind>
void shuffle_two_backward(const ShuffleShape& s, Vec slope, const float* y, const float* dy,
                          float* dx) {
  const std::int64_t places[4] = {place(s, 0), place(s, 1), place(s, 2), place(s, 3)};
  const auto gradient = [&](std::int64_t at, int lanes) {
    const Vec result = kKind == Rectifier::kNone ? Vec{} : load_n(y + at, lanes);
    return rectify_backward<kKind>(result, load_n(dy + at, lanes), slope);
  };
  for_each_pixel(s, [&](std::int64_t to, std::int64_t from) {
    std::int64_t c = 0;
    Vec v[4];
    for (; c + kLanes <= s.c; c += kLanes) {
      for (int k = 0; k < 4; ++k) {
        v[k] = gradient(from + places[k] + c, kLanes);
      }
      put_together(v, dx + to + 4 * c);
    }
    if (const int rest = static_cast<int>(s.c - c); rest > 0) {
      for (int k = 0; k < 4; ++k) {
        v[k] = gradient(from + places[k] + c, rest);
      }
      float copy[4 * kLanes];
      put_together(v, copy);
      __builtin_memcpy(dx + to + 4 * c, copy, static_cast<unsigned>(4 * rest) * sizeof(float));
    }
  });
}

// visit(offset with c r r channels, offset with c, lanes): kLanes channels of one pixel of a
// square.
template <class Visit>
inline void for_each_strip(const ShuffleShape& s, Visit visit) {
  for_each_pixel(s, [&](std::int64_t many, std::int64_t few) {
    for (std::int64_t k = 0; k < s.r * s.r; ++k) {
      for (std::int64_t c = 0; c < s.c; c += kLanes) {
        visit(many + c * s.r * s.r + k, few + place(s, k) + c,
              static_cast<int>(smaller(kLanes, s.c - c)));
      }
    }
  });
}

template <Rectifier kKind>
void shuffle_any(const ShuffleShape& s, Vec slope, const float* x, float* y) {
  for_each_strip(s, [&](std::int64_t from, std::int64_t to, int lanes) {
    Vec v{};
    for (int i = 0; i < lanes; ++i) {
      v[i] = x[from + i * s.r * s.r];
    }
    store_n(y + to, rectify<kKind>(v, slope), lanes);
  });
}

template <Rectifier kKind>
void shuffle_any_backward(const ShuffleShape& s, Vec slope, const float* y, const float* dy,
                          float* dx) {
  for_each_strip(s, [&](std::int64_t to, std::int64_t from, int lanes) {
    const Vec result = kKind == Rectifier::kNone ? Vec{} : load_n(y + from, lanes);
    const Vec v = rectify_backward<kKind>(result, load_n(dy + from, lanes), slope);
    for (int i = 0; i < lanes; ++i) {
      dx[to + i * s.r * s.r] = v[i];
    }
  });
}

void shuffle(const ShuffleShape& s, float slope, const float* x, float* y) {
  with_rectifier(slope, [&](auto kind) {
    if (s.r == 2) {
      shuffle_two<kind.kValue>(s, broadcast(slope), x, y);
    } else {
      shuffle_any<kind.kValue>(s, broadcast(slope), x, y);
    }
  });
}

void shuffle_backward(const ShuffleShape& s, float slope, const float* y, const float* dy,
                      float* dx) {
  with_rectifier(slope, [&](auto kind) {
    if (s.r == 2) {
      shuffle_two_backward<kind.kValue>(s, broadcast(slope), y, dy, dx);
    } else {
      shuffle_any_backward<kind.kValue>(s, broadcast(slope), y, dy, dx);
    }
  });
}

}  // namespace

PixelTable make_pixel_table() {
  return {shuffle, shuffle_backward};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
