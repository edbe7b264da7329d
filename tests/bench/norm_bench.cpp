// Batch normalisation, PReLU, pixel shuffles and small pooling on one thread, as the device
// computes them.
//
// Arguments: images n, rows h, columns w, channels c; for pixel shuffles those of the smaller
// images. The counter is GB/s of what a pass has to read and write at least: forward x twice and y,
// backward x, dy (with ReLU y too) twice and dx.
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/device.h"
#include "kernels/norm.h"
#include "kernels/pixel.h"
#include "kernels/pool.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

Device& device() {
  static const std::unique_ptr<Device> cpu = make_cpu_device();
  return *cpu;
}

struct Images {
  std::int64_t n, h, w, c;
  Shape shape{n, h, w, c};
  std::vector<float> x = test::floats(shape.elements(), 1);
  std::vector<float> y = test::floats(shape.elements(), 2);
  std::vector<float> dy = test::floats(shape.elements(), 3);
  std::vector<float> dx = test::floats(shape.elements(), 4);
  std::vector<float> channels = test::floats(8 * c, 5, 0.5, 2);
  std::unique_ptr<Queue> queue = device().make_queue();

  explicit Images(const benchmark::State& state)
      : n(state.range(0)), h(state.range(1)), w(state.range(2)), c(state.range(3)) {}

  View view(std::vector<float>& values) const { return {values.data(), DType::kF32, shape}; }
  /// Array i of one value for each channel.
  View channel(std::int64_t i) { return {channels.data() + i * c, DType::kF32, {c}}; }
  void report(benchmark::State& state, int tensors) const {
    state.counters["GB/s"] =
        benchmark::Counter(4e-9 * tensors * static_cast<double>(shape.elements()),
                           benchmark::Counter::kIsIterationInvariantRate);
  }
};

void batch_norm(benchmark::State& state, double slope) {
  Images l(state);
  for ([[maybe_unused]] auto step : state) {
    device().norm().statistics(*l.queue, l.view(l.x), l.channel(0), l.channel(1));
    device().norm().normalize(
        *l.queue, {.slope = slope},
        {l.view(l.x), l.channel(0), l.channel(1), l.channel(2), l.channel(3), {}}, l.view(l.y));
  }
  l.report(state, 3);
}

void batch_norm_backward(benchmark::State& state, double slope) {
  Images l(state);
  for ([[maybe_unused]] auto step : state) {
    device().norm().normalize_backward(
        *l.queue, {.slope = slope},
        {l.view(l.x), l.view(l.y), l.view(l.dy), l.channel(0), l.channel(1), l.channel(2)},
        {l.view(l.dx), l.channel(4), l.channel(5), {}});
  }
  l.report(state, slope == 1 ? 5 : 7);
}

void statistics(benchmark::State& state) {
  Images l(state);
  for ([[maybe_unused]] auto step : state) {
    device().norm().statistics(*l.queue, l.view(l.x), l.channel(0), l.channel(1));
  }
  l.report(state, 1);
}

void normalize(benchmark::State& state) {
  Images l(state);
  for ([[maybe_unused]] auto step : state) {
    device().norm().normalize(
        *l.queue, {.slope = 0},
        {l.view(l.x), l.channel(0), l.channel(1), l.channel(2), l.channel(3), {}}, l.view(l.y));
  }
  l.report(state, 2);
}

void prelu(benchmark::State& state) {
  Images l(state);
  for ([[maybe_unused]] auto step : state) {
    device().norm().prelu(*l.queue, l.view(l.x), l.channel(0), l.view(l.y));
  }
  l.report(state, 2);
}

void prelu_backward(benchmark::State& state) {
  Images l(state);
  for ([[maybe_unused]] auto step : state) {
    device().norm().prelu_backward(*l.queue, l.view(l.x), l.channel(0), l.view(l.dy), l.view(l.dx),
                                   l.channel(1));
  }
  l.report(state, 3);
}

/// The images with r = 2: twice the extents, a quarter of the channels.
Shape shuffled(const Images& l) {
  return {l.n, 2 * l.h, 2 * l.w, l.c / 4};
}

void pixel_shuffle(benchmark::State& state) {
  Images l(state);
  for ([[maybe_unused]] auto step : state) {
    device().pixel().shuffle(*l.queue, 2, 0, l.view(l.x), {l.y.data(), DType::kF32, shuffled(l)});
  }
  l.report(state, 2);
}

void pixel_shuffle_backward(benchmark::State& state) {
  Images l(state);
  for ([[maybe_unused]] auto step : state) {
    device().pixel().shuffle_backward(*l.queue, 2, 0, {l.y.data(), DType::kF32, shuffled(l)},
                                      {l.dy.data(), DType::kF32, shuffled(l)}, l.view(l.dx));
  }
  l.report(state, 3);
}

/// The mean of 4 x 4 pixels: a smaller image.
void box_mean(benchmark::State& state) {
  Images l(state);
  const PoolGeometry g{
      .n = l.n, .h = l.h, .w = l.w, .c = l.c, .kh = 4, .kw = 4, .stride_h = 4, .stride_w = 4};
  for ([[maybe_unused]] auto step : state) {
    device().pool().average_forward(*l.queue, g, l.view(l.x),
                                    {l.y.data(), DType::kF32, g.y_shape()});
  }
  l.report(state, 1);
}

/// Maps of a GAN's generator by shard.
void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"n", "h", "w", "c"})->MeasureProcessCPUTime();
  benchmark->Args({4, 96, 96, 64})->Args({4, 24, 24, 64})->Args({4, 6, 6, 512});
}

BENCHMARK(statistics)->Apply(shapes);
BENCHMARK(normalize)->Apply(shapes);
BENCHMARK_CAPTURE(batch_norm, none, 1)->Apply(shapes);
BENCHMARK_CAPTURE(batch_norm, relu, 0)->Apply(shapes);
BENCHMARK_CAPTURE(batch_norm_backward, none, 1)->Apply(shapes);
BENCHMARK_CAPTURE(batch_norm_backward, relu, 0)->Apply(shapes);
BENCHMARK(prelu)->Apply(shapes);
BENCHMARK(prelu_backward)->Apply(shapes);
BENCHMARK(pixel_shuffle)->Args({4, 48, 48, 256})->Args({4, 24, 24, 256})->Args({4, 48, 48, 64});
BENCHMARK(pixel_shuffle_backward)->Args({4, 48, 48, 256})->Args({4, 24, 24, 256});
BENCHMARK(box_mean)->Args({4, 96, 96, 3})->Args({4, 96, 96, 64});

}  // namespace
}  // namespace gentrain
