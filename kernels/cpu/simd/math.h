// Elementary functions on vectors and the pointwise activations. Every lane is computed by the same
// operations, so that a value gives the same bits wherever it stands.
//
// The rational function of tanh_vec is a weighted least-squares fit in float64 (Lawson's
// reweighting of the linearised problem, relative error on [0, 9.02], 2.1e-8 before rounding to
// f32). The polynomials of exp_vec, log_vec, sin_vec and cos_vec are those of Moshier's Cephes
// library (expf, logf, sinf).
#pragma once

#include "kernels/activation.h"
#include "kernels/cpu/simd/vec.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

/// tanh: relative error below 3.3e-7, odd, exactly 1 in magnitude from 8.86 on and never more; NaN
/// stays NaN.
static inline Vec tanh_vec(Vec x) {
  // At the clamp the quotient rounds to 1 + 2^-23, which the second clamp makes 1.
  const Vec limit = broadcast(8.86F);
  const Vec one = broadcast(1.0F);
  const Vec t = min(limit, max(-limit, x));
  const Vec u = t * t;
  Vec p = broadcast(0x1.c9a3b4p-27F);
  p = fma(p, u, broadcast(0x1.595558p-16F));
  p = fma(p, u, broadcast(0x1.c9f854p-9F));
  p = fma(p, u, broadcast(0x1.120440p-3F));
  p = fma(p, u, one);
  Vec q = broadcast(0x1.a0b852p-21F);
  q = fma(q, u, broadcast(0x1.5841d4p-12F));
  q = fma(q, u, broadcast(0x1.a7df24p-6F));
  q = fma(q, u, broadcast(0x1.de576ap-2F));
  q = fma(q, u, one);
  const Vec y = (t * p) / q;
  return min(one, max(-one, y));
}

/// e^x = 2^n (1 + q), q = e^r - 1 with r = x - n log(2).
struct ExpParts {
  IntVec n;
  Vec q;
};

/// -104 <= x <= 89; NaN stays NaN in q.
static inline ExpParts exp_parts(Vec x) {
  const Vec magic = broadcast(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec shifted = fma(x, broadcast(1.44269504F), magic);
  const Vec n = shifted - magic;
  Vec r = fma(n, broadcast(-0.693359375F), x);
  r = fma(n, broadcast(2.12194440e-4F), r);
  Vec p = broadcast(1.9875691500e-4F);
  p = fma(p, r, broadcast(1.3981999507e-3F));
  p = fma(p, r, broadcast(8.3334519073e-3F));
  p = fma(p, r, broadcast(4.1665795894e-2F));
  p = fma(p, r, broadcast(1.6666665459e-1F));
  p = fma(p, r, broadcast(5.0000001201e-1F));
  return {as_int(shifted) - as_int(magic), fma(p, r * r, r)};
}

/// e^x: relative error below 2e-7 where the result is a normal number; overflow gives infinity,
/// underflow 0; NaN stays NaN.
static inline Vec exp_vec(Vec x) {
  const ExpParts parts = exp_parts(min(broadcast(89.0F), max(broadcast(-104.0F), x)));
  const Vec p = parts.q + broadcast(1.0F);
  const IntVec integer = parts.n;
  // 2^n in two factors, since n runs from -150 to 128.
  const IntVec half = integer >> 1;
  const Vec first = as_float((half + 127) << 23);
  const Vec second = as_float((integer - half + 127) << 23);
  return p * first * second;
}

/// Natural logarithm of a positive normal number: relative error below 2e-7 (absolute below 1e-7
/// near 1). Infinity and NaN give NaN.
static inline Vec log_vec(Vec x) {
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)).
  const IntVec offset = as_int(x) - 0x3f3504f3;
  const IntVec exponent = offset >> 23;
  const Vec m = as_float((offset & 0x7fffff) + 0x3f3504f3);
  const Vec e = to_float(exponent);
  const Vec r = m - broadcast(1.0F);
  const Vec z = r * r;
  Vec p = broadcast(7.0376836292e-2F);
  p = fma(p, r, broadcast(-1.1514610310e-1F));
  p = fma(p, r, broadcast(1.1676998740e-1F));
  p = fma(p, r, broadcast(-1.2420140846e-1F));
  p = fma(p, r, broadcast(1.4249322787e-1F));
  p = fma(p, r, broadcast(-1.6668057665e-1F));
  p = fma(p, r, broadcast(2.0000714765e-1F));
  p = fma(p, r, broadcast(-2.4999993993e-1F));
  p = fma(p, r, broadcast(3.3333331174e-1F));
  Vec y = r * z * p;
  y = fma(e, broadcast(-2.12194440e-4F), y);
  y = fma(z, broadcast(-0.5F), y);
  return fma(e, broadcast(0.693359375F), r + y) + (x - x);
}

/// sin and cos of x in [-pi/4, pi/4]: absolute error below 1e-7.
static inline Vec sin_vec(Vec x) {
  const Vec z = x * x;
  Vec p = broadcast(-1.9515295891e-4F);
  p = fma(p, z, broadcast(8.3321608736e-3F));
  p = fma(p, z, broadcast(-1.6666654611e-1F));
  return fma(p * z, x, x);
}
static inline Vec cos_vec(Vec x) {
  const Vec z = x * x;
  Vec p = broadcast(2.443315711809948e-5F);
  p = fma(p, z, broadcast(-1.388731625493765e-3F));
  p = fma(p, z, broadcast(4.166664568298827e-2F));
  return fma(p, z * z, fma(z, broadcast(-0.5F), broadcast(1.0F)));
}

/// 1 / (1 + e^-x): relative error below 4e-7 where the result is a normal number; NaN stays NaN.
static inline Vec sigmoid_vec(Vec x) {
  const Vec one = broadcast(1.0F);
  return one / (one + exp_vec(-x));
}

/// max(x, 0); NaN stays NaN.
static inline Vec relu_vec(Vec x) {
  return max(broadcast(0.0F), x);
}

/// An activation known at compile time, for loops over many vectors.
template <Activation kActivation>
static inline Vec apply(Vec x) {
  switch (kActivation) {
    case Activation::kTanh:
      return tanh_vec(x);
    case Activation::kRelu:
      return relu_vec(x);
    case Activation::kSigmoid:
      return sigmoid_vec(x);
    case Activation::kNone:
      break;
  }
  return x;
}

/// An activation given as the value of its enumerator: a branch for each vector.
static inline Vec apply(int activation, Vec x) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kTanh:
      return tanh_vec(x);
    case Activation::kRelu:
      return relu_vec(x);
    case Activation::kSigmoid:
      return sigmoid_vec(x);
    case Activation::kNone:
      break;
  }
  return x;
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
