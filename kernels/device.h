// A device: memory, queues, an identity, and the kernel families it implements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/buffer.h"

namespace gentrain {

class ConvKernels;
class PoolKernels;
class MatmulKernels;
class ElementwiseKernels;
class ReduceKernels;
class LossKernels;
class NormKernels;
class PixelKernels;
class PointwiseKernels;
class RandomKernels;
class UpdateKernels;
class SharedBlocks;

/// An order of execution on a device. Kernels given to one queue run one after the other; a CPU
/// queue runs them at once on the calling thread. One thread at a time uses a queue.
///
/// Where kernels run later than they are given, all queues of the device share one order of
/// execution, that in which kernels were given: a Buffer goes back to the allocator at once when
/// the host lets go of it, so that work given later to any queue may write to memory that work
/// given earlier to another one still reads.
class Queue {
 public:
  virtual ~Queue() = default;
  /// Returns when all kernels given so far have ended.
  virtual void wait() = 0;
};

/// The device's part of the contract: two runs give the same bytes only if all of it is equal.
struct DeviceIdentity {
  std::string kind;       // "cpu", "reference"
  std::string isa;        // "v3", "v4": x86-64 level of the kernels
  std::string libraries;  // "oneDNN 2.6.3"
  std::string name;       // of the hardware; not part of the contract
};

/// Memory, queues and kernels of one kind of hardware. Thread-safe, but for a queue, which one
/// thread at a time uses. Must outlive its queues and buffers.
///
/// Which arguments a family's routines refuse stands in its header. Any routine throws DeviceError
/// if the device fails, has no memory left, or sees that the queue is that of another kind of
/// device.
class Device {
 public:
  virtual ~Device() = default;

  [[nodiscard]] virtual const DeviceIdentity& identity() const = 0;
  virtual CachingAllocator& memory() = 0;
  virtual std::unique_ptr<Queue> make_queue() = 0;
  /// Copies of `bytes` bytes between host memory and this device's, in the order of the queue; they
  /// have ended on return. Throw DeviceError if the device fails.
  virtual void to_device(Queue& queue, const void* host, void* device, std::size_t bytes) = 0;
  virtual void to_host(Queue& queue, const void* device, void* host, std::size_t bytes) = 0;

  /// Keeps in these blocks, too, what it makes of weights that lie there, which never change. False
  /// if it cannot: its kernels do not read this host's memory, or keep nothing.
  virtual bool share(const std::shared_ptr<SharedBlocks>& /*blocks*/) { return false; }

  virtual ConvKernels& conv() = 0;
  virtual PoolKernels& pool() = 0;
  virtual MatmulKernels& matmul() = 0;
  virtual ElementwiseKernels& elementwise() = 0;
  virtual ReduceKernels& reduce() = 0;
  virtual LossKernels& loss() = 0;
  virtual NormKernels& norm() = 0;
  virtual PixelKernels& pixel() = 0;
  virtual PointwiseKernels& pointwise() = 0;
  virtual RandomKernels& random() = 0;
  virtual UpdateKernels& update() = 0;
};

/// Instruction sets of the CPU backend: the best that this processor has, x86-64-v3 or x86-64-v4.
enum class Isa : std::uint8_t { kAuto, kV3, kV4 };

/// The CPU, with kernels and oneDNN held to `isa`. All CPU devices of a process have the same one:
/// oneDNN's limit is global. Throws DeviceError if the processor lacks it or is below v3, or if
/// oneDNN is held to another one already.
std::unique_ptr<Device> make_cpu_device(Isa isa = Isa::kAuto);

}  // namespace gentrain
