// The (kh + 1) x (kw + 1) pixels of dx below a window get the sum over o of dp * w [o], where w
// stands in a frame of zeros, one pixel further down or to the right as the argmax says. Windows
// follow each other in row-major order, so that each pixel's sum has a fixed one.
#include "kernels/cpu/simd/conv_pool_backward.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {
namespace {

// Adds to dx what the windows of one image give.
struct DataSums {
  Windows w;
  const float* frames;         // see DataScratch
  const std::int32_t* pixels;  // where the windows begin in dx
  float* dx;

  template <int N, int kColumns, int kRows>
  __attribute__((noinline)) void run(const Part& part) const {
    using R = Row<N>;
    const float* from = frames + part.row * w.stride + part.column * N;
    float* to = dx + part.row * w.row + part.column * N;
    const std::int64_t stride = w.stride;
    const float* d = w.dp;
    const std::int32_t* place = w.places;
    for (std::int64_t q = 0; q < w.count; ++q) {
      typename R::Type acc[kRows][kColumns] = {};
      for (std::int64_t left = w.oc; left > 0; --left) {
        const typename R::Type factor = R::all(*d++);
        const float* p = opaque(from + *place++);
#pragma GCC unroll 6
        for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
          for (int v = 0; v < kColumns; ++v) {
            acc[i][v] = R::fused(R::read(p + v * N), factor, acc[i][v]);
          }
          p = opaque(p + stride);
        }
      }
      float* pixel = to + pixels[q];
#pragma GCC unroll 6
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
        for (int v = 0; v < kColumns; ++v) {
          R::write(pixel + v * N, R::read(pixel + v * N) + acc[i][v]);
        }
        pixel = opaque(pixel + w.row);
      }
    }
  }
};

struct DataScratch {
  std::int64_t stride;  // floats of a row of a frame
  std::int64_t copy;    // floats of all frames
  float* frames;        // [2][oc * (kh + 1) + 1][stride]: neighbours share a row of zeros
  float* image;         // stands in for those that a write behind dx would follow
  std::int32_t* pixels;
  std::int32_t* bases;  // where the channels begin in frames, for each window
  std::int32_t* places;
};

DataScratch plan(const ConvPoolShape& s, Scratch& scratch) {
  DataScratch own{};
  const std::int64_t floats = (s.kw + 1) * s.c;
  own.stride = round_up(floats, lanes_for(floats));
  own.copy = (s.oc * (s.kh + 1) + 1) * own.stride;
  own.frames = scratch.floats(2 * own.copy);
  own.image = scratch.floats(image_size(s) + kSlack);
  own.pixels = scratch.integers(pooled_h(s) * pooled_w(s));
  own.bases = scratch.integers(pooled_size(s));
  own.places = scratch.integers(pooled_size(s));
  return own;
}

// Two copies of w in frames of zeros, the second one pixel to the right; and the tables.
void pack(const ConvPoolShape& s, const float* w, const DataScratch& own) {
  const std::int64_t rows = s.kh + 1;
  zero(own.frames, 2 * own.copy);
  for (std::int64_t right = 0; right < 2; ++right) {
    for (std::int64_t o = 0; o < s.oc; ++o) {
      float* to = own.frames + right * own.copy + (o * rows + 1) * own.stride + right * s.c;
      for (std::int64_t i = 0; i < s.kh; ++i) {
        __builtin_memcpy(to + i * own.stride, w + (o * s.kh + i) * s.kw * s.c,
                         static_cast<unsigned long>(s.kw * s.c) * 4);
      }
    }
  }
  const std::int64_t pw = pooled_w(s);
  for (std::int64_t q = 0; q < pooled_h(s) * pw; ++q) {
    own.pixels[q] = static_cast<std::int32_t>((q / pw * 2 * s.w + q % pw * 2) * s.c);
    for (std::int64_t o = 0; o < s.oc; ++o) {
      own.bases[q * s.oc + o] = static_cast<std::int32_t>((o * rows + 1) * own.stride);
    }
  }
}

}  // namespace

std::int64_t conv_pool_backward_data_scratch(const ConvPoolShape& s) {
  Scratch scratch(nullptr);
  plan(s, scratch);
  return scratch.used();
}

void conv_pool_backward_data(const ConvPoolShape& s, const float* dp, const std::uint8_t* argmax,
                             const float* w, float* dx, void* scratch) {
  Scratch pieces(scratch);
  const DataScratch own = plan(s, pieces);
  pack(s, w, own);
  const std::int64_t size = image_size(s);
  const std::int64_t outputs = pooled_size(s);
  const std::int64_t channel = (s.kh + 1) * own.stride;
  for (std::int64_t n = 0; n < s.n; ++n) {
    // Vectors may add zeros to what follows an image.
    const bool last = (s.n - n - 1) * size < kSlack;
    float* to = last ? own.image : dx + n * size;
    zero(to, last ? size + kSlack : size);
    locate(argmax + n * outputs, own.bases, outputs, -own.stride, own.copy, own.places);
    const Windows windows{pooled_h(s) * pooled_w(s), s.oc,      s.w * s.c, own.stride, channel,
                          dp + n * outputs,          own.places};
    visit_parts(DataSums{windows, own.frames, own.pixels, to}, s.kh + 1, (s.kw + 1) * s.c);
    if (last) {
      __builtin_memcpy(dx + n * size, to, static_cast<unsigned long>(size) * 4);
    }
  }
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
