// HDF5 without its headers: handles that close themselves, failed calls as exceptions that carry
// the library's own reason, and the one lock under which everything of gentrain calls HDF5.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

namespace gentrain::io {

/// Held while HDF5 is called (the library need not be thread-safe); also keeps it from printing its
/// error stack. Declare it before the handles of a scope: they are closed under it. May be nested.
class Hdf5Lock {
 public:
  Hdf5Lock();
  ~Hdf5Lock() = default;
  Hdf5Lock(const Hdf5Lock&) = delete;
  Hdf5Lock& operator=(const Hdf5Lock&) = delete;

 private:
  std::lock_guard<std::recursive_mutex> guard_;
};

/// An HDF5 identifier (hid_t) and the function that closes it.
class Hdf5Handle {
 public:
  using Close = int (*)(std::int64_t);

  Hdf5Handle() = default;
  /// Throws IoError("WHAT: HDF5's reason") if `id` is negative.
  Hdf5Handle(std::int64_t id, Close close, const std::string& what);
  ~Hdf5Handle();
  Hdf5Handle(Hdf5Handle&& other) noexcept;
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept;
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;

  [[nodiscard]] std::int64_t get() const { return id_; }

 private:
  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

/// Throws IoError("WHAT: HDF5's reason") if `status`, the result of an HDF5 call, is negative.
void check_hdf5(std::int64_t status, const std::string& what);

/// "HDF5 1.10.8"
std::string hdf5_version();

}  // namespace gentrain::io
