// Convolutions on one thread: the own kernels by matrix products of windows against oneDNN's; where
// both lie decides the rule of kernels/cpu/conv_columns.cpp.
//
// Arguments: images n, height and width side, channels c and oc, square kernel k with padding k/2,
// stride. The time is the thread's processor time for the best of several calls.
#include <cstdlib>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/cpu/conv_columns.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/simd.h"
#include "kernels/device.h"
#include "tests/bench/thread_time.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

Device& device() {
  static const std::unique_ptr<Device> cpu = make_cpu_device();
  return *cpu;
}

struct Layer {
  ConvGeometry g;
  std::vector<float> x, dy, dw, dbias;

  explicit Layer(const benchmark::State& state) {
    const std::int64_t k = state.range(4);
    g = {.n = state.range(0),
         .h = state.range(1),
         .w = state.range(1),
         .c = state.range(2),
         .oc = state.range(3),
         .kh = k,
         .kw = k,
         .stride_h = state.range(5),
         .stride_w = state.range(5),
         .top = k / 2,
         .bottom = k / 2,
         .left = k / 2,
         .right = k / 2};
    x = test::floats(g.x_shape().elements(), 1);
    dy = test::floats(g.y_shape().elements(), 2);
    dw = test::floats(g.w_shape().elements(), 3);
    dbias = test::floats(g.oc, 4);
  }

  /// Times calls of `compute` for half a second, five at least; the first is not counted.
  template <class Compute>
  void report(benchmark::State& state, Compute compute) const {
    for ([[maybe_unused]] auto step : state) {
      const double best = test::best_seconds(compute);
      state.SetIterationTime(best);
      state.counters["GFLOP/s"] =
          2e-9 * static_cast<double>(g.y_shape().elements() * g.kh * g.kw * g.c) / best;
    }
  }
};

const simd::Kernels& own() {
  return device().identity().isa == "v4" ? simd::v4::kernels() : simd::v3::kernels();
}

std::vector<float> scratch_of(std::int64_t bytes) {
  return std::vector<float>(static_cast<std::size_t>(bytes / 4));
}

void own_forward(benchmark::State& state) {
  Layer l(state);
  const simd::ConvColumnsShape s = cpu::ConvColumns::shape_of(l.g);
  const std::int64_t taps = simd::taps_of(s);
  std::vector<float> packed(static_cast<std::size_t>(own().gemm.packed_floats(s.oc, taps)));
  own().gemm.pack_transposed(l.dw.data(), s.oc, taps, packed.data());
  std::vector<float> scratch = scratch_of(own().conv_columns.forward_scratch(s));
  l.report(state, [&] {
    own().conv_columns.forward(s, {l.x.data(), packed.data(), l.dbias.data(), 0, l.dy.data()},
                               scratch.data());
  });
}

void own_backward_data(benchmark::State& state) {
  Layer l(state);
  const simd::ConvColumnsShape s = cpu::ConvColumns::shape_of(l.g);
  std::vector<float> packed(static_cast<std::size_t>(own().conv_columns.turned_floats(s)));
  own().conv_columns.pack_turned(s, l.dw.data(), packed.data());
  std::vector<float> scratch = scratch_of(own().conv_columns.backward_data_scratch(s));
  l.report(state, [&] {
    own().conv_columns.backward_data(s, l.dy.data(), packed.data(), l.x.data(), scratch.data());
  });
}

void own_backward_weights(benchmark::State& state) {
  Layer l(state);
  const simd::ConvColumnsShape s = cpu::ConvColumns::shape_of(l.g);
  std::vector<float> scratch = scratch_of(own().conv_columns.backward_weights_scratch(s));
  l.report(state, [&] {
    own().conv_columns.backward_weights(s, l.x.data(), l.dy.data(), l.dw.data(), l.dbias.data(),
                                        scratch.data());
  });
}

/// Weights, where they are read, are reordered once.
void onednn(benchmark::State& state, cpu::Operation operation) {
  Layer l(state);
  cpu::WeightsCache weights(device().memory());
  cpu::OneDnn primitives(weights);
  cpu::CpuQueue queue(device().memory());
  const bool bias = operation != cpu::Operation::kConvBackwardData;
  const cpu::Program& program = primitives.conv(operation, l.g, bias);
  cpu::Operands operands = {l.x.data(), l.dw.data(), bias ? l.dbias.data() : nullptr, l.dy.data(),
                            operation == cpu::Operation::kConvBackwardWeights ? 0U : 1U};
  l.report(state, [&] { primitives.execute(program, queue, operands); });
}

/// First layers: of SRGAN and VGG19, with larger kernels, of InceptionV3; small ones; layers of
/// stride 2 of SRGAN's discriminator and InceptionV3, with other kernels, with few channels.
void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"n", "side", "c", "oc", "k", "stride"})->UseManualTime()->Iterations(1);
  for (const std::vector<std::int64_t>& layer : std::vector<std::vector<std::int64_t>>{
           {4, 96, 3, 64, 3, 1},    {1, 96, 3, 64, 3, 1},     {4, 24, 3, 64, 3, 1},
           {4, 24, 3, 64, 9, 1},    {4, 96, 3, 64, 9, 1},     {4, 96, 64, 3, 9, 1},
           {4, 149, 3, 32, 3, 2},   {4, 24, 4, 16, 3, 1},     {4, 28, 1, 32, 3, 1},
           {4, 28, 1, 32, 5, 1},    {1, 8, 3, 16, 3, 1},      {4, 96, 64, 64, 3, 2},
           {4, 48, 128, 128, 3, 2}, {4, 24, 256, 256, 3, 2},  {4, 12, 512, 512, 3, 2},
           {1, 12, 512, 512, 3, 2}, {16, 12, 512, 512, 3, 2}, {4, 35, 288, 384, 3, 2},
           {4, 56, 64, 128, 1, 2},  {4, 28, 512, 1024, 1, 2}, {4, 48, 64, 128, 5, 2},
           {4, 48, 64, 64, 7, 2},   {4, 12, 16, 16, 3, 2},    {4, 12, 8, 32, 3, 2}}) {
    benchmark->Args(layer);
  }
}

BENCHMARK(own_forward)->Apply(shapes);
BENCHMARK_CAPTURE(onednn, forward, cpu::Operation::kConvForward)->Apply(shapes);
BENCHMARK(own_backward_data)->Apply(shapes);
BENCHMARK_CAPTURE(onednn, backward_data, cpu::Operation::kConvBackwardData)->Apply(shapes);
BENCHMARK(own_backward_weights)->Apply(shapes);
BENCHMARK_CAPTURE(onednn, backward_weights, cpu::Operation::kConvBackwardWeights)->Apply(shapes);

}  // namespace
}  // namespace gentrain
