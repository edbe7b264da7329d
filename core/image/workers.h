// A few threads that share the numbers from 0 to n - 1.
#pragma once

#include <cstddef>
#include <functional>

namespace gentrain::image {

/// Calls work(i) once for each i below `count`, on `threads` threads at a time, the caller's among
/// them; in no order. Throws the first exception that work() threw, when no more work runs, and
/// DeviceError if a thread cannot be started.
void for_each_index(std::size_t count, int threads, const std::function<void(std::size_t)>& work);

}  // namespace gentrain::image
