// The caching allocator. Blocks below kSlabBytes are carved from slabs and never merged: a training
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

std::size_t round_up(std::size_t value, std::size_t step) {
  return (value + step - 1) / step * step;
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
  const std::size_t least = std::max(bytes, kAlignment);
  const std::size_t step = std::max(kAlignment, std::bit_floor(least) / 8);
  const std::size_t rounded = round_up(least, step);
  return rounded < kSlabBytes / 2 ? rounded : round_up(rounded, kPage);
}

void* CachingAllocator::carve(std::size_t bytes) {
  const bool own_block = bytes >= kSlabBytes / 2;
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
  const std::size_t rounded = size_class(bytes);
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
  static std::atomic<std::uint64_t> last{0};
  version_.store(last.fetch_add(1) + 1, std::memory_order_release);
}

}  // namespace gentrain
