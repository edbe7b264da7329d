// SHA-256, by OpenSSL's libcrypto.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace gentrain::io {

/// A hash under way. Everything throws DeviceError if OpenSSL fails.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::span<const std::byte> bytes);
  void update(const void* data, std::size_t size) {
    update({static_cast<const std::byte*>(data), size});
  }
  /// 64 digits of lower-case hex; the object is used up: nothing may be called after it.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Of one piece of memory, as Sha256::finish(). Throws DeviceError if OpenSSL fails.
std::string sha256(std::span<const std::byte> bytes);

/// Whether all of a text are digits of lower-case hex; true of an empty one.
bool is_hex(std::string_view text);

}  // namespace gentrain::io
