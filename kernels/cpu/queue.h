// The queue of the CPU backend: kernels run at once on the calling thread; the queue lends scratch.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/buffer.h"
#include "kernels/device.h"

namespace gentrain::cpu {

class CpuQueue final : public Queue {
 public:
  explicit CpuQueue(CachingAllocator& allocator) : allocator_(&allocator) {}
  void wait() override {}

  /// At least `bytes`, aligned to 64 bytes, with any content; valid until the next call.
  void* scratch(std::size_t bytes);
  /// The device's memory.
  [[nodiscard]] CachingAllocator& memory() const { return *allocator_; }

 private:
  CachingAllocator* allocator_;
  std::unique_ptr<Buffer> block_;
};

/// Throws DeviceError if the queue belongs to another kind of device.
CpuQueue& cpu_queue(Queue& queue);

/// Sizes of consecutive parts of one scratch block, each aligned to 64 bytes.
class ScratchPlan {
 public:
  /// The offset of a part of `bytes`.
  std::size_t add(std::size_t bytes) {
    const std::size_t offset = bytes_;
    bytes_ += (bytes + 63) / 64 * 64;
    return offset;
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

}  // namespace gentrain::cpu
