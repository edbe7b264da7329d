// Winograd's convolution, block of tiles by block of tiles: windows of x, 36 matrix products,
// results with what follows them.
#include "kernels/cpu/simd/winograd.h"

#include "kernels/cpu/simd/tables.h"
#include "kernels/cpu/simd/winograd_epilogue.h"
#include "kernels/cpu/simd/winograd_parts.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

/// The scratch of a call: transformed windows [36][block][inputs] and products
/// [36][block][results], points an odd number of cache lines apart.
struct Plan {
  std::int64_t block;                      // tiles
  std::int64_t inputs, results;            // floats of a tile at a point
  std::int64_t input_point, result_point;  // floats between points
  std::int64_t zeros, windows, products, floats;

  explicit Plan(const WinogradShape& s)
      : inputs(round_up(s.c, kLanes)), results(round_up(s.oc, kLanes)) {
    // Measured: windows and products of a block share the second cache with the weights of a point
    // or two; where there are many channels, a block must be worth reading all weights.
    constexpr std::int64_t kBlockFloats = 131072;
    constexpr std::int64_t kLeast = 8 * kTileRows;
    const std::int64_t fitting = kBlockFloats / (kPoints * (inputs + results));
    block = larger(kLeast, fitting / kTileRows * kTileRows);
    block = smaller(block, round_up(Tiles(s).count, kTileRows));
    input_point = odd_lines(block * inputs);
    result_point = odd_lines(block * results);
    zeros = 0;
    windows = odd_lines(inputs);
    products = windows + kPoints * input_point;
    floats = products + kPoints * result_point;
  }
};

/// A tile's results: where they go, and how many rows and columns of them there are.
struct Place {
  float* first;
  std::int64_t row;  // floats
  int rows, columns;
};

Place place_of(const WinogradShape& s, const Tiles& tiles, std::int64_t tile, float* y) {
  const std::int64_t image = tile / (tiles.rows * tiles.columns);
  const std::int64_t row = tile / tiles.columns % tiles.rows * kSide;
  const std::int64_t column = tile % tiles.columns * kSide;
  return {y + ((image * s.oh + row) * s.ow + column) * s.oc, s.ow * s.oc,
          static_cast<int>(smaller(kSide, s.oh - row)),
          static_cast<int>(smaller(kSide, s.ow - column))};
}

template <class Finish>
void store_tile(const float* products, std::int64_t point, std::int64_t oc, const Place& place,
                const Finish& finish) {
  for (std::int64_t k = 0; k < oc; k += kLanes) {
    const int lanes = static_cast<int>(smaller(kLanes, oc - k));
    const Vec bias = finish.bias_of(k, lanes);
    Vec rows[kSide][kWindow];
    for (int j = 0; j < kWindow; ++j) {
      Vec column[kWindow];
      Vec transformed[kSide];
#pragma GCC unroll 6
      for (int i = 0; i < kWindow; ++i) {
        column[i] = load(products + (i * kWindow + j) * point + k);
      }
      transform_products(column, transformed);
#pragma GCC unroll 4
      for (int i = 0; i < kSide; ++i) {
        rows[i][j] = transformed[i];
      }
    }
    for (int i = 0; i < place.rows; ++i) {
      Vec results[kSide];
      transform_products(rows[i], results);
      float* to = place.first + i * place.row + k;
      if (lanes == kLanes && place.columns == kSide) {
#pragma GCC unroll 4
        for (int j = 0; j < kSide; ++j) {
          store(to + j * oc, Finish::finish(results[j], bias));
        }
      } else {
        for (int j = 0; j < place.columns; ++j) {
          store_n(to + j * oc, Finish::finish(results[j], bias), lanes);
        }
      }
    }
  }
}

template <Activation kActivation>
void store_block(const WinogradShape& s, const WinogradCall& call, const Plan& plan,
                 std::int64_t first, std::int64_t count) {
  const Tiles tiles(s);
  const Epilogue<kActivation> epilogue = {call.bias};
  const float* products = static_cast<const float*>(call.scratch) + plan.products;
  for (std::int64_t i = 0; i < count; ++i) {
    store_tile(products + i * plan.results, plan.result_point, s.oc,
               place_of(s, tiles, first + i, call.y), epilogue);
  }
}

using StoreBlock = void (*)(const WinogradShape&, const WinogradCall&, const Plan&, std::int64_t,
                            std::int64_t);

StoreBlock store_block_of(int activation) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kTanh:
      return store_block<Activation::kTanh>;
    case Activation::kRelu:
      return store_block<Activation::kRelu>;
    case Activation::kSigmoid:
      return store_block<Activation::kSigmoid>;
    case Activation::kNone:
      break;
  }
  return store_block<Activation::kNone>;
}

/// The products of a block of `count` tiles, piece by piece of the channels.
void multiply_block(const WinogradShape& s, const float* weights, const Plan& plan, float* scratch,
                    std::int64_t count) {
  const auto multiply = make_gemm_table().multiply;
  const std::int64_t weights_point = winograd_packed_floats(s.c, s.oc) / kPoints;
  const std::int64_t piece = winograd_piece(s.c);
  for (int p = 0; p < kPoints; ++p) {
    const float* windows = scratch + plan.windows + p * plan.input_point;
    float* products = scratch + plan.products + p * plan.result_point;
    for (std::int64_t c = 0; c < s.c; c += piece) {
      multiply({count, plan.results, smaller(piece, s.c - c), windows + c, plan.inputs, 1,
                weights + p * weights_point + c * round_up(s.oc, kPanel), 0, nullptr,
                static_cast<int>(Activation::kNone), products, c > 0});
    }
  }
}

std::int64_t forward_scratch(const WinogradShape& s) {
  return Plan(s).floats * static_cast<std::int64_t>(sizeof(float));
}

void forward(const WinogradShape& s, const WinogradCall& call) {
  const Tiles tiles(s);
  const Plan plan(s);
  const StoreBlock store_results = store_block_of(call.activation);
  auto* scratch = static_cast<float*>(call.scratch);
  float* zeros = scratch + plan.zeros;
  float* windows = scratch + plan.windows;
  for (std::int64_t k = 0; k < plan.inputs; ++k) {
    zeros[k] = 0;
  }
  for (std::int64_t first = 0; first < tiles.count; first += plan.block) {
    const std::int64_t count = smaller(plan.block, tiles.count - first);
    for (std::int64_t i = 0; i < count; ++i) {
      transform_pixels(window_of(s, tiles, first + i, call.x, zeros), s.c, plan.inputs,
                       {windows + i * plan.inputs, plan.input_point, kPanel});
    }
    multiply_block(s, call.weights, plan, scratch, count);
    store_results(s, call, plan, first, count);
  }
}

}  // namespace

WinogradTable make_winograd_table() {
  return {winograd_packed_floats,   winograd_pack, winograd_pack_turned,
          forward_scratch,          forward,       winograd_backward_weights_scratch,
          winograd_backward_weights};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
