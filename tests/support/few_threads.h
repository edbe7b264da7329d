// A host that starts few threads more, for tests: stacks are made large and address space scarce,
// which binds root too.
#pragma once

#include <cstddef>
#include <fstream>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

namespace gentrain::test {

/// Sanitizers need more address space than it leaves.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kCanLimitThreads = false;
#else
inline constexpr bool kCanLimitThreads = true;
#endif

/// While it lives, this process can start one or two threads if `some`, else none.
class FewThreads {
 public:
  explicit FewThreads(bool some) {
    constexpr std::size_t kStack = std::size_t{256} << 20;
    pthread_getattr_default_np(&default_);
    pthread_attr_t large;
    pthread_attr_init(&large);
    pthread_attr_setstacksize(&large, kStack);
    pthread_setattr_default_np(&large);
    pthread_attr_destroy(&large);
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before_);
    const std::size_t used = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const rlimit tight{used + (some ? 5 : 1) * kStack / 2, before_.rlim_max};
    setrlimit(RLIMIT_AS, &tight);
  }
  ~FewThreads() {
    setrlimit(RLIMIT_AS, &before_);
    pthread_setattr_default_np(&default_);
    pthread_attr_destroy(&default_);
  }
  FewThreads(const FewThreads&) = delete;
  FewThreads& operator=(const FewThreads&) = delete;

 private:
  pthread_attr_t default_{};
  rlimit before_{};
};

}  // namespace gentrain::test
