// Processor time of one thread, for benchmarks on machines that do other things too.
#pragma once

#include <algorithm>
#include <ctime>

namespace gentrain::test {

inline double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// The shortest of calls for half a second, of five at least and a hundred at most; the first is
/// not counted.
template <class Compute>
double best_seconds(Compute compute) {
  compute();
  double best = 1e9;
  double total = 0;
  for (int call = 0; call < 5 || (total < 0.5 && call < 100); ++call) {
    const double start = thread_seconds();
    compute();
    const double seconds = thread_seconds() - start;
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

}  // namespace gentrain::test
