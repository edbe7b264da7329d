// Threads that draw.
#include "core/data/drawing.h"

#include <future>
#include <system_error>
#include <vector>

namespace gentrain::data {

void draw_on_threads(int threads, const std::function<void()>& work) {
  std::vector<std::future<void>> helpers;
  try {
    for (int t = 1; t < threads; ++t) {
      helpers.push_back(std::async(std::launch::async, work));
    }
  } catch (const std::system_error&) {  // fewer do it too
  }
  work();
  for (std::future<void>& helper : helpers) {
    helper.get();
  }
}

}  // namespace gentrain::data
