// What drawn data sets share.
#pragma once

#include <functional>

namespace gentrain::data {

/// Calls work() on up to `threads` threads at once, the caller's among them, and waits for all;
/// fewer if the host starts no more. work() takes its part from a counter that all share.
void draw_on_threads(int threads, const std::function<void()>& work);

}  // namespace gentrain::data
