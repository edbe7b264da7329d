// A user to whom permissions matter, for tests, which root may run too.
#pragma once

#include <stdexcept>

#include <unistd.h>

namespace gentrain::test {

/// While it lives, this process acts as a user who owns nothing, if it is root's.
class AsNobody {
 public:
  AsNobody() {
    constexpr uid_t kNobody = 65534;
    if (root_ && seteuid(kNobody) != 0) {
      throw std::runtime_error("root cannot act as nobody here");
    }
  }
  ~AsNobody() {
    if (root_) {
      [[maybe_unused]] const int result = seteuid(0);
    }
  }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;

 private:
  bool root_ = geteuid() == 0;
};

}  // namespace gentrain::test
