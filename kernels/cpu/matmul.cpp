// Dense layers. Two kernels, chosen by shapes alone: the own one (gemm.h), which reads weights
// packed once per version and adds bias and activation on the way, and oneDNN's.
//
// Measured on one thread of a Zen 3 core (tests/bench/matmul_bench.cpp): forward the own kernel is
// never slower, but for the few rows that use_own_forward names. Backward both are equal within 5 %
// while everything lies in the second cache (the own one ahead where the layer is small); beyond it
// oneDNN's, which copies what it reads into blocks, is up to twice as fast.
#include "kernels/matmul.h"

#include <functional>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/weights_cache.h"

namespace gentrain::cpu {

namespace {

/// n rows, k inputs, m outputs.
struct Extents {
  std::int64_t n, k, m;
};

/// With fewer than four rows the own kernel waits for its own sums; large weights show it.
bool use_own_forward(const Extents& e) {
  return e.n >= 4 || e.k * e.m <= 262144;
}

bool use_own_backward(const Extents& e) {
  constexpr std::int64_t kSecondCache = 131072;  // floats
  return e.n >= 16 && e.n * e.k + e.n * e.m + e.k * e.m <= kSecondCache;
}

class Matmul final : public MatmulKernels {
 public:
  explicit Matmul(const Backend& backend) : backend_(backend), simd_(*backend.simd) {}

  void linear_forward(Queue& queue, ConstView x, const Weights& w, ConstView bias,
                      Activation activation, View y) override {
    const Arguments arguments("linear forward");
    arguments.require_matrix("x", x);
    arguments.require_matrix("w", w.values);
    const Extents e = {x.shape[0], x.shape[1], w.values.shape[0]};
    arguments.require("w", w.values, {e.m, e.k});
    if (bias.present()) {
      arguments.require("bias", bias, {e.m});
    }
    arguments.require("y", y, {e.n, e.m});
    if (use_own_forward(e)) {
      forward_packed(cpu_queue(queue), e, w,
                     {e.n, e.m, e.k, x.as<float>(), e.k, 1, nullptr, 0, bias.as<float>(),
                      static_cast<int>(activation), y.as<float>()});
      return;
    }
    multiply_by_onednn(cpu_queue(queue), {e.n, e.k, e.m, false, true}, x, w.values, y);
    if (bias.present()) {
      for (std::int64_t row = 0; row < e.n; ++row) {
        float* values = y.as<float>() + row * e.m;
        simd_.elementwise.add(values, bias.as<float>(), values, e.m);
      }
    }
    if (activation != Activation::kNone) {
      simd_.elementwise.activate(static_cast<int>(activation), y.as<float>(), y.as<float>(),
                                 y.elements());
    }
  }

  void linear_backward_data(Queue& queue, ConstView dy, const Weights& w, View dx) override {
    const Arguments arguments("linear backward data");
    arguments.require_matrix("dy", dy);
    arguments.require_matrix("w", w.values);
    const Extents e = {dy.shape[0], w.values.shape[1], w.values.shape[0]};
    arguments.require("dy", dy, {e.n, e.m});
    arguments.require("dx", dx, {e.n, e.k});
    if (use_own_backward(e)) {
      simd_.gemm.multiply({e.n, e.k, e.m, dy.as<float>(), e.m, 1, w.values.as<float>(), e.k,
                           nullptr, static_cast<int>(Activation::kNone), dx.as<float>()});
    } else {
      multiply_by_onednn(cpu_queue(queue), {e.n, e.m, e.k, false, false}, dy, w.values, dx);
    }
  }

  void linear_backward_weights(Queue& queue, ConstView x, ConstView dy, View dw,
                               View dbias) override {
    const Arguments arguments("linear backward weights");
    arguments.require_matrix("x", x);
    arguments.require_matrix("dy", dy);
    const Extents e = {x.shape[0], x.shape[1], dy.shape[1]};
    arguments.require("dy", dy, {e.n, e.m});
    arguments.require("dw", dw, {e.m, e.k});
    if (dbias.present()) {
      arguments.require("dbias", dbias, {e.m});
      simd_.gemm.sum_rows(dy.as<float>(), e.n, e.m, dbias.as<float>());
    }
    if (use_own_backward(e)) {
      simd_.gemm.multiply({e.m, e.k, e.n, dy.as<float>(), 1, e.m, x.as<float>(), e.k, nullptr,
                           static_cast<int>(Activation::kNone), dw.as<float>()});
    } else {
      multiply_by_onednn(cpu_queue(queue), {e.m, e.n, e.k, true, false}, dy, x, dw);
    }
  }

 private:
  void forward_packed(CpuQueue& queue, const Extents& e, const Weights& w, simd::GemmCall call) {
    const std::int64_t floats = simd_.gemm.packed_floats(e.m, e.k);
    const std::size_t bytes = static_cast<std::size_t>(floats) * sizeof(float);
    const auto pack = [&](void* packed) {
      simd_.gemm.pack_transposed(w.values.as<float>(), e.m, e.k, static_cast<float*>(packed));
    };
    std::shared_ptr<const Buffer> shared;
    if (w.version == 0) {
      void* packed = queue.scratch(bytes);
      pack(packed);
      call.b = static_cast<const float*>(packed);
    } else {
      shared = backend_.weights->get(w, kPackedLayout, bytes, std::ref(pack));
      call.b = static_cast<const float*>(shared->data());
    }
    simd_.gemm.multiply(call);
  }

  void multiply_by_onednn(CpuQueue& queue, const ProductGeometry& geometry, ConstView x,
                          ConstView w, View y) {
    const Program& program = backend_.onednn->product(geometry);
    backend_.onednn->execute(program, queue, {x.data, w.data, nullptr, y.data, 0});
  }

  Backend backend_;
  const simd::Kernels& simd_;
};

}  // namespace

std::unique_ptr<MatmulKernels> make_matmul(const Backend& backend) {
  return std::make_unique<Matmul>(backend);
}

}  // namespace gentrain::cpu
