// A pid is used again, and differs between containers: a process is told by its pid namespace, its
// pid and the time of its start.
#include "comm/leftovers.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/process_stat.h"

namespace gentrain::comm {

namespace fs = std::filesystem;

namespace {

/// When a living process began, in clock ticks since boot; nothing if there is none or it is
/// ending.
std::optional<std::uint64_t> start_of(const std::string& process) {
  constexpr std::uint64_t kExiting = 0x4;  // PF_EXITING
  const std::optional<ProcessStat> stat = read_process_stat(process);
  const bool lives =
      stat && stat->state != 'Z' && stat->state != 'X' && (stat->flags & kExiting) == 0;
  return lives ? std::optional(stat->start) : std::nullopt;
}

/// What the names of this user's folders in this pid namespace begin with.
std::string own_prefix() {
  struct stat space {};
  const bool known = ::stat("/proc/self/ns/pid", &space) == 0;
  return fmt::format("gentrain.{}.{}.", ::getuid(), known ? space.st_ino : 0);
}

/// Whether the process of "PID.START" has ended; false for other texts.
bool is_dead(std::string_view text) {
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos) {
    return false;
  }
  std::uint64_t pid = 0;
  std::uint64_t start = 0;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), text.data() + dot, pid);
  const auto second = std::from_chars(text.data() + dot + 1, end, start);
  if (first.ec != std::errc() || first.ptr != text.data() + dot || second.ec != std::errc() ||
      second.ptr != end) {
    return false;
  }
  return start_of(std::to_string(pid)) != start;
}

}  // namespace

int remove_leftovers() {
  return remove_leftovers("/dev/shm");
}

int remove_leftovers(const fs::path& parent) {
  const std::string prefix = own_prefix();
  int removed = 0;
  std::error_code error;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(prefix) && is_dead(std::string_view(name).substr(prefix.size()))) {
      std::error_code ignored;
      const auto files = fs::remove_all(entry->path(), ignored);
      removed += !ignored && files > 0 ? 1 : 0;
    }
  }
  return removed;
}

SharedMemoryFolder::SharedMemoryFolder(const fs::path& parent) {
  const std::optional<std::uint64_t> start = start_of("self");
  if (!start) {
    return;
  }
  const fs::path path = parent / fmt::format("{}{}.{}", own_prefix(), ::getpid(), *start);
  if (::mkdir(path.c_str(), S_IRWXU) == 0) {
    path_ = path;
  }
}

SharedMemoryFolder::~SharedMemoryFolder() {
  if (!path_.empty()) {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
}

}  // namespace gentrain::comm
