// Matrix products of dense layers and of convolutions by columns: a register-blocked kernel for
// matrices that fit the caches.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// c [rows, columns] = activation(a b + bias), or what c held with a b + bias added to it. Every
/// element is one chain of fused multiply-adds in the order of the depth, beginning at 0: its bits
/// do not depend on rows, columns or neighbours.
struct GemmCall {
  std::int64_t rows = 0, columns = 0, depth = 0;
  const float* a = nullptr;  // element (i, p) at a[i * a_row + p * a_step]
  std::int64_t a_row = 0, a_step = 0;
  const float* b = nullptr;     // element (p, j) at b[p * b_step + j]
  std::int64_t b_step = 0;      // 0: b was written by pack_transposed
  const float* bias = nullptr;  // [columns] or null
  int activation = 0;           // the value of enum Activation
  float* c = nullptr;
  bool adds = false;  // to what c holds; then there is no activation
};

/// Most shards side by side.
inline constexpr int kMostShards = 64;

/// c [rows, columns] = the tree sum over the shards of a^T b: ((s0 + s1) + (s2 + s3)) + ... Of each
/// shard every element is one chain of fused multiply-adds over its steps of the depth in order,
/// beginning at 0, as multiply() has it.
struct ShardSumCall {
  std::int64_t rows = 0, columns = 0;
  const float* a = nullptr;              // [depth, rows]
  const float* b = nullptr;              // [depth, columns]
  const std::int64_t* depths = nullptr;  // [shards], one after the other; may be 0
  int shards = 1;                        // a power of two up to kMostShards
  float* c = nullptr;
};

struct GemmTable {
  /// Floats that pack_transposed writes.
  std::int64_t (*packed_floats)(std::int64_t columns, std::int64_t depth);
  /// w [columns, depth] as the right factor b of a product, in the order in which it is read.
  void (*pack_transposed)(const float* w, std::int64_t columns, std::int64_t depth, float* packed);
  void (*multiply)(const GemmCall& call);
  void (*multiply_shards)(const ShardSumCall& call);
  /// c [columns] = the tree sum over the shards of b's rows, of each shard from first to last;
  /// without a and rows.
  void (*sum_shards)(const ShardSumCall& call);
  /// y [columns] = sum of x [rows, columns] over its rows, from first to last.
  void (*sum_rows)(const float* x, std::int64_t rows, std::int64_t columns, float* y);
};

}  // namespace gentrain::simd
