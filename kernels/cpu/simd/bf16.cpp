// Between f32 and bf16: shifts, and a rounding of the lower half into the upper one.
#include "kernels/cpu/simd/tables.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

typedef std::uint16_t HalfVec __attribute__((vector_size(2 * GENTRAIN_SIMD_LANES)));  // NOLINT
typedef std::uint32_t WordVec __attribute__((vector_size(4 * GENTRAIN_SIMD_LANES)));  // NOLINT
typedef HalfVec StoredHalfVec __attribute__((aligned(2), may_alias));                 // NOLINT

// Overloads of those of vec.h, so in the same namespace.
static inline HalfVec load(const std::uint16_t* p) {
  return *reinterpret_cast<const StoredHalfVec*>(p);
}
static inline void store(std::uint16_t* p, HalfVec v) {
  *reinterpret_cast<StoredHalfVec*>(p) = v;
}
static inline HalfVec load_n(const std::uint16_t* p, int n) {
  HalfVec v{};
  __builtin_memcpy(&v, p, static_cast<unsigned>(n) * sizeof(std::uint16_t));
  return v;
}
static inline void store_n(std::uint16_t* p, HalfVec v, int n) {
  __builtin_memcpy(p, &v, static_cast<unsigned>(n) * sizeof(std::uint16_t));
}

namespace {

Vec widened(HalfVec halves) {
  return (Vec)(__builtin_convertvector(halves, WordVec) << 16);
}

/// The nearest bf16 in the upper half of each word.
WordVec rounded(Vec v) {
  const auto bits = (WordVec)v;
  const WordVec odd = (bits >> 16) & 1U;
  const WordVec nearest = bits + (odd + 0x7fffU);
  const WordVec not_a_number = bits | 0x400000U;  // quiet: its upper half alone is not infinity
  const auto is_number = (WordVec)(v == v);
  return (nearest & is_number) | (not_a_number & ~is_number);
}

HalfVec narrowed(Vec v) {
  return __builtin_convertvector(rounded(v) >> 16, HalfVec);
}

Vec nearest_bf16(Vec v) {
  return (Vec)(rounded(v) & 0xffff0000U);
}

template <class From, class To, class Function>
void map(const From* x, To* y, std::int64_t count, Function function) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(y + i, function(load(x + i)));
  }
  if (const int rest = static_cast<int>(count - i); rest > 0) {
    store_n(y + i, function(load_n(x + i, rest)), rest);
  }
}

void widen(const std::uint16_t* x, float* y, std::int64_t count) {
  map(x, y, count, [](HalfVec v) { return widened(v); });
}

void narrow(const float* x, std::uint16_t* y, std::int64_t count) {
  map(x, y, count, [](Vec v) { return narrowed(v); });
}

void round(const float* x, float* y, std::int64_t count) {
  map(x, y, count, [](Vec v) { return nearest_bf16(v); });
}

}  // namespace

Bf16Table make_bf16_table() {
  return {widen, narrow, round};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
