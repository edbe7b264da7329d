// The reference device: malloc for memory, a queue that runs everything at once, the families.
#include "tests/reference/reference_device.h"

#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/reference/families.h"

namespace gentrain {

namespace {

class MallocMemory final : public SystemMemory {
 public:
  void* acquire(std::size_t bytes) override {
    void* block = std::aligned_alloc(64, bytes);
    if (block == nullptr) {
      throw DeviceError(fmt::format("reference device: no memory for {} bytes", bytes));
    }
    return block;
  }
  void give_back(void* block, std::size_t /*bytes*/) noexcept override { std::free(block); }
};

class ImmediateQueue final : public Queue {
 public:
  void wait() override {}
};

class ReferenceDevice final : public Device {
 public:
  [[nodiscard]] const DeviceIdentity& identity() const override { return identity_; }
  CachingAllocator& memory() override { return memory_; }
  std::unique_ptr<Queue> make_queue() override { return std::make_unique<ImmediateQueue>(); }
  void to_device(Queue& /*queue*/, const void* host, void* device, std::size_t bytes) override {
    std::memcpy(device, host, bytes);
  }
  void to_host(Queue& /*queue*/, const void* device, void* host, std::size_t bytes) override {
    std::memcpy(host, device, bytes);
  }

  ConvKernels& conv() override { return *conv_; }
  PoolKernels& pool() override { return *pool_; }
  MatmulKernels& matmul() override { return *matmul_; }
  ElementwiseKernels& elementwise() override { return *elementwise_; }
  ReduceKernels& reduce() override { return *reduce_; }
  LossKernels& loss() override { return *loss_; }
  NormKernels& norm() override { return *norm_; }
  PixelKernels& pixel() override { return *pixel_; }
  PointwiseKernels& pointwise() override { return *pointwise_; }
  RandomKernels& random() override { return *random_; }
  UpdateKernels& update() override { return *update_; }

 private:
  DeviceIdentity identity_{"reference", "", "", "textbook loops"};
  CachingAllocator memory_{std::make_unique<MallocMemory>()};
  std::unique_ptr<ConvKernels> conv_ = reference::make_conv();
  std::unique_ptr<PoolKernels> pool_ = reference::make_pool();
  std::unique_ptr<MatmulKernels> matmul_ = reference::make_matmul();
  std::unique_ptr<ElementwiseKernels> elementwise_ = reference::make_elementwise();
  std::unique_ptr<ReduceKernels> reduce_ = reference::make_reduce();
  std::unique_ptr<LossKernels> loss_ = reference::make_loss();
  std::unique_ptr<NormKernels> norm_ = reference::make_norm();
  std::unique_ptr<PixelKernels> pixel_ = reference::make_pixel();
  std::unique_ptr<PointwiseKernels> pointwise_ = reference::make_pointwise();
  std::unique_ptr<RandomKernels> random_ = reference::make_random();
  std::unique_ptr<UpdateKernels> update_ = reference::make_update();
};

}  // namespace

std::unique_ptr<Device> make_reference_device() {
  return std::make_unique<ReferenceDevice>();
}

}  // namespace gentrain
