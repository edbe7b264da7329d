// Handles, lock and errors of HDF5: the reason given is the innermost line of its error stack.
#include "core/io/hdf5.h"

#include <type_traits>
#include <utility>

#include <fmt/format.h>
#include <hdf5.h>

#include "kernels/error.h"

namespace gentrain::io {
namespace {

static_assert(std::is_same_v<hid_t, std::int64_t>);

std::recursive_mutex& hdf5_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

herr_t take_description(unsigned level, const H5E_error2_t* error, void* reason) {
  if (level == 0 && error->desc != nullptr) {
    *static_cast<std::string*>(reason) = error->desc;
  }
  return 0;
}

}  // namespace

Hdf5Lock::Hdf5Lock() : guard_(hdf5_mutex()) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Handle::Hdf5Handle(std::int64_t id, Close close, const std::string& what)
    : id_(id), close_(close) {
  check_hdf5(id, what);
}

Hdf5Handle::~Hdf5Handle() {
  if (id_ >= 0) {
    close_(id_);
  }
}

Hdf5Handle::Hdf5Handle(Hdf5Handle&& other) noexcept
    : id_(std::exchange(other.id_, -1)), close_(other.close_) {}

Hdf5Handle& Hdf5Handle::operator=(Hdf5Handle&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(close_, other.close_);
  return *this;
}

void check_hdf5(std::int64_t status, const std::string& what) {
  if (status >= 0) {
    return;
  }
  std::string reason = "HDF5 gives no reason";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_description, &reason);
  throw IoError(what + ": " + reason);
}

std::string hdf5_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("HDF5 {}.{}.{}", major, minor, release);
}

}  // namespace gentrain::io
