// Gradients of the weights of convolutions with few input channels, on one thread: the own kernel
// against oneDNN's; where both lie decides the rule of kernels/cpu/conv.cpp.
//
// Arguments: images n, height and width side, channels c and oc, square kernel k with padding k/2,
// stride. The time is the thread's processor time for the best of several calls.
#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/cpu/onednn.h"
#include "kernels/cpu/simd.h"
#include "kernels/device.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

Device& device() {
  static const std::unique_ptr<Device> cpu = make_cpu_device();
  return *cpu;
}

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
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
      compute();
      double best = 1e9;
      double total = 0;
      for (int call = 0; call < 5 || (total < 0.5 && call < 100); ++call) {
        const double start = thread_seconds();
        compute();
        const double seconds = thread_seconds() - start;
        best = std::min(best, seconds);
        total += seconds;
      }
      state.SetIterationTime(best);
      state.counters["GFLOP/s"] =
          2e-9 * static_cast<double>(g.y_shape().elements() * g.kh * g.kw * g.c) / best;
    }
  }
};

void own(benchmark::State& state) {
  Layer l(state);
  const simd::Kernels& kernels =
      device().identity().isa == "v4" ? simd::v4::kernels() : simd::v3::kernels();
  const simd::ConvColumnsShape s = {l.g.n,        l.g.h,   l.g.w,   l.g.c,  l.g.oh(),
                                    l.g.ow(),     l.g.oc,  l.g.kh,  l.g.kw, l.g.stride_h,
                                    l.g.stride_w, l.g.top, l.g.left};
  std::vector<float> scratch(static_cast<std::size_t>(kernels.conv_columns.scratch_bytes(s) / 4));
  l.report(state, [&] {
    kernels.conv_columns.backward_weights(s, l.x.data(), l.dy.data(), l.dw.data(), l.dbias.data(),
                                          scratch.data());
  });
}

void onednn(benchmark::State& state) {
  Layer l(state);
  cpu::WeightsCache weights(device().memory());
  cpu::OneDnn primitives(weights);
  cpu::CpuQueue queue(device().memory());
  const cpu::Program& program = primitives.conv(cpu::Operation::kConvBackwardWeights, l.g, true);
  const cpu::Operands operands = {l.x.data(), l.dw.data(), l.dbias.data(), l.dy.data(), 0};
  l.report(state, [&] { primitives.execute(program, queue, operands); });
}

/// First layers: of SRGAN and VGG19, with larger kernels, of InceptionV3; small ones.
void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"n", "side", "c", "oc", "k", "stride"})->UseManualTime()->Iterations(1);
  for (const std::vector<std::int64_t>& layer :
       std::vector<std::vector<std::int64_t>>{{4, 96, 3, 64, 3, 1},
                                              {1, 96, 3, 64, 3, 1},
                                              {4, 24, 3, 64, 3, 1},
                                              {4, 24, 3, 64, 9, 1},
                                              {4, 96, 3, 64, 9, 1},
                                              {4, 149, 3, 32, 3, 2},
                                              {4, 24, 4, 16, 3, 1},
                                              {4, 28, 1, 32, 3, 1},
                                              {4, 28, 1, 32, 5, 1},
                                              {1, 8, 3, 16, 3, 1}}) {
    benchmark->Args(layer);
  }
}

BENCHMARK(own)->Apply(shapes);
BENCHMARK(onednn)->Apply(shapes);

}  // namespace
}  // namespace gentrain
