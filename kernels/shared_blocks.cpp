// The table: a cursor and entries, in words that processes change by compare-and-swap. Zeros are an
// empty table. An entry belongs to the first key that claims it, for ever.
#include "kernels/shared_blocks.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain {

namespace {

using Word = std::atomic_ref<std::uint64_t>;
static_assert(Word::is_always_lock_free, "words are shared between processes");

constexpr std::size_t kBlockAlignment = 64;
constexpr std::size_t kEntries = 1024;

enum State : std::uint64_t { kEmpty, kFilling, kReady, kRefused };

std::size_t round_up(std::size_t bytes) {
  return (bytes + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
}

/// A number for a key, not 0. Keys that share one share an entry, so that only one has a block.
std::uint64_t name_of(const SharedKey& key) {
  std::uint64_t mixed = key.weights * 0x9E3779B97F4A7C15U ^ key.layout;
  mixed = (mixed ^ (mixed >> 31)) * 0xBF58476D1CE4E5B9U;
  mixed ^= mixed >> 29;
  return mixed == 0 ? 1 : mixed;
}

}  // namespace

struct SharedBlocks::Entry {
  std::uint64_t name = 0;
  std::uint64_t state = kEmpty;
  SharedKey key;  // with all below written by whoever fills the block
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

SharedBlocks::SharedBlocks(std::shared_ptr<void> memory, std::size_t bytes)
    : memory_(std::move(memory)), start_(static_cast<std::byte*>(memory_.get())), bytes_(bytes) {
  static_assert(kBlockAlignment + kEntries * sizeof(Entry) <= kTableBytes);
  if (bytes < kTableBytes) {
    throw DeviceError(fmt::format("shared blocks in {} bytes of memory: at least {} are needed",
                                  bytes, std::size_t{kTableBytes}));
  }
}

std::size_t SharedBlocks::room_for(std::size_t bytes) {
  // Channels are rounded up to whole vectors; small layers have more than their share of that.
  return kTableBytes + 10 * bytes + (std::size_t{1} << 20);
}

bool SharedBlocks::contains(const void* address) const {
  const auto* byte = static_cast<const std::byte*>(address);
  return std::less_equal<>()(start_, byte) && std::less<>()(byte, start_ + bytes_);
}

std::uint64_t SharedBlocks::offset_of(const void* address) const {
  return static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - start_);
}

std::size_t SharedBlocks::used() const {
  auto& cursor = *reinterpret_cast<std::uint64_t*>(start_);
  return kTableBytes + Word(cursor).load();
}

/// The entry of a key, claimed if nobody has it yet; null if all are taken.
SharedBlocks::Entry* SharedBlocks::find(const SharedKey& key) const {
  auto* entries = reinterpret_cast<Entry*>(start_ + kBlockAlignment);
  const std::uint64_t name = name_of(key);
  for (std::size_t i = 0; i < kEntries; ++i) {
    Entry& entry = entries[(name + i) % kEntries];
    std::uint64_t seen = 0;
    if (Word(entry.name).compare_exchange_strong(seen, name) || seen == name) {
      return &entry;
    }
  }
  return nullptr;
}

/// Takes memory for a block, unless an earlier attempt did. False if there is none.
bool SharedBlocks::reserve(Entry& entry, const SharedKey& key, std::size_t bytes) const {
  if (entry.bytes != 0) {
    return true;
  }
  const Word cursor(*reinterpret_cast<std::uint64_t*>(start_));
  const std::size_t wanted = round_up(bytes);
  std::uint64_t first = cursor.load();
  do {
    if (wanted > bytes_ - kTableBytes - first) {
      return false;
    }
  } while (!cursor.compare_exchange_weak(first, first + wanted));
  entry.key = key;
  entry.offset = kTableBytes + first;
  entry.bytes = bytes;
  return true;
}

void SharedBlocks::make(Entry& entry, const std::function<void(void*)>& fill) const {
  try {
    fill(start_ + entry.offset);
  } catch (...) {
    Word(entry.state).store(kEmpty);
    throw;
  }
  Word(entry.state).store(kReady);
}

void* SharedBlocks::get(const SharedKey& key, std::size_t bytes,
                        const std::function<void(void*)>& fill, int patience) {
  Entry* const entry = bytes == 0 ? nullptr : find(key);
  if (entry == nullptr) {
    return nullptr;
  }
  for (int waited = 0;; ++waited) {
    std::uint64_t state = kEmpty;
    if (Word(entry->state).compare_exchange_strong(state, kFilling)) {
      if (reserve(*entry, key, bytes)) {
        make(*entry, fill);
      } else {
        Word(entry->state).store(kRefused);
      }
      continue;
    }
    if (state == kRefused) {
      return nullptr;
    }
    if (state == kReady) {
      const bool fits = entry->key == key && entry->bytes == bytes;
      return fits ? start_ + entry->offset : nullptr;
    }
    if (waited >= patience) {
      throw DeviceError(fmt::format(
          "a block of {} bytes of frozen weights, which another process of this host has begun to "
          "fill, was not there after {} ms: that process hangs or is gone",
          bytes, patience));
    }
    progress::tick();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace gentrain
