// Gradients of a convolution's images. Pixels whose row and column leave the same rest by the
// strides are reached by the same kernel rows and columns: the results there, one behind the other,
// are the rows of a matrix [block][taps * oc], whose product with those weights are the pixels.
#include "kernels/activation.h"
#include "kernels/cpu/simd/conv_columns_parts.h"
#include "kernels/cpu/simd/gemm_parts.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

/// Along one axis the pixels rest, rest + stride, ...: pixel number k of them is reached by kernel
/// positions first, first + stride, ... below `kernel`, from the results k + shift, k + shift - 1
/// and so on.
struct Axis {
  std::int64_t rest, stride, first, taps, pixels, shift;

  Axis(std::int64_t of, std::int64_t by, std::int64_t padding, std::int64_t kernel,
       std::int64_t extent)
      : rest(of),
        stride(by),
        first((of + padding) % by),
        taps(first < kernel ? (kernel - first + by - 1) / by : 0),
        pixels(of < extent ? (extent - of + by - 1) / by : 0),
        shift((of + padding) / by) {}

  [[nodiscard]] std::int64_t position(std::int64_t tap) const { return first + tap * stride; }
};

/// The pixels of one pair of rests.
struct Class {
  Axis rows, columns;
  std::int64_t taps, depth, pixels;

  Class(const ConvColumnsShape& s, std::int64_t row, std::int64_t column)
      : rows(row, s.stride_h, s.top, s.kh, s.h),
        columns(column, s.stride_w, s.left, s.kw, s.w),
        taps(rows.taps * columns.taps),
        depth(taps * s.oc),
        pixels(s.n * rows.pixels * columns.pixels) {}

  /// Pixels computed at once. There must be products.
  [[nodiscard]] std::int64_t block() const { return rows_of_block(depth, pixels); }
};

/// visit(class) for each pair of rests.
template <class Visit>
void for_each_class(const ConvColumnsShape& s, Visit visit) {
  for (std::int64_t row = 0; row < s.stride_h; ++row) {
    for (std::int64_t column = 0; column < s.stride_w; ++column) {
      visit(Class(s, row, column));
    }
  }
}

/// The results that reach a pixel of a class.
void copy_results(const ConvColumnsShape& s, const Class& of, const float* dy, std::int64_t pixel,
                  float* to) {
  const std::int64_t image = pixel / (of.rows.pixels * of.columns.pixels);
  const std::int64_t row = pixel / of.columns.pixels % of.rows.pixels + of.rows.shift;
  const std::int64_t column = pixel % of.columns.pixels + of.columns.shift;
  for (std::int64_t i = 0; i < of.rows.taps; ++i) {
    for (std::int64_t j = 0; j < of.columns.taps; ++j) {
      const std::int64_t oy = row - i;
      const std::int64_t ox = column - j;
      if (oy >= 0 && oy < s.oh && ox >= 0 && ox < s.ow) {
        copy_row(dy + ((image * s.oh + oy) * s.ow + ox) * s.oc, s.oc, to);
      } else {
        for (std::int64_t k = 0; k < s.oc; ++k) {
          to[k] = 0;
        }
      }
      to += s.oc;
    }
  }
}

float* pixel_of(const ConvColumnsShape& s, const Class& of, std::int64_t pixel, float* dx) {
  const std::int64_t image = pixel / (of.rows.pixels * of.columns.pixels);
  const std::int64_t row =
      of.rows.rest + pixel / of.columns.pixels % of.rows.pixels * of.rows.stride;
  const std::int64_t column = of.columns.rest + pixel % of.columns.pixels * of.columns.stride;
  return dx + ((image * s.h + row) * s.w + column) * s.c;
}

/// The gradients of a class that no result reads.
void write_zeros(const ConvColumnsShape& s, const Class& of, float* dx) {
  for (std::int64_t pixel = 0; pixel < of.pixels; ++pixel) {
    float* to = pixel_of(s, of, pixel, dx);
    for (std::int64_t k = 0; k < s.c; ++k) {
      to[k] = 0;
    }
  }
}

}  // namespace

std::int64_t turned_floats(const ConvColumnsShape& s) {
  std::int64_t floats = 0;
  for_each_class(s, [&](const Class& of) { floats += packed_floats(s.c, of.depth); });
  return floats;
}

void pack_turned(const ConvColumnsShape& s, const float* w, float* packed) {
  for_each_class(s, [&](const Class& of) {
    for (std::int64_t j = 0; j < s.c; j += kPanel) {
      const std::int64_t count = smaller(kPanel, s.c - j);
      for (std::int64_t tap = 0; tap < of.taps; ++tap) {
        const std::int64_t row = of.rows.position(tap / of.columns.taps);
        const std::int64_t column = of.columns.position(tap % of.columns.taps);
        for (std::int64_t k = 0; k < s.oc; ++k) {
          const float* from = w + ((k * s.kh + row) * s.kw + column) * s.c + j;
          for (std::int64_t v = 0; v < kPanel; ++v) {
            packed[v] = v < count ? from[v] : 0.0F;
          }
          packed += kPanel;
        }
      }
    }
  });
}

std::int64_t backward_data_scratch(const ConvColumnsShape& s) {
  std::int64_t floats = 0;
  for_each_class(s, [&](const Class& of) {
    if (of.depth > 0) {
      const std::int64_t block = of.block() * (of.depth + s.c) + 2 * kLanes;
      floats = block > floats ? block : floats;
    }
  });
  return floats * static_cast<std::int64_t>(sizeof(float));
}

void backward_data(const ConvColumnsShape& s, const float* dy, const float* turned, float* dx,
                   void* scratch) {
  const GemmTable gemm = make_gemm_table();
  for_each_class(s, [&](const Class& of) {
    if (of.depth == 0) {
      write_zeros(s, of, dx);
      return;
    }
    const std::int64_t block = of.block();
    auto* pixels = static_cast<float*>(scratch);
    float* results = pixels + block * s.c + kLanes;
    for (std::int64_t first = 0; first < of.pixels; first += block) {
      const std::int64_t count = smaller(block, of.pixels - first);
      for (std::int64_t i = 0; i < count; ++i) {
        copy_results(s, of, dy, first + i, results + i * of.depth);
      }
      gemm.multiply({count, s.c, of.depth, results, of.depth, 1, turned, 0, nullptr,
                     static_cast<int>(Activation::kNone), pixels});
      for (std::int64_t i = 0; i < count; ++i) {
        float* to = pixel_of(s, of, first + i, dx);
        for (std::int64_t k = 0; k < s.c; ++k) {
          to[k] = pixels[i * s.c + k];
        }
      }
    }
    turned += packed_floats(s.c, of.depth);
  });
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
