// The numbers are taken from one counter.
#include "core/image/workers.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::image {

void for_each_index(std::size_t count, int threads, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto run = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        next = count;
        const std::lock_guard lock(mutex);
        error = error ? error : std::current_exception();
      }
    }
  };
  std::vector<std::jthread> others;
  const std::size_t wanted = std::min<std::size_t>(count, static_cast<std::size_t>(threads));
  try {
    while (others.size() + 1 < wanted) {
      others.emplace_back(run);
    }
  } catch (const std::system_error& failure) {
    next = count;
    others.clear();
    throw DeviceError(
        fmt::format("{} threads were wanted to read images, but this host starts no "
                    "more: {}",
                    threads, failure.what()));
  }
  run();
  others.clear();
  if (error) {
    std::rethrow_exception(error);
  }
}

}  // namespace gentrain::image
