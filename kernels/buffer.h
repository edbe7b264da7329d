// Device memory: a caching allocator over a system source, and the handle that gives blocks back.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace gentrain {

/// What an allocator has done so far. Bytes are rounded to the allocator's size classes.
struct MemoryStats {
  std::uint64_t system_calls = 0;  // requests that went to the system, since the start
  std::uint64_t system_bytes = 0;  // bytes held from the system
  std::uint64_t live_bytes = 0;    // bytes handed out now
  std::uint64_t peak_bytes = 0;    // largest live_bytes since the start or reset_peak()
};

/// Where a device's memory comes from: the operating system, a driver.
class SystemMemory {
 public:
  virtual ~SystemMemory() = default;
  /// `bytes` (a multiple of 4 KiB), aligned to 64 bytes at least. Throws DeviceError when
  /// exhausted.
  virtual void* acquire(std::size_t bytes) = 0;
  virtual void give_back(void* block, std::size_t bytes) noexcept = 0;
};

/// Keeps released blocks by size class and hands them out again, so that a training step asks the
/// system for nothing after the first. Thread-safe.
class CachingAllocator {
 public:
  explicit CachingAllocator(std::unique_ptr<SystemMemory> system);
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// Uninitialised memory, aligned to 64 bytes. Throws DeviceError naming the size when memory is
  /// exhausted, and as size_class.
  void* allocate(std::size_t bytes);
  /// `bytes` as it was asked for.
  void release(void* block, std::size_t bytes) noexcept;

  [[nodiscard]] MemoryStats stats() const;
  /// Begins a new peak measurement at the present use.
  void reset_peak();
  /// What a request of `bytes` takes up: at most 1/8 more than asked, in steps of 64 bytes.
  /// Throws DeviceError for more than 2^62 bytes.
  static std::size_t size_class(std::size_t bytes);

 private:
  void* carve(std::size_t bytes);

  std::unique_ptr<SystemMemory> system_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  struct Slab {
    void* data;
    std::size_t bytes;
  };
  std::vector<Slab> slabs_;
  std::byte* cursor_ = nullptr;
  std::size_t remaining_ = 0;
  MemoryStats stats_;
};

/// A block of device memory that goes back to its allocator at the end of its life, or to whoever
/// else owns it.
class Buffer {
 public:
  Buffer(CachingAllocator& allocator, std::size_t bytes)
      : allocator_(&allocator), data_(allocator.allocate(bytes)), bytes_(bytes) {}
  /// `bytes` bytes at `data` in memory that `owner` keeps.
  Buffer(std::shared_ptr<const void> owner, void* data, std::size_t bytes)
      : owner_(std::move(owner)), data_(data), bytes_(bytes) {}
  ~Buffer() {
    if (allocator_ != nullptr) {
      allocator_->release(data_, bytes_);
    }
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  /// Version of the contents for Weights::version: 0 until mark_changed() is first called.
  [[nodiscard]] std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  /// That of one of the parts that divide() made.
  [[nodiscard]] std::uint64_t version(std::size_t part) const {
    return parts_[part].load(std::memory_order_acquire);
  }
  /// Says that the contents changed: a version that no buffer of this process had before.
  void mark_changed();
  /// The same of the parts whose flag is set, of which there must be one at least, and of the
  /// whole; the other parts keep their versions. As many flags as parts.
  void mark_changed(const std::vector<bool>& parts);
  /// Gives `count` parts of the contents versions of their own; which elements a part has is up to
  /// the caller. For the owner, before other threads see the buffer.
  void divide(std::size_t count);

 private:
  CachingAllocator* allocator_ = nullptr;
  std::shared_ptr<const void> owner_;
  void* data_;
  std::size_t bytes_;
  std::atomic<std::uint64_t> version_{0};
  std::vector<std::atomic<std::uint64_t>> parts_;
};

}  // namespace gentrain
