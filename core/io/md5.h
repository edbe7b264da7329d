// MD5, by OpenSSL's libcrypto: only to compare with hashes that others publish, never for safety.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace gentrain::io {

/// A hash under way. Everything throws DeviceError if OpenSSL fails or has no MD5, as where only
/// approved functions are allowed.
class Md5 {
 public:
  Md5();
  ~Md5();
  Md5(const Md5&) = delete;
  Md5& operator=(const Md5&) = delete;
  void update(const void* data, std::size_t size);
  /// 32 digits of lower-case hex; the object is used up: nothing may be called after it.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gentrain::io
