// A device that passes everything on to another one and counts the kernels it is asked for.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/conv.h"
#include "kernels/cpu/onednn.h"
#include "kernels/device.h"

namespace gentrain::test {

/// Calls by name: "conv.forward", "elementwise.add".
using Calls = std::map<std::string, int>;

/// Calls of one pass of convolutions of one geometry.
struct ConvCalls {
  std::string pass;  // "conv.forward"
  cpu::Operation operation{};
  ConvGeometry geometry;
  int count = 0;
};

class CountingDevice final : public Device {
 public:
  /// `device` must outlive this one. Memory and queues are its own.
  explicit CountingDevice(Device& device);
  ~CountingDevice() override;
  CountingDevice(const CountingDevice&) = delete;
  CountingDevice& operator=(const CountingDevice&) = delete;

  /// What was called since the start or the last clear().
  [[nodiscard]] const Calls& calls() const { return calls_; }
  [[nodiscard]] int calls(const std::string& name) const;
  /// Convolutions in the order of their first calls, those fused with pooling apart.
  [[nodiscard]] const std::vector<ConvCalls>& convolutions() const { return convolutions_; }
  void clear() {
    calls_.clear();
    convolutions_.clear();
  }

  [[nodiscard]] const DeviceIdentity& identity() const override { return device_.identity(); }
  CachingAllocator& memory() override { return device_.memory(); }
  std::unique_ptr<Queue> make_queue() override { return device_.make_queue(); }
  void to_device(Queue& queue, const void* host, void* device, std::size_t bytes) override {
    device_.to_device(queue, host, device, bytes);
  }
  void to_host(Queue& queue, const void* device, void* host, std::size_t bytes) override {
    device_.to_host(queue, device, host, bytes);
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
  Device& device_;
  Calls calls_;
  std::vector<ConvCalls> convolutions_;
  std::unique_ptr<ConvKernels> conv_;
  std::unique_ptr<PoolKernels> pool_;
  std::unique_ptr<MatmulKernels> matmul_;
  std::unique_ptr<ElementwiseKernels> elementwise_;
  std::unique_ptr<ReduceKernels> reduce_;
  std::unique_ptr<LossKernels> loss_;
  std::unique_ptr<NormKernels> norm_;
  std::unique_ptr<PixelKernels> pixel_;
  std::unique_ptr<PointwiseKernels> pointwise_;
  std::unique_ptr<RandomKernels> random_;
  std::unique_ptr<UpdateKernels> update_;
};

}  // namespace gentrain::test
