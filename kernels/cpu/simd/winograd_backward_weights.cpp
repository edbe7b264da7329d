// Winograd's gradients of the weights: G^T [sum over tiles of (B^T d B) . (A dy A^T)] G, the sums
// by matrix products over blocks of tiles. Result channels go in groups, so that the sums of one
// group stay near.
#include "kernels/cpu/simd/tables.h"
#include "kernels/cpu/simd/winograd_parts.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

constexpr int kTaps = 3;

/// The scratch of a call: transformed windows [36][panels of inputs][block][kPanel], gradients
/// [36][block][gradients], sums [36][group][inputs]; points an odd number of cache lines apart.
struct Plan {
  bool one_block;                  // all tiles: windows are transformed once for all groups
  std::int64_t block;              // tiles
  std::int64_t group;              // result channels
  std::int64_t inputs, gradients;  // floats of a tile at a point
  std::int64_t input_point, gradient_point, sum_point;  // floats between points
  std::int64_t zeros, windows, turned, sums, floats;

  explicit Plan(const WinogradShape& s) : inputs(round_up(s.c, kLanes)) {
    constexpr std::int64_t kBlock = 48;
    constexpr std::int64_t kDeepBlock = 144;
    constexpr std::int64_t kNear = 32768;  // sums of a point, of all points some 4 MiB
    constexpr std::int64_t kSums = 65536;
    constexpr std::int64_t kFewTiles = 64;  // so few that windows are read from near for each group
    constexpr std::int64_t kSumsOfFewTiles = 8192;
    // Measured: each block reads and writes the sums of a group; where they are not near, it must
    // be worth that.
    const bool near = inputs * round_up(s.oc, kLanes) <= kNear;
    const std::int64_t most_tiles = near ? kBlock : kDeepBlock;
    const std::int64_t tiles = Tiles(s).count;
    one_block = tiles <= most_tiles;
    block = smaller(most_tiles, tiles);
    const std::int64_t sums_of_group = one_block && tiles <= kFewTiles ? kSumsOfFewTiles : kSums;
    const std::int64_t most = larger(sums_of_group / inputs / kPanel, 1) * kPanel;
    const std::int64_t groups = (s.oc + most - 1) / most;
    group = round_up((s.oc + groups - 1) / groups, kLanes);
    gradients = group < 128 ? group : odd_lines(group);
    input_point = odd_lines(block * round_up(s.c, kPanel));
    gradient_point = odd_lines(block * gradients);
    sum_point = odd_lines(group * inputs);
    zeros = 0;
    windows = odd_lines(larger(inputs, round_up(s.oc, kLanes)));
    turned = windows + kPoints * input_point;
    sums = turned + kPoints * gradient_point;
    floats = sums + kPoints * sum_point;
  }
};

/// Result channels of one group: those from `first` on.
struct Group {
  std::int64_t first, count;
};

/// One vector of channels of a tile's gradients: transformed, and their sum.
Vec transform_gradients(const Pixels<kSide>& tile, std::int64_t channel, int lanes, float* to,
                        std::int64_t point) {
  const IntVec mask = first_lanes(lanes);
  Vec sum{};
  Vec rows[kWindow][kSide];
  for (int j = 0; j < kSide; ++j) {
    Vec column[kSide];
    Vec transformed[kWindow];
#pragma GCC unroll 4
    for (int i = 0; i < kSide; ++i) {
      const float* pixel = tile.at[i][j] + channel;
      column[i] = lanes == kLanes ? load(pixel) : load_masked(pixel, mask);
    }
    sum += (column[0] + column[1]) + (column[2] + column[3]);
    transform_results(column, transformed);
#pragma GCC unroll 6
    for (int i = 0; i < kWindow; ++i) {
      rows[i][j] = transformed[i];
    }
  }
  for (int i = 0; i < kWindow; ++i) {
    Vec transformed[kWindow];
    transform_results(rows[i], transformed);
#pragma GCC unroll 6
    for (int j = 0; j < kWindow; ++j) {
      store(to + (i * kWindow + j) * point, transformed[j]);
    }
  }
  return sum;
}

/// G^T m: weights along one axis.
void transform_sums(const Vec m[kWindow], Vec g[kTaps]) {
  const Vec even_a = (m[1] + m[2]) * broadcast(static_cast<float>(kScaleA));
  const Vec odd_a = (m[1] - m[2]) * broadcast(static_cast<float>(kA * kScaleA));
  const Vec even_b = (m[3] + m[4]) * broadcast(static_cast<float>(kScaleB));
  const Vec odd_b = (m[3] - m[4]) * broadcast(static_cast<float>(kB * kScaleB));
  g[0] = m[0] + (even_a + even_b);
  g[1] = odd_a + odd_b;
  g[2] = fma(broadcast(kA2), even_a, fma(broadcast(kB2), even_b, m[5]));
}

/// One vector of input channels of one result channel: dw [3, 3, c].
void store_taps(const float* sums, std::int64_t point, float* dw, std::int64_t c, int lanes) {
  Vec columns[kTaps][kWindow];
  for (int j = 0; j < kWindow; ++j) {
    Vec column[kWindow];
    Vec transformed[kTaps];
    for (int i = 0; i < kWindow; ++i) {
      column[i] = load(sums + (i * kWindow + j) * point);
    }
    transform_sums(column, transformed);
    for (int i = 0; i < kTaps; ++i) {
      columns[i][j] = transformed[i];
    }
  }
  for (int i = 0; i < kTaps; ++i) {
    Vec taps[kTaps];
    transform_sums(columns[i], taps);
    for (int j = 0; j < kTaps; ++j) {
      store_n(dw + (i * kTaps + j) * c, taps[j], lanes);
    }
  }
}

/// A call, for one group of result channels after the other.
class Gradients {
 public:
  Gradients(const WinogradShape& s, const float* x, const float* dy, void* scratch)
      : s_(s), tiles_(s), plan_(s), x_(x), dy_(dy), scratch_(static_cast<float*>(scratch)) {
    for (std::int64_t k = 0; k < plan_.windows; ++k) {
      scratch_[plan_.zeros + k] = 0;
    }
  }

  void sum_group(const Group& group, float* dbias) {
    for (std::int64_t k = 0; dbias != nullptr && k < group.count; ++k) {
      dbias[group.first + k] = 0;
    }
    for (std::int64_t first = 0; first < tiles_.count; first += plan_.block) {
      const std::int64_t count = smaller(plan_.block, tiles_.count - first);
      const bool kept = plan_.one_block && group.first > 0;
      for (std::int64_t i = 0; i < count; ++i) {
        if (!kept) {
          transform_window_of(first + i, i, count);
        }
        transform_tile(first + i, i, group, dbias);
      }
      multiply_block(group, count, first > 0);
    }
  }

  void store_group(const Group& group, float* dw) const {
    for (std::int64_t k = 0; k < group.count; ++k) {
      const float* sums = scratch_ + plan_.sums + k * plan_.inputs;
      float* taps = dw + (group.first + k) * kTaps * kTaps * s_.c;
      for (std::int64_t c = 0; c < s_.c; c += kLanes) {
        store_taps(sums + c, plan_.sum_point, taps + c, s_.c,
                   static_cast<int>(smaller(kLanes, s_.c - c)));
      }
    }
  }

  [[nodiscard]] std::int64_t group_size() const { return plan_.group; }

 private:
  [[nodiscard]] const float* zeros() const { return scratch_ + plan_.zeros; }

  void transform_window_of(std::int64_t tile, std::int64_t i, std::int64_t count) {
    transform_pixels(window_of(s_, tiles_, tile, x_, zeros()), s_.c, plan_.inputs,
                     {scratch_ + plan_.windows + i * kPanel, plan_.input_point, count * kPanel});
  }

  void transform_tile(std::int64_t tile, std::int64_t i, const Group& group, float* dbias) {
    const std::int64_t image = tile / (tiles_.rows * tiles_.columns);
    const Pixels<kSide> pixels = pixels_of<kSide>(
        dy_ + image * s_.oh * s_.ow * s_.oc, s_.oh, s_.ow, s_.oc,
        tile / tiles_.columns % tiles_.rows * kSide, tile % tiles_.columns * kSide, zeros());
    float* to = scratch_ + plan_.turned + i * plan_.gradients;
    for (std::int64_t k = 0; k < group.count; k += kLanes) {
      const int lanes = static_cast<int>(smaller(kLanes, group.count - k));
      const Vec sum =
          transform_gradients(pixels, group.first + k, lanes, to + k, plan_.gradient_point);
      if (dbias != nullptr) {
        float* total = dbias + group.first + k;
        store_n(total, load_n(total, lanes) + sum, lanes);
      }
    }
  }

  void multiply_block(const Group& group, std::int64_t count, bool adds) {
    const auto multiply = make_gemm_table().multiply;
    for (int p = 0; p < kPoints; ++p) {
      multiply({group.count, plan_.inputs, count,
                scratch_ + plan_.turned + p * plan_.gradient_point, 1, plan_.gradients,
                scratch_ + plan_.windows + p * plan_.input_point, 0, nullptr, 0,
                scratch_ + plan_.sums + p * plan_.sum_point, adds});
    }
  }

  const WinogradShape& s_;
  Tiles tiles_;
  Plan plan_;
  const float* x_;
  const float* dy_;
  float* scratch_;
};

}  // namespace

std::int64_t winograd_backward_weights_scratch(const WinogradShape& s) {
  return Plan(s).floats * static_cast<std::int64_t>(sizeof(float));
}

void winograd_backward_weights(const WinogradShape& s, const float* x, const float* dy, float* dw,
                               float* dbias, void* scratch) {
  Gradients gradients(s, x, dy, scratch);
  for (std::int64_t first = 0; first < s.oc; first += gradients.group_size()) {
    const Group group = {first, smaller(gradients.group_size(), s.oc - first)};
    gradients.sum_group(group, dbias);
    gradients.store_group(group, dw);
  }
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
