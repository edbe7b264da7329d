// Gradients of the fused convolution and max pooling. Only the argmax of each 2x2 window carries
// one, so that both routines do a quarter of a convolution's products, image by image in NHWC:
//
// weights: dw [o][i] += dp * (kw * c floats of x's row i below the argmax), sums of several rows
//          staying in registers over the windows of a few images; these partial sums are added in
//          order.
// data:    the (kh + 1) x (kw + 1) pixels below a window get sum over o of dp * w [o], w standing
// in a
//          frame of zeros, one pixel to the right or below where the argmax is; windows in
//          row-major order.
#include "kernels/cpu/simd/conv_pool_parts.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {
namespace {

template <int N>
struct Floats;
template <>
struct Floats<8> {
  typedef float Type __attribute__((vector_size(32), aligned(4), may_alias));  // NOLINT
};
template <>
struct Floats<16> {
  typedef float Type __attribute__((vector_size(64), aligned(4), may_alias));  // NOLINT
};

// Vectors of N lanes, where a row fills no more than 8 of 16.
template <int N>
struct Row {
  using Type = typename Floats<N>::Type;
  static Type read(const float* p) { return *reinterpret_cast<const Type*>(p); }
  static void write(float* p, Type v) { *reinterpret_cast<Type*>(p) = v; }
  static Type all(float x) { return x - Type{}; }
  static Type fused(Type a, Type b, Type c) {
    if constexpr (N == kLanes) {
      return (Type)fma((Vec)a, (Vec)b, (Vec)c);
    } else {
      return (Type)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    }
  }
};

constexpr int kSums = kLanes == 16 ? 24 : 12;  // accumulators out of 32 (AVX-512) or 16 registers
constexpr int kMostColumns = 6;                // vectors side by side
constexpr int kMostRows = 6;
constexpr std::int64_t kSlack = 16;  // floats that a row may be overread by

constexpr int most_rows(std::int64_t columns) {
  const int rows = kSums / static_cast<int>(columns);
  return rows < kMostRows ? rows : kMostRows;
}

// A part of the windows' pixels: rows [row, row + rows) and vectors [column, column + columns).
struct Part {
  std::int64_t row, rows, column, columns;
};

// What both routines walk over.
struct Windows {
  std::int64_t ph, pw, oc, c;
  std::int64_t row;        // floats of a row of x
  std::int64_t stride;     // floats of a row of the packed weights or their gradients
  std::int64_t channel;    // floats of one output channel there
  std::int64_t offset[4];  // by argmax
};

// Calls visit.template part<N, columns, rows>(part) for parts that cover rows x (columns of N
// lanes).
template <int N, int kColumns, int kRows, class Visitor>
void visit_part(const Visitor& visitor, const Part& part) {
  if (part.columns == kColumns && part.rows == kRows) {
    visitor.template run<N, kColumns, kRows>(part);
  } else if constexpr (kRows > 1) {
    visit_part<N, kColumns, kRows - 1>(visitor, part);
  } else if constexpr (kColumns > 1) {
    visit_part<N, kColumns - 1, most_rows(kColumns - 1)>(visitor, part);
  }
}

template <int N, class Visitor>
void visit_parts(const Visitor& visitor, std::int64_t rows, std::int64_t columns) {
  const std::int64_t column_groups = group_count(columns, kMostColumns);
  for (std::int64_t g = 0; g < column_groups; ++g) {
    Part part{};
    part.column = group_begin(columns, column_groups, g);
    part.columns = group_begin(columns, column_groups, g + 1) - part.column;
    const std::int64_t row_groups = group_count(rows, most_rows(part.columns));
    for (std::int64_t k = 0; k < row_groups; ++k) {
      part.row = group_begin(rows, row_groups, k);
      part.rows = group_begin(rows, row_groups, k + 1) - part.row;
      visit_part<N, kMostColumns, most_rows(kMostColumns)>(visitor, part);
    }
  }
}

inline int lanes_for(std::int64_t floats) {
  return floats <= 8 ? 8 : kLanes;
}

void zero(float* p, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    p[i] = 0;
  }
}

// ---- weights

// Adds to sums [o][i][stride] and dbias [o] what `images` images give.
struct WeightSums {
  Windows w;
  std::int64_t images, size;  // of x, floats of one
  const float* x;
  const float* dp;
  const std::uint8_t* argmax;
  float* sums;
  float* dbias;

  // kChannels output channels from `o` on share the walk.
  template <int N, int kColumns, int kRows, int kChannels>
  void channels(const Part& part, std::int64_t o) const {
    using R = Row<N>;
    typename R::Type acc[kChannels][kRows][kColumns] = {};
    typename R::Type bias[kChannels] = {};
    const float* d = dp + o;
    const std::uint8_t* a = argmax + o;
    for (std::int64_t n = 0; n < images; ++n) {
      const float* line = x + n * size + part.row * w.row + part.column * N;
      for (std::int64_t r = 0; r < w.ph; ++r, line += 2 * w.row) {
        const float* window = line;
        for (std::int64_t q = 0; q < w.pw; ++q, window += 2 * w.c, d += w.oc, a += w.oc) {
#pragma GCC unroll 2
          for (int k = 0; k < kChannels; ++k) {
            const typename R::Type factor = R::all(d[k]);
            const float* p = window + w.offset[a[k]];
            bias[k] += factor;
#pragma GCC unroll 6
            for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
              for (int v = 0; v < kColumns; ++v) {
                acc[k][i][v] = R::fused(R::read(p + i * w.row + v * N), factor, acc[k][i][v]);
              }
            }
          }
        }
      }
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

// Images whose sums stay in registers: about 16 KiB of x, so that the walks find them in the cache.
std::int64_t group_images(const ConvPoolShape& s) {
  return larger(1, smaller(s.n, 4096 / image_size(s)));
}

struct WeightScratch {
  float* sums;
  float* dbias;
  float* images;
};
WeightScratch weight_scratch(const ConvPoolShape& s, Scratch& scratch) {
  return {scratch.floats(s.oc * s.kh * round_up(s.kw * s.c, lanes_for(s.kw * s.c))),
          scratch.floats(s.oc), scratch.floats(group_images(s) * image_size(s) + kSlack)};
}

Windows windows_of(const ConvPoolShape& s) {
  Windows w{};
  w.ph = pooled_h(s);
  w.pw = pooled_w(s);
  w.oc = s.oc;
  w.c = s.c;
  w.row = s.w * s.c;
  return w;
}

// ---- data

// Adds to dx what the windows of one image give. weights: [column of the argmax][o][kh +
// 2][stride].
struct DataSums {
  Windows w;
  const float* dp;
  const std::uint8_t* argmax;
  const float* weights;
  float* dx;

  template <int N, int kColumns, int kRows>
  void run(const Part& part) const {
    using R = Row<N>;
    const float* from = weights + part.row * w.stride + part.column * N;
    const float* d = dp;
    const std::uint8_t* a = argmax;
    float* line = dx + part.row * w.row + part.column * N;
    for (std::int64_t r = 0; r < w.ph; ++r, line += 2 * w.row) {
      float* window = line;
      for (std::int64_t q = 0; q < w.pw; ++q, window += 2 * w.c, d += w.oc, a += w.oc) {
        typename R::Type acc[kRows][kColumns] = {};
        const float* channel = from;
        for (std::int64_t o = 0; o < w.oc; ++o, channel += w.channel) {
          const typename R::Type factor = R::all(d[o]);
          const float* p = channel + w.offset[a[o]];
#pragma GCC unroll 6
          for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
            for (int v = 0; v < kColumns; ++v) {
              acc[i][v] = R::fused(R::read(p + i * w.stride + v * N), factor, acc[i][v]);
            }
          }
        }
#pragma GCC unroll 6
        for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
          for (int v = 0; v < kColumns; ++v) {
            float* to = window + i * w.row + v * N;
            R::write(to, R::read(to) + acc[i][v]);
          }
        }
      }
    }
  }
};

std::int64_t frame_stride(const ConvPoolShape& s) {
  const std::int64_t floats = (s.kw + 1) * s.c;
  return round_up(floats, lanes_for(floats));
}

struct DataScratch {
  float* weights;
  float* image;
};
DataScratch data_scratch(const ConvPoolShape& s, Scratch& scratch) {
  return {scratch.floats(2 * s.oc * (s.kh + 2) * frame_stride(s)),
          scratch.floats(image_size(s) + kSlack)};
}

// Two copies of w in frames of zeros, the second one pixel to the right.
void pack(const ConvPoolShape& s, const float* w, float* frames) {
  const std::int64_t stride = frame_stride(s);
  zero(frames, 2 * s.oc * (s.kh + 2) * stride);
  for (std::int64_t shift = 0; shift < 2; ++shift) {
    for (std::int64_t o = 0; o < s.oc; ++o) {
      for (std::int64_t i = 0; i < s.kh; ++i) {
        float* to = frames + ((shift * s.oc + o) * (s.kh + 2) + i + 1) * stride + shift * s.c;
        __builtin_memcpy(to, w + (o * s.kh + i) * s.kw * s.c,
                         static_cast<unsigned long>(s.kw * s.c) * 4);
      }
    }
  }
}

}  // namespace

std::int64_t conv_pool_backward_weights_scratch(const ConvPoolShape& s) {
  Scratch scratch(nullptr);
  weight_scratch(s, scratch);
  return scratch.used();
}

void conv_pool_backward_weights(const ConvPoolShape& s, const float* x, const float* dp,
                                const std::uint8_t* argmax, float* dw, float* dbias,
                                void* scratch) {
  Scratch pieces(scratch);
  const WeightScratch own = weight_scratch(s, pieces);
  const std::int64_t taps = s.kw * s.c;
  const int lanes = lanes_for(taps);
  WeightSums task{};
  task.w = windows_of(s);
  task.w.stride = round_up(taps, lanes);
  task.w.channel = s.kh * task.w.stride;
  for (int a = 0; a < 4; ++a) {
    task.w.offset[a] = a / 2 * task.w.row + a % 2 * s.c;
  }
  task.size = image_size(s);
  task.sums = own.sums;
  task.dbias = own.dbias;
  zero(own.sums, s.oc * task.w.channel);
  zero(own.dbias, s.oc);
  const std::int64_t group = group_images(s);
  for (std::int64_t n = 0; n < s.n; n += group) {
    task.images = smaller(group, s.n - n);
    task.x = x + n * task.size;
    if ((s.n - n - task.images) * task.size < kSlack) {  // no reads behind x
      __builtin_memcpy(own.images, task.x, static_cast<unsigned long>(task.images * task.size) * 4);
      task.x = own.images;
    }
    task.dp = dp + n * pooled_size(s);
    task.argmax = argmax + n * pooled_size(s);
    if (lanes == kLanes) {
      visit_parts<kLanes>(task, s.kh, task.w.stride / kLanes);
    } else {
      visit_parts<8>(task, s.kh, 1);
    }
  }
  for (std::int64_t row = 0; row < s.oc * s.kh; ++row) {
    __builtin_memcpy(dw + row * taps, own.sums + row * task.w.stride,
                     static_cast<unsigned long>(taps) * 4);
  }
  if (dbias != nullptr) {
    __builtin_memcpy(dbias, own.dbias, static_cast<unsigned long>(s.oc) * 4);
  }
}

std::int64_t conv_pool_backward_data_scratch(const ConvPoolShape& s) {
  Scratch scratch(nullptr);
  data_scratch(s, scratch);
  return scratch.used();
}

void conv_pool_backward_data(const ConvPoolShape& s, const float* dp, const std::uint8_t* argmax,
                             const float* w, float* dx, void* scratch) {
  Scratch pieces(scratch);
  const DataScratch own = data_scratch(s, pieces);
  pack(s, w, own.weights);
  DataSums task{};
  task.w = windows_of(s);
  task.w.stride = frame_stride(s);
  task.w.channel = (s.kh + 2) * task.w.stride;
  for (int a = 0; a < 4; ++a) {
    task.w.offset[a] = a % 2 * s.oc * task.w.channel + (1 - a / 2) * task.w.stride;
  }
  task.weights = own.weights;
  const std::int64_t size = image_size(s);
  const int lanes = lanes_for((s.kw + 1) * s.c);
  for (std::int64_t n = 0; n < s.n; ++n) {
    const bool last = (s.n - n - 1) * size < kSlack;  // nothing is touched behind dx
    task.dx = last ? own.image : dx + n * size;
    task.dp = dp + n * pooled_size(s);
    task.argmax = argmax + n * pooled_size(s);
    zero(task.dx, last ? size + kSlack : size);
    if (lanes == kLanes) {
      visit_parts<kLanes>(task, s.kh + 1, task.w.stride / kLanes);
    } else {
      visit_parts<8>(task, s.kh + 1, 1);
    }
    if (last) {
      __builtin_memcpy(dx + n * size, own.image, static_cast<unsigned long>(size) * 4);
    }
  }
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
