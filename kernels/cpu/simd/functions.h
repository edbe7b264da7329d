// More elementary functions on vectors, for pointwise functions: over all numbers, infinities
// included, and accurate near zero. Every lane is computed by the same operations.
//
// The polynomials of erf_vec are those of Moshier's Cephes library (erff, erfcf).
#pragma once

#include "kernels/cpu/simd/math.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

static inline Vec abs_vec(Vec x) {
  return as_float(as_int(x) & 0x7fffffff);
}

/// x, its sign that of another number.
static inline Vec with_sign_of(Vec x, Vec sign) {
  return as_float((as_int(x) & 0x7fffffff) | (as_int(sign) & ~0x7fffffff));
}

/// d, or NaN where x is.
static inline Vec where_number(Vec x, Vec d) {
  return select(x == x, d, x);
}

/// Natural logarithm of any number: relative error below 3e-7; -infinity of 0, NaN below 0.
static inline Vec log_any_vec(Vec x) {
  const IntVec small = x < broadcast(0x1p-126F);
  const Vec scaled = select(small, x * broadcast(0x1p23F), x);
  const Vec y = log_vec(scaled) - select(small, broadcast(15.9423852F), Vec{});  // 23 log(2)
  const Vec infinity = broadcast(__builtin_inff());
  const Vec finite = select(x == infinity, infinity, y);
  const Vec positive = select(x == Vec{}, -infinity, finite);
  return select(x < Vec{}, broadcast(__builtin_nanf("")), positive);
}

/// log(1 + u) for u in [0, 1]: relative error below 4e-7; NaN stays NaN.
static inline Vec log1p_vec(Vec u) {
  const Vec one = broadcast(1.0F);
  const Vec w = one + u;
  return log_vec(w) + (u - (w - one)) / w;
}

/// e^x - 1 for x up to 0: relative error below 3e-7; NaN stays NaN. Larger x count as 0.
static inline Vec expm1_vec(Vec x) {
  const ExpParts parts = exp_parts(min(broadcast(0.0F), max(broadcast(-30.0F), x)));
  const Vec scale = as_float((parts.n + 127) << 23);
  return fma(scale, parts.q, scale - broadcast(1.0F));
}

/// erf: relative error below 4e-7, odd; NaN stays NaN.
static inline Vec erf_vec(Vec x) {
  const Vec one = broadcast(1.0F);
  const Vec z = x * x;
  Vec near = broadcast(7.853861353153693e-5F);
  near = fma(near, z, broadcast(-8.010193625184903e-4F));
  near = fma(near, z, broadcast(5.188327685732524e-3F));
  near = fma(near, z, broadcast(-2.685381193529856e-2F));
  near = fma(near, z, broadcast(1.128358514861418e-1F));
  near = fma(near, z, broadcast(-3.761262582423300e-1F));
  near = fma(near, z, broadcast(1.128379165726710F));
  // erfc(t) = e^(-t^2) / t P(1 / t^2), which does not change 1 any more from 4 on.
  const Vec t = min(broadcast(4.0F), max(one, abs_vec(x)));
  const Vec u = one / (t * t);
  Vec p = broadcast(2.326819970068386e-2F);
  p = fma(p, u, broadcast(-1.387039388740657e-1F));
  p = fma(p, u, broadcast(3.687424674597105e-1F));
  p = fma(p, u, broadcast(-5.824733027278666e-1F));
  p = fma(p, u, broadcast(6.210004621745983e-1F));
  p = fma(p, u, broadcast(-4.944515323274145e-1F));
  p = fma(p, u, broadcast(3.404879937665872e-1F));
  p = fma(p, u, broadcast(-2.741127028184656e-1F));
  p = fma(p, u, broadcast(5.638259427386472e-1F));
  const Vec far = one - exp_vec(-(t * t)) / t * p;
  return select(abs_vec(x) > one, with_sign_of(far, x), x * near);
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
