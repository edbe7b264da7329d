// Weights in the layouts that kernels read best, made once per version and shared by all threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "kernels/buffer.h"
#include "kernels/view.h"

namespace gentrain::cpu {

/// A block is identified by where the weights lie and by the layout. Thread-safe.
class WeightsCache {
 public:
  explicit WeightsCache(CachingAllocator& allocator) : allocator_(&allocator) {}

  /// The weights in a layout of `bytes` bytes, which `fill` writes. `layout` is an address that
  /// stands for the layout. Threads that ask for a version being made wait for it. `version` must
  /// not be 0.
  std::shared_ptr<const Buffer> get(const Weights& weights, const void* layout, std::size_t bytes,
                                    const std::function<void(void*)>& fill);

  /// How many blocks have been filled so far.
  [[nodiscard]] std::uint64_t fills() const { return fills_.load(); }

 private:
  struct Entry {
    std::mutex mutex;
    std::uint64_t version = 0;
    std::shared_ptr<Buffer> block;
  };
  using Key = std::pair<const void*, const void*>;

  std::shared_ptr<Entry> entry(const Key& key);

  CachingAllocator* allocator_;
  std::mutex mutex_;
  std::map<Key, std::shared_ptr<Entry>> entries_;
  std::atomic<std::uint64_t> fills_{0};
};

}  // namespace gentrain::cpu
