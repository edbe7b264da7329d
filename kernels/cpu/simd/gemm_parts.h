// The tile of the result that a matrix product holds in registers, for those who lay out its
// factors; and the products that have a file of their own.
#pragma once

#include "kernels/cpu/simd/gemm.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

/// Rows of a tile: its accumulators, two vectors of b and one broadcast fill the registers (16, or
/// 32).
inline constexpr int kTileRows = kLanes == 16 ? 14 : 6;
/// Columns of a panel, in which the right factor is read.
inline constexpr int kPanel = 2 * kLanes;

/// GemmTable::packed_floats, multiply_shards and sum_shards.
std::int64_t packed_floats(std::int64_t columns, std::int64_t depth);
void multiply_shards(const ShardSumCall& call);
void sum_shards(const ShardSumCall& call);

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
