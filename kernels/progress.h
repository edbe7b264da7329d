// How much work this process has finished, whoever did it: what tells a slow rank from a stuck one.
#pragma once

#include <atomic>
#include <cstdint>

namespace gentrain::progress {

namespace detail {
// Constant initialised inside functions: no guard, one counter for the whole program.
inline std::atomic<std::uint64_t>& finished() noexcept {
  alignas(64) static std::atomic<std::uint64_t> count{0};
  return count;
}

inline std::atomic<std::uint64_t>& finished_behind() noexcept {
  alignas(64) static std::atomic<std::uint64_t> count{0};
  return count;
}

inline bool& is_behind() noexcept {
  static thread_local bool behind = false;
  return behind;
}

inline std::atomic<int>& flushes() noexcept {
  static std::atomic<int> count{0};
  return count;
}
}  // namespace detail

/// Says that a piece of work ended: an op, a piece of a file, a batch, a message. Pieces take well
/// below a second each. Any thread; costs a few nanoseconds.
inline void tick() noexcept {
  (detail::is_behind() ? detail::finished_behind() : detail::finished())
      .fetch_add(1, std::memory_order_relaxed);
}

/// Pieces of work that ended so far, but for those in the background.
inline std::uint64_t finished() noexcept {
  return detail::finished().load(std::memory_order_relaxed);
}
/// Those in the background: they tell nothing of the work that goes on beside them.
inline std::uint64_t finished_in_background() noexcept {
  return detail::finished_behind().load(std::memory_order_relaxed);
}

/// While it lives, what its thread does is background work. One at a time in a thread.
class Background {
 public:
  Background() { detail::is_behind() = true; }
  ~Background() { detail::is_behind() = false; }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
};

/// A call under way in which a disk may flush all that it holds: one piece that may take a minute.
class Flush {
 public:
  Flush() { detail::flushes().fetch_add(1, std::memory_order_relaxed); }
  ~Flush() {
    detail::flushes().fetch_sub(1, std::memory_order_relaxed);
    tick();
  }
  Flush(const Flush&) = delete;
  Flush& operator=(const Flush&) = delete;
};

/// Whether one is under way.
inline bool flushing() noexcept {
  return detail::flushes().load(std::memory_order_relaxed) > 0;
}

}  // namespace gentrain::progress
