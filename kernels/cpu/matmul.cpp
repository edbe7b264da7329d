// Dense layers. Two kernels, chosen by shapes alone: the own one (gemm.h), which reads weights
// packed once per version and adds bias and activation on the way, and oneDNN's.
//
// Measured on one thread of a Zen 3 core (tests/bench/matmul_bench.cpp): forward the own kernel is
// never slower, but for the few rows that use_own_forward names. Backward both are equal within 5 %
// while everything lies in the second cache (the own one ahead where the layer is small); beyond it
// oneDNN's, which copies what it reads into blocks, is up to twice as fast.
#include "kernels/matmul.h"

#include <functional>
#include <numeric>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

static_assert(simd::kMostShards == kMostShardsSideBySide);

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
  return e.n * e.k + e.n * e.m + e.k * e.m <= kSecondCache;
}

/// Whether a rule holds for each of the shards by itself.
template <class Rule>
bool all_shards(Extents e, ShardRows shards, Rule rule) {
  for (const std::int64_t rows : shards) {
    e.n = rows;
    if (rows > 0 && !rule(e)) {
      return false;
    }
  }
  return !shards.empty() || rule(e);
}

/// Rows [first, first + count) of a matrix.
template <class AnyView>
AnyView rows_of(AnyView matrix, std::int64_t first, std::int64_t count) {
  const std::int64_t columns = matrix.shape[1];
  matrix.data = matrix.template as<float>() + first * columns;
  matrix.shape = {count, columns};
  return matrix;
}

/// visit(first row, rows) for each shard that has any.
template <class Visit>
void for_each_shard(ShardRows shards, std::int64_t n, Visit visit) {
  if (shards.empty()) {
    visit(std::int64_t{0}, n);
    return;
  }
  std::int64_t first = 0;
  for (const std::int64_t rows : shards) {
    if (rows > 0) {
      visit(first, rows);
    }
    first += rows;
  }
}

class Matmul final : public MatmulKernels {
 public:
  explicit Matmul(const Backend& backend) : backend_(backend), simd_(*backend.simd) {}

  void linear_forward(Queue& queue, ConstView x, const Weights& w, ConstView bias,
                      Activation activation, View y, ShardRows shards) override {
    const Arguments arguments("linear forward");
    arguments.require_matrix("x", x);
    arguments.require_matrix("w", w.values);
    const Extents e = {x.shape[0], x.shape[1], w.values.shape[0]};
    arguments.require("w", w.values, {e.m, e.k});
    if (bias.present()) {
      arguments.require("bias", bias, {e.m});
    }
    arguments.require("y", y, {e.n, e.m});
    check_shards(arguments.routine(), shards, e.n);
    if (all_shards(e, shards, use_own_forward)) {
      forward_packed(cpu_queue(queue), e, w,
                     {e.n, e.m, e.k, x.as<float>(), e.k, 1, nullptr, 0, bias.as<float>(),
                      static_cast<int>(activation), y.as<float>()});
      return;
    }
    for_each_shard(shards, e.n, [&](std::int64_t first, std::int64_t rows) {
      const View to = rows_of(y, first, rows);
      const ConstView from = rows_of(x, first, rows);
      if (use_own_forward({rows, e.k, e.m})) {
        linear_forward(queue, from, w, bias, activation, to, {});
      } else {
        multiply_by_onednn(cpu_queue(queue), {rows, e.k, e.m, false, true}, from, w.values, to);
        finish_forward(bias, activation, to);
      }
    });
  }

  void linear_backward_data(Queue& queue, ConstView dy, const Weights& w, View dx,
                            ShardRows shards) override {
    const Arguments arguments("linear backward data");
    arguments.require_matrix("dy", dy);
    arguments.require_matrix("w", w.values);
    const Extents e = {dy.shape[0], w.values.shape[1], w.values.shape[0]};
    arguments.require("dy", dy, {e.n, e.m});
    arguments.require("dx", dx, {e.n, e.k});
    check_shards(arguments.routine(), shards, e.n);
    if (all_shards(e, shards, use_own_backward)) {
      backward_data(e, dy, w.values, dx);
      return;
    }
    for_each_shard(shards, e.n, [&](std::int64_t first, std::int64_t rows) {
      const Extents shard = {rows, e.k, e.m};
      const ConstView from = rows_of(dy, first, rows);
      const View to = rows_of(dx, first, rows);
      if (use_own_backward(shard)) {
        backward_data(shard, from, w.values, to);
      } else {
        multiply_by_onednn(cpu_queue(queue), {rows, e.m, e.k, false, false}, from, w.values, to);
      }
    });
  }

  void linear_backward_weights(Queue& queue, ConstView x, ConstView dy, View dw, View dbias,
                               ShardRows shards) override {
    const Arguments arguments("linear backward weights");
    arguments.require_matrix("x", x);
    arguments.require_matrix("dy", dy);
    const Extents e = {x.shape[0], x.shape[1], dy.shape[1]};
    arguments.require("dy", dy, {e.n, e.m});
    arguments.require("dw", dw, {e.m, e.k});
    check_shards(arguments.routine(), shards, e.n);
    const ShardRows rows = shards.empty() ? ShardRows(&e.n, 1) : shards;
    const simd::ShardSumCall call = {e.m,           e.k,         dy.as<float>(),
                                     x.as<float>(), rows.data(), static_cast<int>(rows.size()),
                                     dw.as<float>()};
    if (dbias.present()) {
      arguments.require("dbias", dbias, {e.m});
      simd_.gemm.sum_shards({0, e.m, nullptr, call.a, call.depths, call.shards, dbias.as<float>()});
    }
    if (all_shards(e, shards, use_own_backward)) {
      simd_.gemm.multiply_shards(call);
    } else {
      backward_weights(cpu_queue(queue), x, dy, dw, rows);
    }
  }

 private:
  void finish_forward(ConstView bias, Activation activation, View y) {
    const std::int64_t m = y.shape[1];
    for (std::int64_t row = 0; bias.present() && row < y.shape[0]; ++row) {
      float* values = y.as<float>() + row * m;
      simd_.elementwise.add(values, bias.as<float>(), values, m);
    }
    if (activation != Activation::kNone) {
      simd_.elementwise.activate(static_cast<int>(activation), y.as<float>(), y.as<float>(),
                                 y.elements());
    }
  }

  void backward_data(const Extents& e, ConstView dy, ConstView w, View dx) {
    simd_.gemm.multiply({e.n, e.k, e.m, dy.as<float>(), e.m, 1, w.as<float>(), e.k, nullptr,
                         static_cast<int>(Activation::kNone), dx.as<float>()});
  }

  /// The node of the tree over these shards, each with the product that its rows ask for.
  void backward_weights(CpuQueue& queue, ConstView x, ConstView dy, View dw, ShardRows shards) {
    if (shards.size() > 1) {
      const std::size_t half = shards.size() / 2;
      const std::int64_t left = std::accumulate(
          shards.begin(), shards.begin() + static_cast<std::ptrdiff_t>(half), std::int64_t{0});
      const std::int64_t right = x.shape[0] - left;
      backward_weights(queue, rows_of(x, 0, left), rows_of(dy, 0, left), dw, shards.first(half));
      const Buffer other(*backend_.memory, static_cast<std::size_t>(dw.elements()) * sizeof(float));
      const View sum{other.data(), DType::kF32, dw.shape};
      backward_weights(queue, rows_of(x, left, right), rows_of(dy, left, right), sum,
                       shards.last(half));
      simd_.elementwise.add(dw.as<float>(), sum.as<float>(), dw.as<float>(), dw.elements());
      return;
    }
    const Extents e = {shards[0], x.shape[1], dy.shape[1]};
    if (e.n == 0 || use_own_backward(e)) {
      simd_.gemm.multiply_shards(
          {e.m, e.k, dy.as<float>(), x.as<float>(), &e.n, 1, dw.as<float>()});
    } else {
      multiply_by_onednn(queue, {e.m, e.n, e.k, true, false}, dy, x, dw);
    }
  }

  void forward_packed(CpuQueue& queue, const Extents& e, const Weights& w, simd::GemmCall call) {
    const auto pack = [&](float* packed) {
      simd_.gemm.pack_transposed(w.values.as<float>(), e.m, e.k, packed);
    };
    const PackedWeights packed(
        queue, *backend_.weights,
        {w, kPackedLayout, simd_.gemm.packed_floats(e.m, e.k), std::ref(pack)}, 0);
    call.b = packed.weights();
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
