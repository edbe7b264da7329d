// Pointwise routines.
#include "kernels/cpu/simd/map.h"
#include "kernels/cpu/simd/rectify.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

void activate(int activation, const float* x, float* y, std::int64_t count) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kTanh:
      return map(x, y, count, [](Vec v) { return tanh_vec(v); });
    case Activation::kRelu:
      return map(x, y, count, [](Vec v) { return relu_vec(v); });
    case Activation::kSigmoid:
      return map(x, y, count, [](Vec v) { return sigmoid_vec(v); });
    case Activation::kNone:
      break;
  }
  if (x != y) {
    __builtin_memcpy(y, x, static_cast<unsigned long>(count) * sizeof(float));
  }
}

void activate_backward(int activation, const float* y, const float* dy, float* dx,
                       std::int64_t count) {
  const auto tanh = [](Vec v, Vec d) { return d * fma(-v, v, broadcast(1.0F)); };
  const auto relu = [](Vec v, Vec d) { return select(v > broadcast(0.0F), d, Vec{}); };
  const auto sigmoid = [](Vec v, Vec d) { return d * (v * (broadcast(1.0F) - v)); };
  switch (static_cast<Activation>(activation)) {
    case Activation::kTanh:
      return map(y, dy, dx, count, tanh);
    case Activation::kRelu:
      return map(y, dy, dx, count, relu);
    case Activation::kSigmoid:
      return map(y, dy, dx, count, sigmoid);
    case Activation::kNone:
      break;
  }
  if (dx != dy) {
    __builtin_memcpy(dx, dy, static_cast<unsigned long>(count) * sizeof(float));
  }
}

void leaky_relu(float slope, const float* x, float* y, std::int64_t count) {
  map(x, y, count, [slope](Vec v) { return rectify<Rectifier::kLeaky>(v, broadcast(slope)); });
}

void leaky_relu_backward(float slope, const float* y, const float* dy, float* dx,
                         std::int64_t count) {
  map(y, dy, dx, count, [slope](Vec v, Vec d) {
    return rectify_backward<Rectifier::kLeaky>(v, d, broadcast(slope));
  });
}

void add_activate(int activation, const float* a, const float* b, float* y, std::int64_t count) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kTanh:
      return map(a, b, y, count, [](Vec v, Vec w) { return tanh_vec(v + w); });
    case Activation::kRelu:
      return map(a, b, y, count, [](Vec v, Vec w) { return relu_vec(v + w); });
    case Activation::kSigmoid:
      return map(a, b, y, count, [](Vec v, Vec w) { return sigmoid_vec(v + w); });
    case Activation::kNone:
      break;
  }
  map(a, b, y, count, [](Vec v, Vec w) { return v + w; });
}

void add(const float* a, const float* b, float* y, std::int64_t count) {
  map(a, b, y, count, [](Vec v, Vec w) { return v + w; });
}

void multiply(const float* a, const float* b, float* y, std::int64_t count) {
  map(a, b, y, count, [](Vec v, Vec w) { return v * w; });
}

void scale(float factor, const float* x, float* y, std::int64_t count) {
  map(x, y, count, [factor](Vec v) { return v * broadcast(factor); });
}

void fill(float value, float* y, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(y + i, broadcast(value));
  }
  if (const int rest = static_cast<int>(count - i); rest > 0) {
    store_n(y + i, broadcast(value), rest);
  }
}

void cast_u8(const std::uint8_t* x, float factor, float shift, float* y, std::int64_t count) {
  const auto convert = [factor, shift](ByteVec bytes) {
    return fma(__builtin_convertvector(bytes, Vec), broadcast(factor), broadcast(shift));
  };
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(y + i, convert(load(x + i)));
  }
  if (const int rest = static_cast<int>(count - i); rest > 0) {
    store_n(y + i, convert(load_n(x + i, rest)), rest);
  }
}

}  // namespace

ElementwiseTable make_elementwise_table() {
  return {activate,     activate_backward,
          leaky_relu,   leaky_relu_backward,
          add_activate, add,
          multiply,     scale,
          fill,         cast_u8};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
