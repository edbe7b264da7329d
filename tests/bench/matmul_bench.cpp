// Dense layers on one thread: the own kernel against oneDNN's at the same shapes, and the layer as
// the device computes it (`device`: the rule of kernels/cpu/matmul.cpp at work, bias and tanh
// included).
//
// Arguments: rows n, inputs k, outputs m. The counter is GFLOP/s.
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/cpu/onednn.h"
#include "kernels/cpu/simd.h"
#include "kernels/device.h"
#include "kernels/matmul.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

Device& device() {
  static const std::unique_ptr<Device> cpu = make_cpu_device();
  return *cpu;
}

const simd::GemmTable& own() {
  return device().identity().isa == "v4" ? simd::v4::kernels().gemm : simd::v3::kernels().gemm;
}

struct Layer {
  std::int64_t n, k, m;
  std::vector<float> x, w, bias, y, packed;

  explicit Layer(const benchmark::State& state)
      : n(state.range(0)),
        k(state.range(1)),
        m(state.range(2)),
        x(test::floats(n * k, 1)),
        w(test::floats(m * k, 2)),
        bias(test::floats(m, 3)),
        y(test::floats(n * m, 4)),
        packed(static_cast<std::size_t>(own().packed_floats(m, k))) {
    own().pack_transposed(w.data(), m, k, packed.data());
  }

  void report(benchmark::State& state) const {
    state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * static_cast<double>(n * k * m),
                                                   benchmark::Counter::kIsIterationInvariantRate);
  }
};

void own_forward(benchmark::State& state) {
  Layer l(state);
  for ([[maybe_unused]] auto step : state) {
    own().multiply(
        {l.n, l.m, l.k, l.x.data(), l.k, 1, l.packed.data(), 0, l.bias.data(), 0, l.y.data()});
  }
  l.report(state);
}

void own_backward_data(benchmark::State& state) {
  Layer l(state);
  for ([[maybe_unused]] auto step : state) {
    own().multiply({l.n, l.k, l.m, l.y.data(), l.m, 1, l.w.data(), l.k, nullptr, 0, l.x.data()});
  }
  l.report(state);
}

void own_backward_weights(benchmark::State& state) {
  Layer l(state);
  for ([[maybe_unused]] auto step : state) {
    own().multiply({l.m, l.k, l.n, l.y.data(), 1, l.m, l.x.data(), l.k, nullptr, 0, l.w.data()});
  }
  l.report(state);
}

/// One product by oneDNN: x and w as the pass names its factors.
void by_onednn(benchmark::State& state, const Layer& l, const cpu::ProductGeometry& geometry,
               const cpu::Operands& operands) {
  cpu::WeightsCache weights(device().memory());
  cpu::OneDnn onednn(weights);
  cpu::CpuQueue queue(device().memory());
  const cpu::Program& program = onednn.product(geometry);
  for ([[maybe_unused]] auto step : state) {
    onednn.execute(program, queue, operands);
  }
  l.report(state);
}

void onednn_forward(benchmark::State& state) {
  const Layer l(state);
  by_onednn(state, l, {l.n, l.k, l.m, false, true}, {l.x.data(), l.w.data(), nullptr, l.y.data()});
}

void onednn_backward_data(benchmark::State& state) {
  const Layer l(state);
  by_onednn(state, l, {l.n, l.m, l.k, false, false}, {l.y.data(), l.w.data(), nullptr, l.x.data()});
}

void onednn_backward_weights(benchmark::State& state) {
  const Layer l(state);
  by_onednn(state, l, {l.m, l.n, l.k, true, false}, {l.y.data(), l.x.data(), nullptr, l.w.data()});
}

void device_forward(benchmark::State& state) {
  Layer l(state);
  const std::unique_ptr<Queue> queue = device().make_queue();
  const ConstView x{l.x.data(), DType::kF32, {l.n, l.k}};
  const Weights w{{l.w.data(), DType::kF32, {l.m, l.k}}, ~std::uint64_t{0} - l.packed.size()};
  const ConstView bias{l.bias.data(), DType::kF32, {l.m}};
  const View y{l.y.data(), DType::kF32, {l.n, l.m}};
  for ([[maybe_unused]] auto step : state) {
    device().matmul().linear_forward(*queue, x, w, bias, Activation::kTanh, y, {});
  }
  l.report(state);
}

/// LeNet's two layers by shard and by batch, the VAE's by shard, larger ones.
void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"n", "k", "m"})->MeasureProcessCPUTime();
  for (const std::vector<std::int64_t>& shape :
       std::vector<std::vector<std::int64_t>>{{128, 192, 100},
                                              {128, 100, 10},
                                              {2048, 192, 100},
                                              {4, 784, 128},
                                              {128, 784, 400},
                                              {2, 2048, 1000},
                                              {16, 2048, 1000},
                                              {512, 1024, 1024}}) {
    benchmark->Args(shape);
  }
}

BENCHMARK(own_forward)->Apply(shapes);
BENCHMARK(onednn_forward)->Apply(shapes);
BENCHMARK(own_backward_data)->Apply(shapes);
BENCHMARK(onednn_backward_data)->Apply(shapes);
BENCHMARK(own_backward_weights)->Apply(shapes);
BENCHMARK(onednn_backward_weights)->Apply(shapes);
BENCHMARK(device_forward)->Apply(shapes);

}  // namespace
}  // namespace gentrain
