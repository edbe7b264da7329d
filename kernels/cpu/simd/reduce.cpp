// Sums in blocks of kReduceBlock elements. Lane l of sum s of a block takes the elements whose
// number modulo kSums * width is s * width + l; the last elements of a block are padded with zeros.
#include "kernels/cpu/simd/tables.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

constexpr int kSums = 4;

// visit(address of `step` elements) over a block; the last ones from a copy that zeros fill up.
template <std::int64_t kStep, class Visit>
void for_each_step(const float* x, std::int64_t count, Visit visit) {
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    visit(x + i);
  }
  if (i < count) {
    float rest[kStep] = {};
    __builtin_memcpy(rest, x + i, static_cast<unsigned long>(count - i) * sizeof(float));
    visit(static_cast<const float*>(rest));
  }
}

float block_sum(const float* x, std::int64_t count) {
  Vec sums[kSums] = {};
  for_each_step<kSums * kLanes>(x, count, [&](const float* p) {
    for (int s = 0; s < kSums; ++s) {
      sums[s] += load(p + s * kLanes);
    }
  });
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

float sum_blocks(const float* x, std::int64_t count) {
  double total = 0;
  for (std::int64_t i = 0; i < count; i += kReduceBlock) {
    total += static_cast<double>(block_sum(x + i, smaller(kReduceBlock, count - i)));
  }
  return static_cast<float>(total);
}

double block_square_sum(const float* x, std::int64_t count) {
  WideVec sums[kSums] = {};
  for_each_step<kSums * kWide>(x, count, [&](const float* p) {
    for (int s = 0; s < kSums; ++s) {
      const WideVec wide = load_wide(p + s * kWide);
      sums[s] += wide * wide;
    }
  });
  const WideVec lanes = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double total = 0;
  for (int i = 0; i < kWide; ++i) {
    total += lanes[i];
  }
  return total;
}

void square_sums(const float* x, std::int64_t count, double* blocks) {
  for (std::int64_t i = 0; i < count; i += kReduceBlock) {
    blocks[i / kReduceBlock] = block_square_sum(x + i, smaller(kReduceBlock, count - i));
  }
}

bool all_finite(const float* x, std::int64_t count) {
  constexpr std::int32_t kExponent = 0x7f800000;
  for (std::int64_t i = 0; i < count; i += kReduceBlock) {
    IntVec found{};
    for_each_step<kLanes>(x + i, smaller(kReduceBlock, count - i), [&](const float* p) {
      found |= (as_int(load(p)) & kExponent) == kExponent;
    });
    for (int lane = 0; lane < kLanes; ++lane) {
      if (found[lane] != 0) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

ReduceTable make_reduce_table() {
  return {sum_blocks, square_sums, all_finite};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
