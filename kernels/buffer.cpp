// The caching allocator. Blocks below kOwnBlock are carved from slabs and never merged: a training
// program asks for the same few sizes at every step. Larger blocks are system blocks of their own.
#include "kernels/buffer.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain {

namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kSlabBytes = std::size_t{2} << 20;
constexpr std::size_t kOwnBlock = kSlabBytes / 2;
constexpr std::size_t kMostBytes = std::size_t{1} << 62;

std::size_t round_up(std::size_t value, std::size_t step) {
  return (value + step - 1) / step * step;
}

/// The size class of at most kMostBytes.
std::size_t class_of(std::size_t bytes) {
  const std::size_t least = std::max(bytes, kAlignment);
  const std::size_t step = std::max(kAlignment, std::bit_floor(least) / 8);
  const std::size_t rounded = round_up(least, step);
  return rounded < kOwnBlock ? rounded : round_up(rounded, kPage);
}

}  // namespace

CachingAllocator::CachingAllocator(std::unique_ptr<SystemMemory> system)
    : system_(std::move(system)) {}

CachingAllocator::~CachingAllocator() {
  for (const Slab& slab : slabs_) {
    system_->give_back(slab.data, slab.bytes);
  }
}

std::size_t CachingAllocator::size_class(std::size_t bytes) {
  if (bytes > kMostBytes) {
    throw DeviceError(fmt::format("a block of {} bytes of memory was asked for: at most {} can be",
                                  bytes, kMostBytes));
  }
  return class_of(bytes);
}

void* CachingAllocator::carve(std::size_t bytes) {
  const bool own_block = bytes >= kOwnBlock;
  if (!own_block && remaining_ >= bytes) {
    void* block = cursor_;
    cursor_ += bytes;
    remaining_ -= bytes;
    return block;
  }
  const std::size_t system_bytes = own_block ? bytes : kSlabBytes;
  void* slab = system_->acquire(system_bytes);
  slabs_.push_back({slab, system_bytes});
  ++stats_.system_calls;
  stats_.system_bytes += system_bytes;
  if (!own_block) {
    cursor_ = static_cast<std::byte*>(slab) + bytes;
    remaining_ = system_bytes - bytes;
  }
  return slab;
}

void* CachingAllocator::allocate(std::size_t bytes) {
  const std::size_t rounded = size_class(bytes);
  const std::lock_guard lock(mutex_);
  auto& stack = free_[rounded];
  void* block = nullptr;
  if (!stack.empty()) {
    block = stack.back();
    stack.pop_back();
  } else {
    block = carve(rounded);
  }
  stats_.live_bytes += rounded;
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
  return block;
}

void CachingAllocator::release(void* block, std::size_t bytes) noexcept {
  const std::size_t rounded = class_of(bytes);
  const std::lock_guard lock(mutex_);
  free_[rounded].push_back(block);
  stats_.live_bytes -= rounded;
}

MemoryStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.live_bytes;
}

void Buffer::mark_changed() {
  mark_changed(std::vector<bool>(parts_.size(), true));
}

void Buffer::mark_changed(const std::vector<bool>& parts) {
  static std::atomic<std::uint64_t> last{0};
  const std::uint64_t version = last.fetch_add(1) + 1;
  version_.store(version, std::memory_order_release);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (parts[i]) {
      parts_[i].store(version, std::memory_order_release);
    }
  }
}

void Buffer::divide(std::size_t count) {
  parts_ = std::vector<std::atomic<std::uint64_t>>(count);
}

}  // namespace gentrain
