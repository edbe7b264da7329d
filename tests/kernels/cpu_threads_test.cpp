// oneDNN's sums have the same bits on threads that OpenMP would let use several: the backend takes
// one. Every computation makes its primitives anew, since a primitive keeps the number of threads
// it was made with.
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/onednn.h"
#include "kernels/cpu/openmp.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using test::Workbench;
using Values = std::vector<double>;

/// The gradients of a convolution's weights: sums over many images and pixels, which oneDNN shares
/// among its threads.
Values weight_gradients(const Workbench& bench) {
  const ConvGeometry g{.n = 128, .h = 28, .w = 28, .c = 1, .oc = 6, .kh = 5, .kw = 5};
  const Tensor x = bench.random(g.x_shape(), RngKey(1), DType::kF32);
  const Tensor dy = bench.random(g.y_shape(), RngKey(2), DType::kF32);
  const Tensor dw = bench.empty(g.w_shape(), DType::kF32);
  cpu::WeightsCache weights(bench.device().memory());
  cpu::OneDnn onednn(weights);
  onednn.execute(onednn.conv(cpu::Operation::kConvBackwardWeights, g, false),
                 cpu::cpu_queue(bench.queue()), {x.data(), dw.data(), nullptr, dy.data()});
  return bench.values(dw);
}

/// The gradients on a new thread that lets OpenMP have `threads` threads: before its first kernel
/// or only after it.
Values on_thread_with(int threads, bool before_first_kernel) {
  Values result;
  std::thread worker([&] {
    const Workbench bench(test::cpu_device());
    if (!before_first_kernel) {
      weight_gradients(bench);
    }
    omp_set_num_threads(threads);
    result = weight_gradients(bench);
  });
  worker.join();
  return result;
}

TEST(CpuThreads, WhatOpenMpAllowsDoesNotChangeTheBits) {
  const Values expected = on_thread_with(1, true);
  EXPECT_EQ(on_thread_with(2, true), expected);
  EXPECT_EQ(on_thread_with(3, true), expected);
}

TEST(CpuThreads, SeveralThreadsWouldChangeTheBits) {
  EXPECT_NE(on_thread_with(3, false), on_thread_with(1, true));
}

}  // namespace
}  // namespace gentrain
