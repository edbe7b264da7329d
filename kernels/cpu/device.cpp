// The CPU as a device: memory from the system in huge pages, queues that run at once, and the
// kernel families on top of vector kernels and oneDNN.
#include "kernels/device.h"

#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include <dnnl.hpp>
#include <fmt/format.h>
#include <sys/mman.h>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/queue.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/weights_cache.h"
#include "kernels/error.h"

namespace gentrain {

namespace cpu {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// Pages of the operating system; large blocks begin on huge pages and ask for them, which makes
/// the first touch several times cheaper.
class HostMemory final : public SystemMemory {
 public:
  void* acquire(std::size_t bytes) override {
    if (bytes < kHugePage) {
      return map(bytes);
    }
    auto* start = static_cast<std::byte*>(map(bytes + kHugePage));
    const std::size_t over = reinterpret_cast<std::uintptr_t>(start) % kHugePage;
    const std::size_t head = over == 0 ? 0 : kHugePage - over;
    std::byte* block = start + head;
    if (head > 0) {
      ::munmap(start, head);
    }
    ::munmap(block + bytes, kHugePage - head);
    ::madvise(block, bytes, MADV_HUGEPAGE);  // a kernel without huge pages serves small ones
    return block;
  }
  void give_back(void* block, std::size_t bytes) noexcept override { ::munmap(block, bytes); }

 private:
  static void* map(std::size_t bytes) {
    void* block =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
      throw DeviceError(fmt::format("the system has no {} bytes of memory left for tensors: {}",
                                    bytes, std::strerror(errno)));
    }
    return block;
  }
};

std::string_view name_of(Isa isa) {
  return isa == Isa::kV4 ? "v4" : "v3";
}

class CpuDevice final : public Device {
 public:
  CpuDevice(Isa isa, const std::string& name)
      : backend_{isa == Isa::kV4 ? &simd::v4::kernels() : &simd::v3::kernels(), &onednn_, &weights_,
                 &allocator_},
        conv_(with_bf16(make_conv(backend_), backend_)),
        pool_(with_bf16(make_pool(backend_), backend_)),
        matmul_(with_bf16(make_matmul(backend_), backend_)),
        elementwise_(with_bf16(make_elementwise(backend_), backend_)),
        reduce_(with_bf16(make_reduce(backend_), backend_)),
        loss_(make_loss(backend_)),
        norm_(with_bf16(make_norm(backend_), backend_)),
        pixel_(with_bf16(make_pixel(backend_), backend_)),
        pointwise_(with_bf16(make_pointwise(backend_), backend_)),
        random_(with_bf16(make_random(backend_), backend_)),
        update_(make_update(backend_)) {
    const dnnl_version_t& version = *dnnl_version();
    identity_ = {"cpu", std::string(name_of(isa)),
                 fmt::format("oneDNN {}.{}.{}", version.major, version.minor, version.patch), name};
  }

  [[nodiscard]] const DeviceIdentity& identity() const override { return identity_; }
  CachingAllocator& memory() override { return allocator_; }
  std::unique_ptr<Queue> make_queue() override { return std::make_unique<CpuQueue>(allocator_); }
  void to_device(Queue& /*queue*/, const void* host, void* device, std::size_t bytes) override {
    copy(host, device, bytes);
  }
  void to_host(Queue& /*queue*/, const void* device, void* host, std::size_t bytes) override {
    copy(device, host, bytes);
  }

  bool share(const std::shared_ptr<SharedBlocks>& blocks) override {
    weights_.share(blocks);
    return true;
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

  [[nodiscard]] BackendStatistics statistics() const {
    return {onednn_.implementations(), weights_.fills()};
  }

 private:
  static void copy(const void* from, void* to, std::size_t bytes) {
    if (bytes > 0) {
      std::memcpy(to, from, bytes);
    }
  }

  CachingAllocator allocator_{std::make_unique<HostMemory>()};
  WeightsCache weights_{allocator_};
  OneDnn onednn_{weights_};
  Backend backend_;
  DeviceIdentity identity_;
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

/// Holds oneDNN to an instruction set, whatever the processor has beyond it or the environment asks
/// for: once, since it takes no other afterwards.
void limit_onednn(Isa isa) {
  static std::mutex mutex;
  static std::optional<Isa> limit;
  const std::lock_guard lock(mutex);
  if (limit.has_value()) {
    if (*limit != isa) {
      throw DeviceError(
          fmt::format("this process already has a CPU device of isa {}: one of isa {} needs a "
                      "process of its own",
                      name_of(*limit), name_of(isa)));
    }
    return;
  }
  const dnnl::cpu_isa most = isa == Isa::kV4 ? dnnl::cpu_isa::avx512_core : dnnl::cpu_isa::avx2;
  if (dnnl::set_max_cpu_isa(most) != dnnl::status::success ||
      dnnl::set_cpu_isa_hints(dnnl::cpu_isa_hints::no_hints) != dnnl::status::success) {
    throw DeviceError(
        fmt::format("oneDNN was used before the CPU device: it cannot be held to isa {} any more",
                    name_of(isa)));
  }
  limit = isa;
}

}  // namespace

void* CpuQueue::scratch(std::size_t bytes) {
  if (!block_ || block_->bytes() < bytes) {
    block_.reset();
    block_ = std::make_unique<Buffer>(*allocator_, bytes);
  }
  return block_->data();
}

CpuQueue& cpu_queue(Queue& queue) {
  auto* own = dynamic_cast<CpuQueue*>(&queue);
  if (own == nullptr) {
    throw DeviceError("a kernel of the CPU device was given the queue of another device");
  }
  return *own;
}

BackendStatistics statistics_of(Device& device) {
  const auto* own = dynamic_cast<const CpuDevice*>(&device);
  if (own == nullptr) {
    throw DeviceError(
        fmt::format("statistics of a {} device: a cpu device is needed", device.identity().kind));
  }
  return own->statistics();
}

}  // namespace cpu

std::unique_ptr<Device> make_cpu_device(Isa isa) {
  const cpu::Processor processor = cpu::this_processor();
  const Isa chosen = cpu::choose_isa(isa, processor);
  cpu::limit_onednn(chosen);
  return std::make_unique<cpu::CpuDevice>(chosen, processor.name);
}

}  // namespace gentrain
