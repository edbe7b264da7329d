// 3x3 convolutions on one thread: the own Winograd kernels against oneDNN's direct ones and, where
// the processor has AVX-512, its Winograd at the same shapes; where they lie decides the rule of
// kernels/cpu/winograd.cpp.
//
// Arguments: images n, height and width side, channels c and oc; padding 1. The time is the
// thread's processor time for the best of several calls; the counter counts the products of the
// definition: GFLOP/s "effective".
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <dnnl.hpp>

#include "kernels/cpu/onednn.h"
#include "kernels/cpu/openmp.h"
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

const simd::WinogradTable& own() {
  return device().identity().isa == "v4" ? simd::v4::kernels().winograd
                                         : simd::v3::kernels().winograd;
}

struct Layer {
  ConvGeometry g;
  simd::WinogradShape shape;
  std::vector<float> x, w, bias, y;

  explicit Layer(const benchmark::State& state)
      : g{.n = state.range(0),
          .h = state.range(1),
          .w = state.range(1),
          .c = state.range(2),
          .oc = state.range(3),
          .kh = 3,
          .kw = 3,
          .top = 1,
          .bottom = 1,
          .left = 1,
          .right = 1},
        shape{g.n, g.h, g.w, g.c, g.h, g.w, g.oc, 1, 1},
        x(test::floats(g.x_shape().elements(), 1)),
        w(test::floats(g.w_shape().elements(), 2)),
        bias(test::floats(g.oc, 3)),
        y(test::floats(g.y_shape().elements(), 4)) {}

  /// Times calls of `compute` for half a second, five at least; the first is not counted.
  template <class Compute>
  void report(benchmark::State& state, Compute compute) const {
    for ([[maybe_unused]] auto step : state) {
      const double best = test::best_seconds(compute);
      state.SetIterationTime(best);
      state.counters["GFLOP/s"] = 18e-9 * static_cast<double>(g.y_shape().elements() * g.c) / best;
    }
  }
};

struct Free {
  void operator()(void* block) const { std::free(block); }
};
using Block = std::unique_ptr<float, Free>;

Block block_of(std::int64_t bytes) {
  return Block(static_cast<float*>(
      std::aligned_alloc(64, static_cast<std::size_t>((bytes + 63) / 64 * 64))));
}

Block packed_block(std::int64_t c, std::int64_t oc) {
  return block_of(own().packed_floats(c, oc) * 4);
}

void own_forward(benchmark::State& state) {
  Layer l(state);
  const Block packed = packed_block(l.g.c, l.g.oc);
  own().pack(l.w.data(), l.g.oc, l.g.c, packed.get());
  const Block scratch = block_of(own().forward_scratch(l.shape));
  l.report(state, [&] {
    own().forward(l.shape, {l.x.data(), packed.get(), l.bias.data(), 0, l.y.data(), scratch.get()});
  });
}

void own_backward_data(benchmark::State& state) {
  Layer l(state);
  const simd::WinogradShape back = {l.g.n, l.g.h, l.g.w, l.g.oc, l.g.h, l.g.w, l.g.c, 1, 1};
  const Block packed = packed_block(l.g.oc, l.g.c);
  own().pack_turned(l.w.data(), l.g.oc, l.g.c, packed.get());
  const Block scratch = block_of(own().forward_scratch(back));
  l.report(state, [&] {
    own().forward(back, {l.y.data(), packed.get(), nullptr, 0, l.x.data(), scratch.get()});
  });
}

void own_backward_weights(benchmark::State& state) {
  Layer l(state);
  const Block scratch = block_of(own().backward_weights_scratch(l.shape));
  l.report(state, [&] {
    own().backward_weights(l.shape, l.x.data(), l.y.data(), l.w.data(), l.bias.data(),
                           scratch.get());
  });
}

/// The weights' transforms, once per version: forward and turned.
void own_pack(benchmark::State& state) {
  Layer l(state);
  const Block packed = packed_block(l.g.c, l.g.oc);
  l.report(state, [&] { own().pack(l.w.data(), l.g.oc, l.g.c, packed.get()); });
}

void own_pack_turned(benchmark::State& state) {
  Layer l(state);
  const Block packed = packed_block(l.g.oc, l.g.c);
  l.report(state, [&] { own().pack_turned(l.w.data(), l.g.oc, l.g.c, packed.get()); });
}

void by_onednn(benchmark::State& state, cpu::Operation operation) {
  Layer l(state);
  cpu::WeightsCache weights(device().memory());
  cpu::OneDnn onednn(weights);
  cpu::CpuQueue queue(device().memory());
  const bool with_bias = operation != cpu::Operation::kConvBackwardData;
  const cpu::Program& program = onednn.conv(operation, l.g, with_bias);
  const cpu::Operands operands = {l.x.data(), l.w.data(), with_bias ? l.bias.data() : nullptr,
                                  l.y.data(), 1};
  l.report(state, [&] { onednn.execute(program, queue, operands); });
}

void onednn_forward(benchmark::State& state) {
  by_onednn(state, cpu::Operation::kConvForward);
}
void onednn_backward_data(benchmark::State& state) {
  by_onednn(state, cpu::Operation::kConvBackwardData);
}
void onednn_backward_weights(benchmark::State& state) {
  by_onednn(state, cpu::Operation::kConvBackwardWeights);
}

/// One of oneDNN's own Winograd convolutions, on operands in the layouts that it asks for: its
/// reorders are not counted. Throws dnnl::error where it has none.
class OneDnnWinograd {
 public:
  OneDnnWinograd(cpu::Operation operation, const ConvGeometry& g) {
    omp_set_num_threads(1);
    using dnnl::memory;
    constexpr auto kWinograd = dnnl::algorithm::convolution_winograd;
    const auto any = [](const memory::dims& dims) {
      return memory::desc(dims, memory::data_type::f32, memory::format_tag::any);
    };
    const memory::desc x = any({g.n, g.c, g.h, g.w});
    const memory::desc w = any({g.oc, g.c, g.kh, g.kw});
    const memory::desc bias = any({g.oc});
    const memory::desc y = any({g.n, g.oc, g.h, g.w});
    const memory::dims one{1, 1};
    const dnnl::convolution_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, kWinograd, x, w, bias, y, one, one, one}, engine_);
    if (operation == cpu::Operation::kConvForward) {
      primitive_ = dnnl::convolution_forward(forward);
      give({{DNNL_ARG_SRC, forward.src_desc()},
            {DNNL_ARG_WEIGHTS, forward.weights_desc()},
            {DNNL_ARG_BIAS, forward.bias_desc()},
            {DNNL_ARG_DST, forward.dst_desc()}});
    } else if (operation == cpu::Operation::kConvBackwardData) {
      const dnnl::convolution_backward_data::primitive_desc back(
          {kWinograd, x, w, y, one, one, one}, engine_, forward);
      primitive_ = dnnl::convolution_backward_data(back);
      give({{DNNL_ARG_DIFF_DST, back.diff_dst_desc()},
            {DNNL_ARG_WEIGHTS, back.weights_desc()},
            {DNNL_ARG_DIFF_SRC, back.diff_src_desc()}});
    } else {
      const dnnl::convolution_backward_weights::primitive_desc back(
          {kWinograd, x, w, bias, y, one, one, one}, engine_, forward);
      primitive_ = dnnl::convolution_backward_weights(back);
      give({{DNNL_ARG_SRC, back.src_desc()},
            {DNNL_ARG_DIFF_DST, back.diff_dst_desc()},
            {DNNL_ARG_DIFF_WEIGHTS, back.diff_weights_desc()},
            {DNNL_ARG_DIFF_BIAS, back.diff_bias_desc()}});
    }
  }

  void execute() {
    primitive_.execute(stream_, operands_);
    stream_.wait();
  }

 private:
  void give(const std::vector<std::pair<int, dnnl::memory::desc>>& operands) {
    for (const auto& [name, desc] : operands) {
      dnnl::memory operand(desc, engine_);
      const std::vector<float> values =
          test::floats(static_cast<std::int64_t>(desc.get_size() / sizeof(float)), 5);
      std::copy(values.begin(), values.end(), static_cast<float*>(operand.get_data_handle()));
      operands_.emplace(name, operand);
    }
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  dnnl::primitive primitive_;
  std::unordered_map<int, dnnl::memory> operands_;
};

void winograd_of_onednn(benchmark::State& state, cpu::Operation operation) {
  const Layer l(state);
  try {
    OneDnnWinograd winograd(operation, l.g);
    l.report(state, [&] { winograd.execute(); });
  } catch (const dnnl::error&) {
    state.SkipWithError("oneDNN has no Winograd for this shape on this processor");
  }
}

void onednn_winograd_forward(benchmark::State& state) {
  winograd_of_onednn(state, cpu::Operation::kConvForward);
}
void onednn_winograd_backward_data(benchmark::State& state) {
  winograd_of_onednn(state, cpu::Operation::kConvBackwardData);
}
void onednn_winograd_backward_weights(benchmark::State& state) {
  winograd_of_onednn(state, cpu::Operation::kConvBackwardWeights);
}

/// Convolutions of SRGAN, VGG19 and InceptionV3.
void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"n", "side", "c", "oc"})->UseManualTime()->Iterations(1);
  for (const std::int64_t n : {16, 4, 1}) {
    for (const std::vector<std::int64_t>& layer :
         std::vector<std::vector<std::int64_t>>{{24, 64, 64},
                                                {96, 64, 64},
                                                {48, 64, 128},
                                                {48, 128, 128},
                                                {24, 256, 256},
                                                {12, 512, 512},
                                                {6, 512, 512},
                                                {48, 64, 256},
                                                {35, 96, 96},
                                                {71, 80, 192},
                                                {147, 32, 64}}) {
      benchmark->Args({n, layer[0], layer[1], layer[2]});
    }
  }
}

BENCHMARK(own_forward)->Apply(shapes);
BENCHMARK(onednn_forward)->Apply(shapes);
BENCHMARK(onednn_winograd_forward)->Apply(shapes);
BENCHMARK(own_backward_data)->Apply(shapes);
BENCHMARK(onednn_backward_data)->Apply(shapes);
BENCHMARK(onednn_winograd_backward_data)->Apply(shapes);
BENCHMARK(own_backward_weights)->Apply(shapes);
BENCHMARK(onednn_backward_weights)->Apply(shapes);
BENCHMARK(onednn_winograd_backward_weights)->Apply(shapes);
BENCHMARK(own_pack)->Apply(shapes);
BENCHMARK(own_pack_turned)->Apply(shapes);

}  // namespace
}  // namespace gentrain
