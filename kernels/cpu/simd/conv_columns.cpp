// The windows of a block of results as rows of a matrix [block][kh * kw * c], which is the left
// factor of the results and, in panels, the right one of the weights' gradients.
#include "kernels/cpu/simd/conv_columns.h"

#include "kernels/activation.h"
#include "kernels/cpu/simd/conv_columns_parts.h"
#include "kernels/cpu/simd/gemm_parts.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

constexpr std::int64_t kBlock = 96;  // results

std::int64_t rounded(std::int64_t count, std::int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

/// The scratch of a call, in floats: one window with room for a vector behind it, the windows of a
/// block [panels][block][kPanel], sums [oc][columns] and sums of dy [oc].
struct Plan {
  std::int64_t taps, columns;
  std::int64_t window, windows, sums, totals, floats;

  explicit Plan(const ConvColumnsShape& s) : taps(taps_of(s)), columns(rounded(taps, kLanes)) {
    window = 0;
    windows = rounded(columns + kLanes, 16);
    sums = windows + rounded(columns, kPanel) * kBlock;
    totals = sums + rounded(s.oc * columns, 16);
    floats = totals + s.oc;
  }
};

/// A kernel row of a window, some of whose pixels are outside of the image.
void copy_edge(const ConvColumnsShape& s, const float* row, std::int64_t column, float* to) {
  for (std::int64_t j = 0; j < s.kw; ++j) {
    const bool inside = row != nullptr && column + j >= 0 && column + j < s.w;
    for (std::int64_t c = 0; c < s.c; ++c) {
      to[j * s.c + c] = inside ? row[(column + j) * s.c + c] : 0.0F;
    }
  }
}

/// The window of result `result`. Up to a vector behind its taps may become zero, else what lies
/// there stays.
void copy_window(const ConvColumnsShape& s, const float* x, std::int64_t result, float* to) {
  const std::int64_t image = result / (s.oh * s.ow);
  const std::int64_t first_row = result / s.ow % s.oh * s.stride_h - s.top;
  const std::int64_t column = result % s.ow * s.stride_w - s.left;
  for (std::int64_t i = 0; i < s.kh; ++i) {
    const std::int64_t row = first_row + i;
    const bool inside = row >= 0 && row < s.h;
    const float* pixels = inside ? x + (image * s.h + row) * s.w * s.c : nullptr;
    if (inside && column >= 0 && column + s.kw <= s.w) {
      copy_row(pixels + column * s.c, s.kw * s.c, to + i * s.kw * s.c);
    } else {
      copy_edge(s, pixels, column, to + i * s.kw * s.c);
    }
  }
}

std::int64_t forward_scratch(const ConvColumnsShape& s) {
  const std::int64_t taps = taps_of(s);
  return (rows_of_block(taps, s.n * s.oh * s.ow) * taps + kLanes) *
         static_cast<std::int64_t>(sizeof(float));
}

void forward(const ConvColumnsShape& s, const ConvColumnsCall& call, void* scratch) {
  const GemmTable gemm = make_gemm_table();
  const std::int64_t taps = taps_of(s);
  const std::int64_t results = s.n * s.oh * s.ow;
  const std::int64_t block = rows_of_block(taps, results);
  auto* windows = static_cast<float*>(scratch);
  for (std::int64_t first = 0; first < results; first += block) {
    const std::int64_t count = smaller(block, results - first);
    for (std::int64_t i = 0; i < count; ++i) {
      copy_window(s, call.x, first + i, windows + i * taps);
    }
    gemm.multiply({count, s.oc, taps, windows, taps, 1, call.weights, 0, call.bias, call.activation,
                   call.y + first * s.oc});
  }
}

std::int64_t backward_weights_scratch(const ConvColumnsShape& s) {
  return Plan(s).floats * static_cast<std::int64_t>(sizeof(float));
}

void copy_block(const ConvColumnsShape& s, const Plan& plan, const float* x, std::int64_t first,
                std::int64_t count, float* scratch) {
  float* window = scratch + plan.window;
  for (std::int64_t i = 0; i < count; ++i) {
    copy_window(s, x, first + i, window);
    for (std::int64_t k = 0; k < plan.columns; k += kLanes) {
      store(scratch + plan.windows + k / kPanel * kPanel * count + i * kPanel + k % kPanel,
            load(window + k));
    }
  }
}

void backward_weights(const ConvColumnsShape& s, const float* x, const float* dy, float* dw,
                      float* dbias, void* scratch_memory) {
  const GemmTable gemm = make_gemm_table();
  const Plan plan(s);
  auto* scratch = static_cast<float*>(scratch_memory);
  float* sums = scratch + plan.sums;
  float* totals = scratch + plan.totals;
  for (std::int64_t k = 0; k < plan.windows; ++k) {
    scratch[plan.window + k] = 0;
  }
  const std::int64_t results = s.n * s.oh * s.ow;
  for (std::int64_t first = 0; first < results; first += kBlock) {
    const std::int64_t count = smaller(kBlock, results - first);
    copy_block(s, plan, x, first, count, scratch);
    gemm.multiply({s.oc, plan.columns, count, dy + first * s.oc, 1, s.oc, scratch + plan.windows, 0,
                   nullptr, static_cast<int>(Activation::kNone), sums, first > 0});
    if (dbias != nullptr) {
      gemm.sum_rows(dy + first * s.oc, count, s.oc, totals);
      for (std::int64_t k = 0; k < s.oc; ++k) {
        dbias[k] = first > 0 ? dbias[k] + totals[k] : totals[k];
      }
    }
  }
  for (std::int64_t k = 0; k < s.oc; ++k) {
    for (std::int64_t tap = 0; tap < plan.taps; ++tap) {
      dw[k * plan.taps + tap] = sums[k * plan.columns + tap];
    }
  }
}

}  // namespace

ConvColumnsTable make_conv_columns_table() {
  return {forward_scratch,
          forward,
          turned_floats,
          pack_turned,
          backward_data_scratch,
          backward_data,
          backward_weights_scratch,
          backward_weights};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
