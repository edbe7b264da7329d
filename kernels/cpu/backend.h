// What the kernel families of the CPU backend share, and how they are made.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/conv.h"
#include "kernels/device.h"
#include "kernels/elementwise.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/pixel.h"
#include "kernels/pointwise.h"
#include "kernels/pool.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "kernels/update.h"

namespace gentrain::simd {
struct Kernels;
}

namespace gentrain::cpu {

class OneDnn;
class WeightsCache;

/// Vector kernels of the instruction set in use, oneDNN, weights in other layouts, and memory.
struct Backend {
  const simd::Kernels* simd;
  OneDnn* onednn;
  WeightsCache* weights;
  CachingAllocator* memory;
};

std::unique_ptr<ConvKernels> make_conv(const Backend& backend);
std::unique_ptr<PoolKernels> make_pool(const Backend& backend);
std::unique_ptr<MatmulKernels> make_matmul(const Backend& backend);
std::unique_ptr<ElementwiseKernels> make_elementwise(const Backend& backend);
std::unique_ptr<ReduceKernels> make_reduce(const Backend& backend);
std::unique_ptr<LossKernels> make_loss(const Backend& backend);
std::unique_ptr<NormKernels> make_norm(const Backend& backend);
std::unique_ptr<PixelKernels> make_pixel(const Backend& backend);
std::unique_ptr<PointwiseKernels> make_pointwise(const Backend& backend);
std::unique_ptr<RandomKernels> make_random(const Backend& backend);
std::unique_ptr<UpdateKernels> make_update(const Backend& backend);

/// What the backend has kept so far, for tests.
struct BackendStatistics {
  std::vector<std::string> implementations;  // of oneDNN's primitives: "OPERATION: NAME"
  std::uint64_t weights_prepared = 0;        // times that weights were brought into another layout
};

/// Throws DeviceError if the device is no CPU device.
BackendStatistics statistics_of(Device& device);

}  // namespace gentrain::cpu
