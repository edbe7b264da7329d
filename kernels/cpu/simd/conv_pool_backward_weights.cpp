// dw [o][i] += dp * (kw * c floats of x's row i below the argmax): the sums of several rows stay in
// registers over the windows of a few images; these partial sums are added in the images' order.
#include "kernels/cpu/simd/conv_pool_backward.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {
namespace {

// Rows of taps begin anywhere: longer vectors would nearly always cross a cache line.
constexpr int kRowLanes = 8;

// Adds to sums [o][i][stride] and dbias [o] what a few images give.
struct WeightSums {
  Windows w;
  const float* x;
  float* sums;
  float* dbias;

  // kChannels output channels from `o` on share the walk.
  template <int N, int kColumns, int kRows, int kChannels>
  __attribute__((noinline)) void channels(const Part& part, std::int64_t o) const {
    using R = Row<N>;
    typename R::Type acc[kChannels][kRows][kColumns] = {};
    typename R::Type bias[kChannels] = {};
    const float* from = x + part.row * w.row + part.column * N;
    const std::int64_t row = w.row;
    const float* d = w.dp + o;
    const std::int32_t* place = w.places + o;
    for (std::int64_t left = w.count; left > 0; --left) {
#pragma GCC unroll 2
      for (int k = 0; k < kChannels; ++k) {
        const typename R::Type factor = R::all(d[k]);
        const float* p = opaque(from + place[k]);
        bias[k] += factor;
#pragma GCC unroll 6
        for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
          for (int v = 0; v < kColumns; ++v) {
            acc[k][i][v] = R::fused(R::read(p + v * N), factor, acc[k][i][v]);
          }
          p = opaque(p + row);
        }
      }
      d = opaque(d + w.oc);
      place = opaque(place + w.oc);
    }
#pragma GCC unroll 2
    for (int k = 0; k < kChannels; ++k) {
      float* to = sums + (o + k) * w.channel + part.row * w.stride + part.column * N;
#pragma GCC unroll 6
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
        for (int v = 0; v < kColumns; ++v) {
          float* p = to + i * w.stride + v * N;
          R::write(p, R::read(p) + acc[k][i][v]);
        }
      }
      if (part.row == 0 && part.column == 0) {
        dbias[o + k] += bias[k][0];
      }
    }
  }

  template <int N, int kColumns, int kRows>
  void run(const Part& part) const {
    constexpr bool kPairs = 2 * kColumns * kRows <= kSums;
    std::int64_t o = 0;
    if constexpr (kPairs) {
      for (; o + 2 <= w.oc; o += 2) {
        channels<N, kColumns, kRows, 2>(part, o);
      }
    }
    for (; o < w.oc; ++o) {
      channels<N, kColumns, kRows, 1>(part, o);
    }
  }
};

// Images whose sums stay in registers: about 24 KiB, so that the walks find all in the first cache.
std::int64_t group_images(const ConvPoolShape& s) {
  return larger(1, smaller(s.n, 6144 / (image_size(s) + 3 * pooled_size(s))));
}

struct WeightScratch {
  std::int64_t stride;  // floats of a row of sums
  float* sums;          // [oc][kh][stride]
  float* dbias;
  float* images;        // copies of those that a read behind x would follow
  std::int32_t* bases;  // where the windows of a group begin, for each channel
  std::int32_t* places;
};

WeightScratch plan(const ConvPoolShape& s, Scratch& scratch) {
  WeightScratch own{};
  own.stride = round_up(s.kw * s.c, kRowLanes);
  own.sums = scratch.floats(s.oc * s.kh * own.stride);
  own.dbias = scratch.floats(s.oc);
  own.images = scratch.floats(group_images(s) * image_size(s) + kSlack);
  own.bases = scratch.integers(group_images(s) * pooled_size(s));
  own.places = scratch.integers(group_images(s) * pooled_size(s));
  return own;
}

void fill_bases(const ConvPoolShape& s, std::int32_t* bases) {
  const std::int64_t pw = pooled_w(s);
  for (std::int64_t n = 0; n < group_images(s); ++n) {
    for (std::int64_t q = 0; q < pooled_h(s) * pw; ++q) {
      const std::int64_t pixel = (n * s.h + q / pw * 2) * s.w + q % pw * 2;
      for (std::int64_t o = 0; o < s.oc; ++o) {
        *bases++ = static_cast<std::int32_t>(pixel * s.c);
      }
    }
  }
}

}  // namespace

std::int64_t conv_pool_backward_weights_scratch(const ConvPoolShape& s) {
  Scratch scratch(nullptr);
  plan(s, scratch);
  return scratch.used();
}

void conv_pool_backward_weights(const ConvPoolShape& s, const float* x, const float* dp,
                                const std::uint8_t* argmax, float* dw, float* dbias,
                                void* scratch) {
  Scratch pieces(scratch);
  const WeightScratch own = plan(s, pieces);
  fill_bases(s, own.bases);
  zero(own.sums, s.oc * s.kh * own.stride);
  zero(own.dbias, s.oc);
  const std::int64_t row = s.w * s.c;
  const std::int64_t size = image_size(s);
  const std::int64_t outputs = pooled_size(s);
  const std::int64_t group = group_images(s);
  for (std::int64_t n = 0; n < s.n; n += group) {
    const std::int64_t images = smaller(group, s.n - n);
    const float* from = x + n * size;
    if ((s.n - n - images) * size < kSlack) {
      __builtin_memcpy(own.images, from, static_cast<unsigned long>(images * size) * 4);
      from = own.images;
    }
    locate(argmax + n * outputs, own.bases, images * outputs, row, s.c, own.places);
    const Windows windows{images * pooled_h(s) * pooled_w(s),
                          s.oc,
                          row,
                          own.stride,
                          s.kh * own.stride,
                          dp + n * outputs,
                          own.places};
    visit_parts_of<kRowLanes>(WeightSums{windows, from, own.sums, own.dbias}, s.kh,
                              own.stride / kRowLanes);
  }
  for (std::int64_t i = 0; i < s.oc * s.kh; ++i) {
    __builtin_memcpy(dw + i * s.kw * s.c, own.sums + i * own.stride,
                     static_cast<unsigned long>(s.kw * s.c) * 4);
  }
  if (dbias != nullptr) {
    __builtin_memcpy(dbias, own.dbias, static_cast<unsigned long>(s.oc) * 4);
  }
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
