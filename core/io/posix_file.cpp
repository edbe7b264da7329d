// Whole reads and writes over the partial and interrupted ones of POSIX.
#include "core/io/posix_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::io {
namespace {

// Of one call: a slow disk moves it well within a second.
constexpr std::size_t kPiece = std::size_t{16} << 20;

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugeFrom = std::size_t{8} << 20;

}  // namespace

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::status_known(status)) {
    throw IoError(fmt::format("{}: it cannot be looked for: {}", path.string(), error.message()));
  }
  return std::filesystem::exists(status);
}

PosixFile::PosixFile(std::filesystem::path path, int descriptor, std::nullptr_t)
    : path_(std::move(path)), descriptor_(descriptor) {
  if (descriptor_ < 0) {
    fail("open");
  }
}

PosixFile::PosixFile(const std::filesystem::path& path, int flags, unsigned mode)
    : PosixFile(path, ::open(path.c_str(), flags | O_CLOEXEC, mode), nullptr) {}

PosixFile PosixFile::in_memory() {
  return {"file in memory", ::memfd_create("gentrain", MFD_CLOEXEC), nullptr};
}

PosixFile::~PosixFile() {
  ::close(descriptor_);
}

std::string PosixFile::open_path() const {
  return fmt::format("/proc/self/fd/{}", descriptor_);
}

std::size_t PosixFile::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    fail("fstat");
  }
  return static_cast<std::size_t>(status.st_size);
}

void PosixFile::require_regular() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    fail("fstat");
  }
  if (!S_ISREG(status.st_mode)) {
    throw IoError(path_.string() + ": is no regular file: pipes and devices are not read");
  }
}

std::size_t PosixFile::read(void* data, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count =
        ::read(descriptor_, static_cast<std::uint8_t*>(data) + done, std::min(size - done, kPiece));
    if (count == 0) {
      break;
    }
    if (count < 0 && errno != EINTR) {
      fail("read");
    }
    progress::tick();
    done += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  return done;
}

void PosixFile::read_at(std::size_t offset, void* data, std::size_t size) const {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::pread(descriptor_, static_cast<std::uint8_t*>(data) + done,
                                  std::min(size - done, kPiece), static_cast<off_t>(offset + done));
    if (count == 0) {
      errno = ENODATA;
      fail("read");
    }
    if (count < 0 && errno != EINTR) {
      fail("read");
    }
    done += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
}

void PosixFile::write(const void* data, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::write(descriptor_, static_cast<const std::uint8_t*>(data) + done,
                                  std::min(size - done, kPiece));
    if (count < 0 && errno != EINTR) {
      fail("write");
    }
    progress::tick();
    done += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
}

void PosixFile::resize(std::size_t size) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) {
    fail("ftruncate");
  }
}

void PosixFile::sync() {
  const progress::Flush flush;
  if (::fsync(descriptor_) != 0) {
    fail("fsync");
  }
}

void PosixFile::fail(const char* step) const {
  const int reason = errno;
  const std::string text =
      fmt::format("{}: {} failed: {}", path_.string(), step, std::strerror(reason));
  if (reason == EIO) {
    throw MediumError(text);
  }
  throw IoError(text);
}

Bytes make_bytes(std::size_t size) {
  Bytes bytes{std::make_unique_for_overwrite<std::uint8_t[]>(size), size};
  if (size >= kHugeFrom) {
    // Advice only: huge pages spare a fault per 4 KiB, a third of the time of reading a cached
    // file.
    const std::uintptr_t past = reinterpret_cast<std::uintptr_t>(bytes.data.get()) % kPage;
    std::uint8_t* const begin = bytes.data.get() + (past == 0 ? 0 : kPage - past);
    ::madvise(begin, size - kPage, MADV_HUGEPAGE);
  }
  return bytes;
}

Bytes read_file(const std::filesystem::path& path) {
  PosixFile file(path, O_RDONLY);
  file.require_regular();
  Bytes bytes = make_bytes(file.size());
  bytes.size = file.read(bytes.data.get(), bytes.size);
  return bytes;
}

std::vector<std::filesystem::directory_entry> entries_of(const std::filesystem::path& folder,
                                                         std::error_code& error) {
  std::vector<std::filesystem::directory_entry> entries;
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    entries.push_back(*entry);
  }
  return entries;
}

void sync_folder(const std::filesystem::path& folder) {
  PosixFile(folder, O_RDONLY | O_DIRECTORY).sync();
}

}  // namespace gentrain::io
