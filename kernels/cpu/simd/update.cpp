// Optimizer steps: one pass over gradient, state and weights.
#include "kernels/cpu/simd/tables.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

// visit(first element, mask, whole) for the vectors of a range; the mask counts in the last one
// only.
template <class Visit>
void for_each_vector(std::int64_t count, Visit visit) {
  const IntVec all = broadcast(std::int32_t{-1});
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    visit(i, all, true);
  }
  if (i < count) {
    visit(i, first_lanes(static_cast<int>(count - i)), false);
  }
}

Vec load_some(const float* p, IntVec mask, bool whole) {
  return whole ? load(p) : load_masked(p, mask);
}

void store_some(float* p, Vec v, IntVec mask, bool whole) {
  if (whole) {
    store(p, v);
  } else {
    store_masked(p, v, mask);
  }
}

void sgd(const SgdConstants& k, const float* gradient, float* velocity, float* w,
         std::int64_t count) {
  for_each_vector(count, [&](std::int64_t i, IntVec mask, bool whole) {
    const Vec weights = load_some(w + i, mask, whole);
    const Vec g = fma(broadcast(k.weight_decay), weights,
                      broadcast(k.grad_scale) * load_some(gradient + i, mask, whole));
    Vec step = g;
    if (velocity != nullptr) {
      const Vec v = fma(broadcast(k.momentum), load_some(velocity + i, mask, whole), g);
      store_some(velocity + i, v, mask, whole);
      step = k.nesterov ? fma(broadcast(k.momentum), v, g) : v;
    }
    store_some(w + i, fma(broadcast(-k.lr), step, weights), mask, whole);
  });
}

void adam(const AdamConstants& k, const float* gradient, float* first_moment, float* second_moment,
          float* w, std::int64_t count) {
  for_each_vector(count, [&](std::int64_t i, IntVec mask, bool whole) {
    const Vec weights = load_some(w + i, mask, whole);
    const Vec g = fma(broadcast(k.weight_decay), weights,
                      broadcast(k.grad_scale) * load_some(gradient + i, mask, whole));
    Vec m = g;
    if (first_moment != nullptr) {
      m = fma(broadcast(k.beta1), load_some(first_moment + i, mask, whole),
              broadcast(k.one_minus_beta1) * g);
      store_some(first_moment + i, m, mask, whole);
    }
    const Vec v = fma(broadcast(k.beta2), load_some(second_moment + i, mask, whole),
                      broadcast(k.one_minus_beta2) * (g * g));
    store_some(second_moment + i, v, mask, whole);
    const Vec scale = fma(sqrt(v), broadcast(k.inverse_root), broadcast(k.epsilon));
    const Vec change = broadcast(k.rate) * m / scale;
    store_some(w + i, fma(broadcast(k.keep), weights, -change), mask, whole);
  });
}

}  // namespace

UpdateTable make_update_table() {
  return {sgd, adam};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
