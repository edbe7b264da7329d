// What the passes of a convolution as a matrix product share.
#pragma once

#include "kernels/cpu/simd/conv_columns.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

/// Rows of a block of `all` rows of `depth` > 0 floats: it stays in the second cache beside a panel
/// of the other factor, unless that made it so low that the other factor, read once for each block,
/// counts.
inline std::int64_t rows_of_block(std::int64_t depth, std::int64_t all) {
  constexpr std::int64_t kFloats = 65536;
  constexpr std::int64_t kLeast = 144;
  const std::int64_t rows = kFloats / depth / 48 * 48;
  return smaller(rows > kLeast ? rows : kLeast, all);
}

/// Copies `count` floats, and writes zeros behind them up to a whole vector.
inline void copy_row(const float* from, std::int64_t count, float* to) {
  std::int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    store(to + k, load(from + k));
  }
  if (k < count) {
    store(to + k, load_n(from + k, static_cast<int>(count - k)));
  }
}

/// The members of ConvColumnsTable that conv_columns_data.cpp has.
std::int64_t turned_floats(const ConvColumnsShape& shape);
void pack_turned(const ConvColumnsShape& shape, const float* w, float* packed);
std::int64_t backward_data_scratch(const ConvColumnsShape& shape);
void backward_data(const ConvColumnsShape& shape, const float* dy, const float* turned, float* dx,
                   void* scratch);

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
