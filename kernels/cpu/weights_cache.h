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
#include <vector>

#include "kernels/buffer.h"
#include "kernels/shared_blocks.h"
#include "kernels/view.h"

namespace gentrain::cpu {

/// A layout's number, the same in all processes. Those of oneDNN have the highest bit.
using Layout = std::uint64_t;
inline constexpr Layout kPackedLayout = 1;  // right factor of a product of GemmTable
inline constexpr Layout kWinogradLayout = 2;
inline constexpr Layout kTurnedWinogradLayout = 3;
inline constexpr Layout kBf16Layout = 4;           // where they lie, rounded to bf16
inline constexpr Layout kTurnedColumnsLayout = 5;  // and strides and padding in higher bits
inline constexpr Layout kLineLayout = 6;
inline constexpr Layout kTurnedLineLayout = 7;
inline constexpr Layout kOneDnnLayout = Layout{1} << 63;

/// A block is identified by where the weights lie and by the layout. Thread-safe.
class WeightsCache {
 public:
  explicit WeightsCache(CachingAllocator& allocator) : allocator_(&allocator) {}

  /// The weights in a layout of `bytes` bytes, which `fill` writes. Threads that ask for a version
  /// being made wait for it. `version` must not be 0. Throws DeviceError as SharedBlocks::get.
  std::shared_ptr<const Buffer> get(const Weights& weights, Layout layout, std::size_t bytes,
                                    const std::function<void(void*)>& fill);

  /// Layouts of weights that lie in these blocks are kept there: one copy for all processes.
  void share(const std::shared_ptr<SharedBlocks>& blocks);

  /// How many blocks have been filled so far, by this process.
  [[nodiscard]] std::uint64_t fills() const { return fills_.load(); }

 private:
  struct Entry {
    std::mutex mutex;
    std::uint64_t version = 0;
    std::shared_ptr<Buffer> block;
  };
  using Key = std::pair<const void*, Layout>;

  std::shared_ptr<Entry> entry(const Key& key);
  std::shared_ptr<Buffer> shared_block(const void* weights, Layout layout, std::size_t bytes,
                                       const std::function<void(void*)>& fill);

  CachingAllocator* allocator_;
  std::mutex mutex_;
  std::map<Key, std::shared_ptr<Entry>> entries_;
  std::vector<std::shared_ptr<SharedBlocks>> shared_;
  std::atomic<std::uint64_t> fills_{0};
};

}  // namespace gentrain::cpu
