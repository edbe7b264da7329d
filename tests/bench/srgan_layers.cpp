// What SRGAN's layers cost: the convolutions of a step of the stage `gan`, book's networks and
// three maps of VGG19, each alone on one thread, and everything else of the step together.
//
// usage: srgan_layers [IMAGES OF A SHARD]    4 unless given
//
// A line for each pass and geometry: which kernels, calls for each shard, and for one of them the
// best processor time of several and the rate, with the products counted as a direct convolution
// needs them.
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/autograd.h"
#include "kernels/cpu/conv_rule.h"
#include "tests/bench/thread_time.h"
#include "tests/support/counting_device.h"
#include "tests/support/gradients.h"
#include "tests/support/workbench.h"
#include "trainers/srgan.h"

namespace gentrain::trainers {
namespace {

/// One shard of the stage `gan`.
class ShardOfSrgan {
 public:
  ShardOfSrgan(Device& device, std::int64_t images)
      : bench_(device), x_(bench_.random({images, 96, 96, 3}, RngKey(1), DType::kF32)) {
    std::vector<VggMap> maps = {{"block1_conv2"}, {"block2_conv2"}, {"block3_conv4"}};
    auto features = std::make_unique<VggFeatures>(VggNet::kVgg19, maps, VggInput::kCaffe);
    features->initialize(device, bench_.queue(), RngKey(2));
    srgan_.content().set(std::move(features), maps, {1.0, 1.0, 1.0}, 1.0);
    parameters_.allocate(device, bench_.queue(), DType::kF32);
    parameters_.initialize(device, bench_.queue(), RngKey(3));
  }

  void step() {
    test::GradientStore store(bench_, parameters_);
    Tape tape(bench_.device(), bench_.queue());
    Context context{bench_.device(), bench_.queue(), &tape, true, {}};
    ShardStep step{context, store, "gan", x_, {}, 1.0};
    srgan_.train(step);
  }

 private:
  test::Workbench bench_;
  Tensor x_;
  ParameterSet parameters_;
  Srgan srgan_{{}, {}, Shape{96, 96, 3}, parameters_};
};

double seconds_of(const test::Workbench& bench, const test::ConvCalls& calls) {
  const ConvGeometry& g = calls.geometry;
  const Tensor x = bench.random(g.x_shape(), RngKey(4), DType::kF32);
  const Tensor w = bench.random(g.w_shape(), RngKey(5), DType::kF32);
  const Tensor y = bench.random(g.y_shape(), RngKey(6), DType::kF32);
  ConvKernels& conv = bench.device().conv();
  return test::best_seconds([&] {
    switch (calls.operation) {
      case cpu::Operation::kConvForward:
        conv.forward(bench.queue(), g, x.cview(), {w.cview(), 1}, {}, Activation::kNone, y.view());
        break;
      case cpu::Operation::kConvBackwardData:
        conv.backward_data(bench.queue(), g, y.cview(), {w.cview(), 1}, x.view());
        break;
      default:
        conv.backward_weights(bench.queue(), g, x.cview(), y.cview(), w.view(), {});
    }
  });
}

void print_layers(std::int64_t images) {
  test::CountingDevice counting(test::cpu_device());
  ShardOfSrgan(counting, images).step();
  const test::Workbench bench(test::cpu_device());
  double convolutions = 0;
  fmt::print("{:22} {:20} {:>14} {:9} {:>5} {:>8} {:>8}\n", "pass", "images", "weights", "kernels",
             "calls", "ms", "GFLOP/s");
  for (const test::ConvCalls& calls : counting.convolutions()) {
    const ConvGeometry& g = calls.geometry;
    const double seconds = seconds_of(bench, calls);
    convolutions += seconds * calls.count;
    const double products = 2.0 * static_cast<double>(g.y_shape().elements() * g.kh * g.kw * g.c);
    fmt::print("{:22} {:20} {:>14} {:9} {:5} {:8.3f} {:8.1f}\n", calls.pass, g.x_shape().str(),
               fmt::format("{}x{}x{}{}", g.oc, g.kh, g.kw, g.stride_h > 1 ? " /2" : ""),
               name_of(cpu::conv_kind(calls.operation, g)), calls.count, 1e3 * seconds,
               1e-9 * products / seconds);
  }
  ShardOfSrgan shard(test::cpu_device(), images);
  const double all = test::best_seconds([&] { shard.step(); });
  fmt::print("a shard: {:.1f} ms, of which convolutions {:.1f} ms, the rest {:.1f} ms\n", 1e3 * all,
             1e3 * convolutions, 1e3 * (all - convolutions));
}

}  // namespace
}  // namespace gentrain::trainers

int main(int argc, char** argv) {
  gentrain::trainers::print_layers(argc > 1 ? std::atoll(argv[1]) : 4);
}
