// Matrix products by a tile of kTileRows rows and two vectors of columns held in registers; where
// there are 32 registers and columns for it, of kWideRows rows and four vectors, which needs fewer
// instructions beside the products.
//
// The right factor is read in panels of kPanel columns. A panel of the usual depth stays in the
// first cache while all rows pass by; pack_transposed lays a weight matrix out in whole panels.
#include "kernels/cpu/simd/gemm_parts.h"
#include "kernels/cpu/simd/math.h"
#include "kernels/cpu/simd/tables.h"
#include "kernels/cpu/simd/transpose.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

constexpr std::int64_t kFloat = sizeof(float);
constexpr bool kHasWideTiles = kLanes == 16;
constexpr int kWideRows = 6;

// Strides in bytes: g++ 12 makes a second loop for a stride of one float, and spills the sums in
// both.
const float* advance(const float* p, std::int64_t bytes) {
  return reinterpret_cast<const float*>(reinterpret_cast<const char*>(p) + bytes);
}

// What a tile of the result is computed from; `last` masks the columns of its last vector.
struct Tile {
  const float* a;
  const float* b;
  std::int64_t a_bytes;  // of a_step
  std::int64_t b_bytes;
  std::int64_t next_panel;  // floats from a panel of b to the one beside it
  const float* bias;
  float* c;
  IntVec last;
};

template <int kRows, int kVectors, bool kMasked>
__attribute__((noinline)) void multiply_tile(const GemmCall& call, const Tile& tile) {
  const auto load_columns = [&tile](const float* p, int v) {
    return kMasked && v == kVectors - 1 ? load_masked(p + v * kLanes, tile.last)
                                        : load(p + v * kLanes);
  };
  const auto load_factors = [&](const float* p, int v) {
    return v < 2 ? load_columns(p, v) : load(p + tile.next_panel + (v - 2) * kLanes);
  };
  Vec sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = Vec{};
    }
  }
  const float* a = tile.a;
  const float* b = tile.b;
#pragma GCC unroll 2
  for (std::int64_t p = 0; p < call.depth; ++p) {
    Vec row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      row[v] = load_factors(b, v);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec factor = broadcast(a[r * call.a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = fma(factor, row[v], sums[r][v]);
      }
    }
    a = advance(a, tile.a_bytes);
    b = advance(b, tile.b_bytes);
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const Vec bias = tile.bias == nullptr ? Vec{} : load_columns(tile.bias, v);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      float* c = tile.c + r * call.columns;
      Vec result = tile.bias == nullptr ? sums[r][v] : sums[r][v] + bias;
      if (call.adds) {
        result += load_columns(c, v);
      }
      if (kMasked && v == kVectors - 1) {
        store_masked(c + v * kLanes, result, tile.last);
      } else {
        store(c + v * kLanes, result);
      }
    }
  }
}

template <int kRows, int kVectors, bool kMasked>
void multiply_rest(const GemmCall& call, const Tile& tile, std::int64_t rows) {
  if (rows == kRows) {
    multiply_tile<kRows, kVectors, kMasked>(call, tile);
  } else if constexpr (kRows > 1) {
    multiply_rest<kRows - 1, kVectors, kMasked>(call, tile, rows);
  }
}

template <int kVectors, bool kMasked>
void multiply_panel(const GemmCall& call, Tile tile) {
  constexpr int kRows = kVectors > 2 ? kWideRows : kTileRows;
  std::int64_t i = 0;
  for (; i + kRows <= call.rows; i += kRows) {
    multiply_tile<kRows, kVectors, kMasked>(call, tile);
    tile.a += kRows * call.a_row;
    tile.c += kRows * call.columns;
  }
  if (i < call.rows) {
    multiply_rest<kRows - 1, kVectors, kMasked>(call, tile, call.rows - i);
  }
}

void multiply(const GemmCall& call) {
  for (std::int64_t j = 0; j < call.columns; j += kPanel) {
    const bool packed = call.b_step == 0;
    Tile tile = {call.a,
                 call.b + (packed ? j * call.depth : j),
                 call.a_step * kFloat,
                 (packed ? kPanel : call.b_step) * kFloat,
                 packed ? kPanel * call.depth : kPanel,
                 call.bias == nullptr ? nullptr : call.bias + j,
                 call.c + j,
                 IntVec{}};
    const std::int64_t width = call.columns - j;
    tile.last = first_lanes(static_cast<int>(width > kLanes ? width - kLanes : width));
    if (kHasWideTiles && width >= 2 * kPanel) {
      multiply_panel<4, false>(call, tile);
      j += kPanel;
    } else if (width >= kPanel) {
      multiply_panel<2, false>(call, tile);
    } else if (width > kLanes) {
      multiply_panel<2, true>(call, tile);
    } else if (width == kLanes) {
      multiply_panel<1, false>(call, tile);
    } else {
      multiply_panel<1, true>(call, tile);
    }
  }
  if (call.activation != static_cast<int>(Activation::kNone)) {
    make_elementwise_table().activate(call.activation, call.c, call.c, call.rows * call.columns);
  }
}

// Rows [0, rows) of w, the missing ones zero, to a column of kLanes in a panel.
void pack_column(const float* w, std::int64_t rows, std::int64_t depth, float* panel) {
  std::int64_t p = 0;
  for (; rows >= kLanes && p + kLanes <= depth; p += kLanes) {
    Vec block[kLanes];
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) {
      block[r] = load(w + r * depth + p);
    }
    transpose(block);
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) {
      store(panel + (p + r) * kPanel, block[r]);
    }
  }
  for (; p < depth; ++p) {
    for (std::int64_t v = 0; v < kLanes; ++v) {
      panel[p * kPanel + v] = v < rows ? w[v * depth + p] : 0.0F;
    }
  }
}

void pack_transposed(const float* w, std::int64_t columns, std::int64_t depth, float* packed) {
  for (std::int64_t j = 0; j < columns; j += kPanel) {
    for (std::int64_t v = 0; v < kPanel; v += kLanes) {
      pack_column(w + (j + v) * depth, columns - j - v, depth, packed + j * depth + v);
    }
  }
}

void sum_rows(const float* x, std::int64_t rows, std::int64_t columns, float* y) {
  constexpr int kVectors = 4;
  std::int64_t j = 0;
  for (; j + kVectors * kLanes <= columns; j += kVectors * kLanes) {
    Vec sums[kVectors] = {};
    for (std::int64_t i = 0; i < rows; ++i) {
      for (int v = 0; v < kVectors; ++v) {
        sums[v] += load(x + i * columns + j + v * kLanes);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      store(y + j + v * kLanes, sums[v]);
    }
  }
  for (; j < columns; j += kLanes) {
    const std::int64_t width = columns - j < kLanes ? columns - j : kLanes;
    const IntVec lanes = first_lanes(static_cast<int>(width));
    Vec sums{};
    for (std::int64_t i = 0; i < rows; ++i) {
      sums += load_masked(x + i * columns + j, lanes);
    }
    store_masked(y + j, sums, lanes);
  }
}

}  // namespace

std::int64_t packed_floats(std::int64_t columns, std::int64_t depth) {
  return (columns + kPanel - 1) / kPanel * kPanel * depth;
}

GemmTable make_gemm_table() {
  return {packed_floats, pack_transposed, multiply, multiply_shards, sum_shards, sum_rows};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
