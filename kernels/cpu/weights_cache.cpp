// The cache of weights in other layouts. A block that a slower thread still reads is left to it,
// and a new one made; otherwise a block is written over when its version changes.
#include "kernels/cpu/weights_cache.h"

#include <algorithm>

namespace gentrain::cpu {

namespace {

// Weights of models that are gone stay until there are this many.
constexpr std::size_t kMaxEntries = 1024;

}  // namespace

std::shared_ptr<WeightsCache::Entry> WeightsCache::entry(const Key& key) {
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= kMaxEntries && !entries_.contains(key)) {
    std::erase_if(entries_, [](const auto& item) { return item.second.use_count() == 1; });
  }
  std::shared_ptr<Entry>& found = entries_[key];
  if (!found) {
    found = std::make_shared<Entry>();
  }
  return found;
}

void WeightsCache::share(const std::shared_ptr<SharedBlocks>& blocks) {
  const std::lock_guard lock(mutex_);
  shared_.push_back(blocks);
}

/// The block that all processes of the host have; null if the weights are not among theirs.
std::shared_ptr<Buffer> WeightsCache::shared_block(const void* weights, Layout layout,
                                                   std::size_t bytes,
                                                   const std::function<void(void*)>& fill) {
  std::shared_ptr<SharedBlocks> blocks;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find_if(
        shared_, [&](const auto& candidate) { return candidate->contains(weights); });
    if (found == shared_.end()) {
      return nullptr;
    }
    blocks = *found;
  }
  void* data = blocks->get({blocks->offset_of(weights), layout}, bytes, [&](void* to) {
    fill(to);
    ++fills_;
  });
  return data == nullptr ? nullptr : std::make_shared<Buffer>(blocks, data, bytes);
}

std::shared_ptr<const Buffer> WeightsCache::get(const Weights& weights, Layout layout,
                                                std::size_t bytes,
                                                const std::function<void(void*)>& fill) {
  const std::shared_ptr<Entry> found = entry({weights.values.data, layout});
  const std::lock_guard lock(found->mutex);
  const bool fits = found->block && found->block->bytes() == bytes;
  if (fits && found->version == weights.version) {
    return found->block;
  }
  if (auto shared = shared_block(weights.values.data, layout, bytes, fill)) {
    found->block = std::move(shared);
    found->version = weights.version;
    return found->block;
  }
  if (!fits || found->block.use_count() > 1) {
    found->block = std::make_shared<Buffer>(*allocator_, bytes);
  }
  found->version = 0;  // stays so if fill throws
  fill(found->block->data());
  found->version = weights.version;
  ++fills_;
  return found->block;
}

}  // namespace gentrain::cpu
