// The fused convolution and max pooling at LeNet's two shapes, one shard of 128 images on one
// thread. GFLOP/s count the whole convolution's products, of which the backward routines need a
// quarter.
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/activation.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/simd.h"
#include "tests/support/noise.h"

namespace {

using gentrain::simd::ConvPoolShape;
using gentrain::simd::ConvPoolTable;
using gentrain::test::floats;

enum class Routine { kForward, kBackwardWeights, kBackwardData };

constexpr ConvPoolShape kFirst{128, 28, 28, 1, 6, 5, 5};
constexpr ConvPoolShape kSecond{128, 12, 12, 6, 12, 5, 5};

void run(benchmark::State& state, const ConvPoolTable& table, const ConvPoolShape& s,
         Routine routine) {
  const std::int64_t pooled = s.n * ((s.h - s.kh + 1) / 2) * ((s.w - s.kw + 1) / 2) * s.oc;
  std::vector<float> x = floats(s.n * s.h * s.w * s.c, 1);
  std::vector<float> w = floats(s.oc * s.kh * s.kw * s.c, 2);
  const std::vector<float> bias = floats(s.oc, 3);
  std::vector<float> y(static_cast<std::size_t>(pooled));
  const std::vector<float> dp = floats(pooled, 4);
  std::vector<std::uint8_t> argmax(y.size());
  std::vector<float> gradient_w(w.size());
  std::vector<float> dbias(bias.size());
  void* scratch = std::aligned_alloc(64, static_cast<std::size_t>(table.scratch_bytes(s)));
  const auto forward = [&](gentrain::Activation activation) {
    table.forward(s, x.data(), w.data(), bias.data(), static_cast<int>(activation), y.data(),
                  argmax.data(), scratch);
  };
  forward(gentrain::Activation::kNone);
  std::vector<float> dx(x.size());
  for (auto _ : state) {
    switch (routine) {
      case Routine::kForward:
        forward(gentrain::Activation::kTanh);
        break;
      case Routine::kBackwardWeights:
        table.backward_weights(s, x.data(), dp.data(), argmax.data(), gradient_w.data(),
                               dbias.data(), scratch);
        break;
      case Routine::kBackwardData:
        table.backward_data(s, dp.data(), argmax.data(), w.data(), dx.data(), scratch);
        break;
    }
    benchmark::ClobberMemory();
  }
  std::free(scratch);
  const auto products =
      static_cast<double>(s.n * (s.h - s.kh + 1) * (s.w - s.kw + 1) * s.oc * s.kh * s.kw * s.c);
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * products, benchmark::Counter::kIsIterationInvariantRate);
  state.SetItemsProcessed(state.iterations() * s.n);
}

void add(const std::string& isa, const ConvPoolTable& table) {
  const auto name = [&](const char* what) { return "conv_pool/" + isa + "/" + what; };
  const auto add_one = [&](const char* what, const ConvPoolShape& s, Routine routine) {
    benchmark::RegisterBenchmark(name(what).c_str(), run, table, s, routine);
  };
  add_one("forward/28x28x1-6", kFirst, Routine::kForward);
  add_one("backward_weights/28x28x1-6", kFirst, Routine::kBackwardWeights);
  add_one("forward/12x12x6-12", kSecond, Routine::kForward);
  add_one("backward_weights/12x12x6-12", kSecond, Routine::kBackwardWeights);
  add_one("backward_data/12x12x6-12", kSecond, Routine::kBackwardData);
}

const bool kRegistered = [] {
  add("v3", gentrain::simd::v3::kernels().conv_pool);
  if (gentrain::cpu::this_processor().missing_v4.empty()) {
    add("v4", gentrain::simd::v4::kernels().conv_pool);
  }
  return true;
}();

}  // namespace
