// Sums over the rows of shards that stand side by side, in the order of the shards' tree: a tile of
// the result is summed for one shard after the other and merged like a binary counter, and only the
// whole sum is written.
#include "kernels/cpu/simd/gemm_parts.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

constexpr int levels_of(int shards) {
  return shards <= 1 ? 1 : 1 + levels_of(shards / 2);
}
constexpr int kLevels = levels_of(kMostShards);

// What a tile of the result is computed from; `last` masks the columns of its last vector.
struct Tile {
  const float* a;
  const float* b;
  float* c;
  IntVec last;
};

template <int kVectors, bool kMasked>
Vec load_columns(const float* p, int v, IntVec last) {
  return kMasked && v == kVectors - 1 ? load_masked(p + v * kLanes, last) : load(p + v * kLanes);
}

template <int kVectors, bool kMasked>
void store_columns(float* p, int v, Vec value, IntVec last) {
  if (kMasked && v == kVectors - 1) {
    store_masked(p + v * kLanes, value, last);
  } else {
    store(p + v * kLanes, value);
  }
}

template <int kRows, int kVectors>
struct Sums {
  Vec v[kRows][kVectors];
};

template <int kRows, int kVectors>
inline void add(const Sums<kRows, kVectors>& left, Sums<kRows, kVectors>& sums) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sums.v[r][v] = left.v[r][v] + sums.v[r][v];
    }
  }
}

// The next `depth` steps of a tile: those of one shard.
template <int kRows, int kVectors, bool kMasked>
inline void multiply_shard(const ShardSumCall& call, Tile& tile, std::int64_t depth,
                           Sums<kRows, kVectors>& sums) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sums.v[r][v] = Vec{};
    }
  }
  for (std::int64_t p = 0; p < depth; ++p) {
    Vec row[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      row[v] = load_columns<kVectors, kMasked>(tile.b, v, tile.last);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec factor = broadcast(tile.a[r]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        sums.v[r][v] = fma(factor, row[v], sums.v[r][v]);
      }
    }
    tile.a += call.rows;
    tile.b += call.columns;
  }
}

template <int kRows, int kVectors, bool kMasked>
void store_sums(const ShardSumCall& call, const Tile& tile, const Sums<kRows, kVectors>& sums) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      store_columns<kVectors, kMasked>(tile.c + r * call.columns, v, sums.v[r][v], tile.last);
    }
  }
}

template <int kRows, int kVectors, bool kMasked>
__attribute__((noinline)) void multiply_one(const ShardSumCall& call, Tile tile) {
  Sums<kRows, kVectors> sums;
  multiply_shard<kRows, kVectors, kMasked>(call, tile, call.depths[0], sums);
  store_sums<kRows, kVectors, kMasked>(call, tile, sums);
}

// Two shards and their sum stay in registers; only the levels above pass through memory.
template <int kRows, int kVectors, bool kMasked>
__attribute__((noinline)) void multiply_pairs(const ShardSumCall& call, Tile tile) {
  Sums<kRows, kVectors> nodes[kLevels];  // by level above the pairs: what waits for its sibling
  const int pairs = call.shards / 2;
  for (int pair = 0; pair < pairs; ++pair) {
    Sums<kRows, kVectors> left;
    Sums<kRows, kVectors> sums;
    multiply_shard<kRows, kVectors, kMasked>(call, tile, call.depths[2 * pair], left);
    multiply_shard<kRows, kVectors, kMasked>(call, tile, call.depths[2 * pair + 1], sums);
    add(left, sums);
    int level = 0;
    for (; (pair >> level & 1) != 0; ++level) {
      add(nodes[level], sums);
    }
    if (pair + 1 == pairs) {
      store_sums<kRows, kVectors, kMasked>(call, tile, sums);
    } else {
      nodes[level] = sums;
    }
  }
}

template <int kRows, int kVectors, bool kMasked, bool kPairs>
void multiply_rows(const ShardSumCall& call, const Tile& tile) {
  if constexpr (kPairs) {
    multiply_pairs<kRows, kVectors, kMasked>(call, tile);
  } else {
    multiply_one<kRows, kVectors, kMasked>(call, tile);
  }
}

template <int kRows, int kVectors, bool kMasked, bool kPairs>
void multiply_rest(const ShardSumCall& call, const Tile& tile, std::int64_t rows) {
  if (rows == kRows) {
    multiply_rows<kRows, kVectors, kMasked, kPairs>(call, tile);
  } else if constexpr (kRows > 1) {
    multiply_rest<kRows - 1, kVectors, kMasked, kPairs>(call, tile, rows);
  }
}

template <int kVectors, bool kMasked, bool kPairs>
void multiply_panel(const ShardSumCall& call, Tile tile) {
  constexpr int kRows = kPairs ? kTileRows / 2 : kTileRows;
  std::int64_t i = 0;
  for (; i + kRows <= call.rows; i += kRows) {
    multiply_rows<kRows, kVectors, kMasked, kPairs>(call, tile);
    tile.a += kRows;
    tile.c += kRows * call.columns;
  }
  if (i < call.rows) {
    multiply_rest<kRows - 1, kVectors, kMasked, kPairs>(call, tile, call.rows - i);
  }
}

template <int kVectors, bool kMasked>
void sum_panel(const ShardSumCall& call, const Tile& tile) {
  Vec nodes[kLevels][kVectors];
  const float* b = tile.b;
  for (int s = 0; s < call.shards; ++s) {
    Vec sums[kVectors] = {};
    for (std::int64_t p = 0; p < call.depths[s]; ++p) {
      for (int v = 0; v < kVectors; ++v) {
        sums[v] += load_columns<kVectors, kMasked>(b, v, tile.last);
      }
      b += call.columns;
    }
    int level = 0;
    for (; (s >> level & 1) != 0; ++level) {
      for (int v = 0; v < kVectors; ++v) {
        sums[v] = nodes[level][v] + sums[v];
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      nodes[level][v] = sums[v];
      if (s + 1 == call.shards) {
        store_columns<kVectors, kMasked>(tile.c, v, sums[v], tile.last);
      }
    }
  }
}

// panel<vectors, masked>(call, tile) for each panel of the columns.
template <class Panel>
void for_each_panel(const ShardSumCall& call, Panel panel) {
  for (std::int64_t j = 0; j < call.columns; j += kPanel) {
    const std::int64_t width = call.columns - j;
    const Tile tile = {call.a, call.b + j, call.c + j,
                       first_lanes(static_cast<int>(width > kLanes ? width - kLanes : width))};
    if (width >= kPanel) {
      panel.template operator()<2, false>(call, tile);
    } else if (width > kLanes) {
      panel.template operator()<2, true>(call, tile);
    } else if (width == kLanes) {
      panel.template operator()<1, false>(call, tile);
    } else {
      panel.template operator()<1, true>(call, tile);
    }
  }
}

}  // namespace

void multiply_shards(const ShardSumCall& call) {
  for_each_panel(call, []<int kVectors, bool kMasked>(const ShardSumCall& c, const Tile& tile) {
    if (c.shards == 1) {
      multiply_panel<kVectors, kMasked, false>(c, tile);
    } else {
      multiply_panel<kVectors, kMasked, true>(c, tile);
    }
  });
}

void sum_shards(const ShardSumCall& call) {
  for_each_panel(call, []<int kVectors, bool kMasked>(const ShardSumCall& c, const Tile& tile) {
    sum_panel<kVectors, kMasked>(c, tile);
  });
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
