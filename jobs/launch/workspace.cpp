// Folders /tmp/gentrain-launch.UID.XXXXXX, each with a locked file "lock".
#include "jobs/launch/workspace.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/leftovers.h"
#include "jobs/launch/process.h"
#include "kernels/error.h"

namespace gentrain::jobs {
namespace {

namespace fs = std::filesystem;

std::string name_prefix() {
  return fmt::format("gentrain-launch.{}.", getuid());
}

/// Descriptor of the folder's locked file, -1 if another process has the lock or there is no file.
int take_lock(const fs::path& folder, int flags) {
  const int file = open((folder / "lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
  if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) != 0) {
    close(file);
    return -1;
  }
  return file;
}

int end_attempt(const fs::path& folder) {
  const int killed =
      kill_processes_with(fmt::format("{}={}", Workspace::kVariable, folder.string()));
  comm::remove_leftovers();
  std::error_code error;
  fs::remove_all(folder / "s", error);
  return killed;
}

void clean_after_dead_launchers(const fs::path& parent) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    struct stat status {};
    if (!entry.path().filename().string().starts_with(name_prefix()) ||
        lstat(entry.path().c_str(), &status) != 0 || status.st_uid != getuid()) {
      continue;
    }
    const int lock = take_lock(entry.path(), 0);
    if (lock >= 0) {
      end_attempt(entry.path());
      fs::remove_all(entry.path(), error);
      close(lock);
    }
  }
}

}  // namespace

Workspace::Workspace() {
  const fs::path parent = fs::temp_directory_path();
  clean_after_dead_launchers(parent);
  std::string name = (parent / (name_prefix() + "XXXXXX")).string();
  if (mkdtemp(name.data()) == nullptr) {
    throw IoError(fmt::format("no folder {} can be made: {}", name, std::strerror(errno)));
  }
  folder_ = name;
  lock_ = take_lock(folder_, O_CREAT);
  if (lock_ < 0) {
    throw IoError(
        fmt::format("{} cannot be locked: {}", (folder_ / "lock").string(), std::strerror(errno)));
  }
}

Workspace::~Workspace() {
  std::error_code error;
  fs::remove_all(folder_, error);
  close(lock_);
}

int Workspace::clean() const {
  return end_attempt(folder_);
}

}  // namespace gentrain::jobs
