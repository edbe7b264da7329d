// The lock belongs to a file, not to a name: whoever gets it looks whether the name still means
// that file, since its last owner may have renamed it.
#include "core/net/file_lock.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/error.h"

namespace gentrain::net {
namespace {

namespace fs = std::filesystem;

int open_for_lock(const fs::path& path, LockFor what) {
  const int flags = what == LockFor::kUnpacking ? O_RDONLY | O_DIRECTORY : O_RDWR | O_CREAT;
  const int descriptor = ::open(path.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    throw IoError(fmt::format("{}: open failed: {}", path.string(), std::strerror(errno)));
  }
  return descriptor;
}

bool is_of_name(int descriptor, const fs::path& path) {
  struct stat mine {};
  struct stat there {};
  return ::fstat(descriptor, &mine) == 0 && ::stat(path.c_str(), &there) == 0 &&
         mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

}  // namespace

FileLock::FileLock(const fs::path& path, LockFor what) {
  for (;;) {
    descriptor_ = open_for_lock(path, what);
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(descriptor_);
      throw IoError(fmt::format("{}: another process is {}", path.string(),
                                what == LockFor::kUnpacking ? "unpacking into it" : "fetching it"));
    }
    if (is_of_name(descriptor_, path)) {
      return;
    }
    ::close(descriptor_);
  }
}

FileLock::~FileLock() {
  ::close(descriptor_);
}

}  // namespace gentrain::net
