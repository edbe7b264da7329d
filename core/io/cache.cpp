// Who makes an entry holds flock(2) on KEY.lock: it dies with its owner. He writes to KEY.tmp, so
// that what a dead maker left is overwritten by the next, and renames that to KEY.
#include "core/io/cache.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/io/atomic_file.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::io {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeyDigits = 64;
constexpr const char* kLock = ".lock";
constexpr const char* kTemporary = ".tmp";

bool is_key(std::string_view name) {
  return name.size() == kKeyDigits && is_hex(name);
}

void check_key(std::string_view key) {
  if (!is_key(key)) {
    throw ShapeError(fmt::format("cache: '{}' is no key: 64 digits of hex are", key));
  }
}

/// The lock of a key, held while the object is there.
class KeyLock {
 public:
  /// Nothing if another holds it, or has removed the file meanwhile.
  static std::optional<KeyLock> try_to_take(const fs::path& path) {
    KeyLock lock(path);
    if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK || errno == EINTR) {
        return std::nullopt;
      }
      lock.fail("flock");
    }
    struct stat mine {};
    struct stat there {};
    if (::fstat(lock.descriptor_, &mine) != 0 || ::stat(path.c_str(), &there) != 0 ||
        mine.st_ino != there.st_ino || mine.st_dev != there.st_dev) {
      return std::nullopt;
    }
    lock.held_ = true;
    return lock;
  }
  ~KeyLock() {
    if (held_) {
      ::unlink(path_.c_str());  // before it is let go: the next one makes a file of his own
    }
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  KeyLock(KeyLock&& other) noexcept
      : path_(std::move(other.path_)),
        descriptor_(std::exchange(other.descriptor_, -1)),
        held_(std::exchange(other.held_, false)) {}
  KeyLock& operator=(KeyLock&&) = delete;
  KeyLock(const KeyLock&) = delete;
  KeyLock& operator=(const KeyLock&) = delete;

 private:
  explicit KeyLock(fs::path path)
      : path_(std::move(path)),
        descriptor_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) {
      fail("open");
    }
  }
  [[noreturn]] void fail(const char* step) const {
    const int reason = errno;
    throw IoError(fmt::format("{}: {} failed: {}", path_.string(), step, std::strerror(reason)));
  }

  fs::path path_;
  int descriptor_;
  bool held_ = false;
};

/// Makes an entry under its lock.
void make_entry(const fs::path& path, const fs::path& temporary,
                const std::function<void(const fs::path&)>& make, Sync sync) {
  std::error_code error;
  fs::remove(temporary, error);
  try {
    make(temporary);
    if (sync == Sync::kYes) {
      PosixFile(temporary, O_RDONLY).sync();
    }
    fs::rename(temporary, path);
  } catch (const fs::filesystem_error& failure) {
    fs::remove(temporary, error);
    throw IoError(
        fmt::format("{}: rename failed: {}", temporary.string(), failure.code().message()));
  } catch (...) {
    fs::remove(temporary, error);
    throw;
  }
  if (sync == Sync::kYes) {
    sync_folder(path.parent_path());
  }
}

}  // namespace

std::filesystem::path default_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return fs::path(cache) / "gentrain";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return fs::path(home) / ".cache" / "gentrain";
  }
  throw IoError("there is no folder for the cache: neither XDG_CACHE_HOME nor HOME is set");
}

std::filesystem::path Cache::path(std::string_view key, const char* ending) const {
  return folder_ / fmt::format("{}{}", key, ending);
}

void Cache::make_folder() const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) {
    throw IoError(fmt::format("{}: the cache's folder cannot be made: {}", folder_.string(),
                              error.message()));
  }
}

std::filesystem::path Cache::get(const std::string& key,
                                 const std::function<void(const std::filesystem::path&)>& make,
                                 const std::function<void()>& wait) const {
  constexpr std::chrono::milliseconds kPause{20};
  check_key(key);
  fs::path file = path(key);
  make_folder();
  bool waits = false;
  while (!is_there(file)) {
    if (const auto lock = KeyLock::try_to_take(path(key, kLock)); lock && !is_there(file)) {
      make_entry(file, path(key, kTemporary), make, Sync::kYes);
    } else if (!lock) {
      if (!std::exchange(waits, true) && wait) {
        wait();
      }
      std::this_thread::sleep_for(kPause);
      progress::tick();  // the maker's progress is watched where it is made
    }
  }
  return file;
}

bool Cache::put(const std::string& key,
                const std::function<void(const std::filesystem::path&)>& make) const {
  check_key(key);
  make_folder();
  const auto lock = KeyLock::try_to_take(path(key, kLock));
  if (lock) {
    make_entry(path(key), path(key, kTemporary), make, Sync::kNo);
  }
  return lock.has_value();
}

std::optional<std::filesystem::path> Cache::find(const std::string& key) const {
  check_key(key);
  fs::path file = path(key);
  return is_there(file) ? std::optional(std::move(file)) : std::nullopt;
}

std::vector<Cache::Entry> Cache::entries() const {
  std::vector<Entry> entries;
  std::error_code error;
  if (!fs::exists(folder_, error)) {
    return entries;
  }
  fs::directory_iterator entry(folder_, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code gone;  // removed meanwhile
    const std::uintmax_t bytes = is_key(name) ? entry->file_size(gone) : 0;
    if (is_key(name) && !gone) {
      entries.push_back({name, bytes});
    }
  }
  if (error) {
    throw IoError(fmt::format("{}: the cache's folder cannot be read: {}", folder_.string(),
                              error.message()));
  }
  std::ranges::sort(entries, {}, &Entry::key);
  return entries;
}

bool Cache::remove(const std::string& key) const {
  check_key(key);
  std::error_code error;
  const bool removed = fs::remove(path(key), error);
  if (error) {
    throw IoError(fmt::format("{} cannot be removed: {}", path(key).string(), error.message()));
  }
  return removed;
}

std::vector<Cache::Entry> Cache::clear() const {
  std::vector<Entry> removed = entries();
  for (const Entry& entry : removed) {
    remove(entry.key);
  }
  std::error_code error;
  std::set<std::string> left;  // keys
  for (fs::directory_iterator entry(folder_, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const fs::path name = entry->path().filename();
    if ((name.extension() == kTemporary || name.extension() == kLock) &&
        is_key(name.stem().string())) {
      left.insert(name.stem().string());
    }
  }
  for (const std::string& key : left) {
    // The lock's file of a dead maker goes with the lock.
    if (const auto lock = KeyLock::try_to_take(path(key, kLock))) {
      fs::remove(path(key, kTemporary), error);
    }
  }
  return removed;
}

}  // namespace gentrain::io
