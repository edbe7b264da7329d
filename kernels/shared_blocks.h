// Blocks of weights that never change, once for all processes of a host: a table in memory that all
// of them see. Whoever needs a block first fills it, the others wait for that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace gentrain {

/// What a block holds: the weights that lie `weights` bytes into the memory, in a layout that has
/// the same number in every process. 0 and 0: the weights themselves, as their owner has them.
struct SharedKey {
  std::uint64_t weights = 0;
  std::uint64_t layout = 0;
  friend bool operator==(const SharedKey&, const SharedKey&) = default;
};

/// Thread-safe, between processes too.
class SharedBlocks {
 public:
  /// So many bytes at the beginning must be zero before the first process has blocks on a memory.
  static constexpr std::size_t kTableBytes = std::size_t{64} << 10;

  /// `memory`: `bytes` bytes, aligned to 64, wherever they lie in each process. Throws DeviceError
  /// for fewer than kTableBytes.
  SharedBlocks(std::shared_ptr<void> memory, std::size_t bytes);

  /// What memory should have for weights of `bytes` bytes and two layouts that are four times as
  /// large, those of Winograd's convolutions forward and backward.
  static std::size_t room_for(std::size_t bytes);

  /// The block of a key, aligned to 64 bytes, written by `fill` in one process alone. Null if
  /// there is no room for it, or if the key has a block of another size: then it is not shared.
  /// Waits for another process that fills it, with progress::tick(). Throws DeviceError if that
  /// does not end within `patience` ms of this process's time, and what `fill` throws; then another
  /// process may fill it.
  void* get(const SharedKey& key, std::size_t bytes, const std::function<void(void*)>& fill,
            int patience = kPatience);

  /// Whether an address lies in the memory, and how far from its beginning.
  [[nodiscard]] bool contains(const void* address) const;
  [[nodiscard]] std::uint64_t offset_of(const void* address) const;
  /// Bytes taken up so far, by all processes together.
  [[nodiscard]] std::size_t used() const;

 private:
  /// A rank that is gone or stopped is seen by the watchdog within 10 s.
  static constexpr int kPatience = 60000;

  struct Entry;
  [[nodiscard]] Entry* find(const SharedKey& key) const;
  [[nodiscard]] bool reserve(Entry& entry, const SharedKey& key, std::size_t bytes) const;
  void make(Entry& entry, const std::function<void(void*)>& fill) const;

  std::shared_ptr<void> memory_;
  std::byte* start_;
  std::size_t bytes_;
};

}  // namespace gentrain
